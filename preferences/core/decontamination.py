"""Detection of prompts that contain a question of a benchmark.

Only words count, not case, punctuation or spacing. If a question has at least n words, any of its
n-grams is a match (GPT-3, 2005.14165, appendix C, with n = 13). A shorter question matches only as
a whole. A question of fewer than `MIN_WORDS` words must be the whole prompt, because many prompts
would contain it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeAlias

MIN_WORDS = 4
USUAL_NGRAM = 13

_WORD = re.compile(r"\w+", re.UNICODE)
Gram: TypeAlias = tuple[str, ...]


class Benchmark:
    """Questions that a dataset must not contain. Memory grows with their words."""

    def __init__(self, questions: Iterable[str], ngram: int = USUAL_NGRAM) -> None:
        self.num_questions = 0
        self._whole: set[Gram] = set()
        self._grams: defaultdict[int, set[Gram]] = defaultdict(set)
        for question in questions:
            words = words_of(question)
            self.num_questions += 1
            if len(words) < MIN_WORDS:
                self._whole.add(tuple(words))
            else:
                length = min(ngram, len(words))
                self._grams[length].update(grams_of(words, length))

    def is_in(self, prompt: str) -> bool:
        """Return whether a prompt contains one of the questions."""
        words = words_of(prompt)
        return tuple(words) in self._whole or any(
            not known.isdisjoint(grams_of(words, length)) for length, known in self._grams.items()
        )


def words_of(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def grams_of(words: Sequence[str], length: int) -> set[Gram]:
    """Return all n-grams of this length; empty if there are fewer words."""
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}
