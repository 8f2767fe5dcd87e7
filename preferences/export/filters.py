"""Filters of the pairs and trees of a dataset, apart from reviews."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from tokenizers import Tokenizer

from common.errors import UserError
from common.json_lines import JsonFileError, parse_line, read_lines
from forests.core.prefix import as_text
from metrics.core.tree_filters import TreeFilter
from preferences.core.balance import LengthBalance, kind_of
from preferences.core.decontamination import USUAL_NGRAM, Benchmark
from preferences.core.pairing import Pair
from preferences.export.formats.base import Item

QUESTION_KEYS = ("prompt", "question", "problem", "text")

CountTokens: TypeAlias = Callable[[str], int]
Items: TypeAlias = Iterator[tuple[Any, Item]]
"""Stored prompt and item of each tree."""


class FilterError(UserError):
    """A file or tokenizer cannot be used. The message names the remedy on one line."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Filters of a dataset, applied in the order of the fields."""

    trees: TreeFilter = field(default_factory=TreeFilter)
    """Leave out all other trees, before they become items."""
    benchmark: Benchmark | None = None
    """Leave out trees whose prompt contains one of these questions."""
    max_length: int | None = None
    """Most tokens of prompt, prefix and longer side together."""
    count_tokens: CountTokens | None = None
    balance_length: bool = False
    seed: int = 0

    def apply(self, items: Callable[[Counter[str]], Items], left_out: Counter[str]) -> Items:
        """Yield the items with the pairs that remain.

        Args:
            items: returns all items; counts in its argument what it leaves out itself. Called
                twice if lengths are balanced.
            left_out: gets the number of things left out, by reason.
        """
        kept = self._kept(items(left_out), left_out)
        if not self.balance_length:
            yield from kept
            return
        kinds = Counter(
            kind_of(pair)
            for _, item in self._kept(items(Counter()), Counter())
            for pair in item.pairs
        )
        balance = LengthBalance(kinds, self.seed)
        for prompt, item in kept:
            pairs = [pair for pair in item.pairs if balance.keeps(pair)]
            left_out["pairs_that_tell_by_length"] += len(item.pairs) - len(pairs)
            yield prompt, replace(item, pairs=pairs)

    def _kept(self, items: Items, left_out: Counter[str]) -> Items:
        for prompt, item in items:
            if self.benchmark and self.benchmark.is_in(as_text(item.prompt)):
                left_out["trees_in_the_benchmark"] += 1
                continue
            pairs = [pair for pair in item.pairs if self._fits(item, pair)]
            left_out["pairs_over_max_length"] += len(item.pairs) - len(pairs)
            yield prompt, replace(item, pairs=pairs)

    def _fits(self, item: Item, pair: Pair) -> bool:
        if self.max_length is None or self.count_tokens is None:
            return True
        before = as_text(item.prompt) + pair.prefix_text
        return all(
            self.count_tokens(before + side.text) <= self.max_length
            for side in (pair.chosen, pair.rejected)
        )


def read_benchmark(path: Path, ngram: int = USUAL_NGRAM) -> Benchmark:
    """Return the questions of a file: JSON lines, or a text on each line.

    Raises:
        FilterError: the file cannot be read, or contains no question.
    """
    try:
        benchmark = Benchmark(_questions(path), ngram)
    except JsonFileError as error:
        raise FilterError(str(error)) from error
    if not benchmark.num_questions:
        raise FilterError(f"{path} has no question: give one per line")
    return benchmark


def _questions(path: Path) -> Iterator[str]:
    for number, line in read_lines(path):
        text = line.strip()
        if text.startswith("{"):
            yield _question(parse_line(path, number, text), f"{path} line {number}")
        elif text in ("[", "]") or text.startswith(("[{", '["')):
            raise FilterError(f"{path} line {number} is a JSON list: give one JSON object per line")
        elif text:
            yield text


def _question(row: Any, place: str) -> str:
    for key in QUESTION_KEYS:
        found = row.get(key)
        if isinstance(found, str) and found.strip():
            return found
    raise FilterError(f"{place} has none of {', '.join(QUESTION_KEYS)}")


def token_counter(name: str) -> CountTokens:
    """Return a function that counts the tokens of a text.

    `name` is the path of a `tokenizer.json`, of its directory, or a name on the hub.

    Raises:
        FilterError: there is no such tokenizer.
    """
    path = Path(name)
    try:
        if path.exists():
            file = path / "tokenizer.json" if path.is_dir() else path
            tokenizer = Tokenizer.from_file(str(file))
        else:
            tokenizer = Tokenizer.from_pretrained(name)
    except Exception as error:  # the library raises plain `Exception`s
        raise FilterError(
            f"no tokenizer {name!r}: give a tokenizer.json, its directory, or a name on the hub"
        ) from error
    tokenizer.no_truncation()
    return lambda text: len(tokenizer.encode(text).ids)
