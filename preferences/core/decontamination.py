"""Detection of prompts that contain a question of a benchmark.

Only words count, not case, punctuation or spacing. If a question has at least n words, any of its
n-grams is a match (GPT-3, 2005.14165, appendix C, with n = 13). A shorter question matches only as
a whole. A question of fewer than `MIN_WORDS` words must be the whole prompt, because many prompts
would contain it. In a question without letters, such as `2 + 3`, signs count as words do.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

MIN_WORDS = 4
USUAL_NGRAM = 13

_WORD = re.compile(r"\w+", re.UNICODE)
_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s]", re.UNICODE)
_END = " \n\t.?!:"
Gram: TypeAlias = tuple[str, ...]


class Benchmark:
    """Questions that a dataset must not contain. Memory grows with their words."""

    def __init__(self, questions: Iterable[str], ngram: int = USUAL_NGRAM) -> None:
        self.num_questions = 0
        self._by_words = _Grams(words_of, ngram)
        self._by_signs = _Grams(_words_and_signs_of, ngram)
        for question in questions:
            self.num_questions += 1
            has_letters = any(map(str.isalpha, question))
            (self._by_words if has_letters else self._by_signs).add(question)

    def is_in(self, prompt: str) -> bool:
        """Return whether a prompt contains one of the questions."""
        return self._by_words.is_in(prompt) or self._by_signs.is_in(prompt)


class _Grams:
    """The runs of words of questions; short questions as a whole."""

    def __init__(self, split: Callable[[str], list[str]], ngram: int) -> None:
        self._split = split
        self._ngram = ngram
        self._whole: set[Gram] = set()
        self._grams: defaultdict[int, set[Gram]] = defaultdict(set)

    def add(self, question: str) -> None:
        words = self._split(question)
        if len(words_of(question)) < MIN_WORDS:
            self._whole.add(tuple(words))
        else:
            length = min(self._ngram, len(words))
            self._grams[length].update(grams_of(words, length))

    def is_in(self, prompt: str) -> bool:
        if not (self._whole or self._grams):
            return False
        words = self._split(prompt)
        return tuple(words) in self._whole or any(
            not known.isdisjoint(grams_of(words, length)) for length, known in self._grams.items()
        )


def words_of(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _words_and_signs_of(text: str) -> list[str]:
    """Return the words and signs of a text; final punctuation only if it is all there is."""
    text = text.casefold()
    return _WORD_OR_SIGN.findall(text.strip(_END) or text)


def grams_of(words: Sequence[str], length: int) -> set[Gram]:
    """Return all n-grams of this length; empty if there are fewer words."""
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}
