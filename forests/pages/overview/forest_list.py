"""The list of forests: which ones, in which order, page by page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from forests.models import Forest
from forests.pages.overview.finding import FORESTS_LOOKED_AT, has_words, models_asked
from forests.pages.page_requests import FilterError, read_choice, read_number, read_phrase
from forests.progress.facts import Progress
from forests.progress.pass_rates import PassRate, draws_from_prompt, read_pass_rates
from forests.progress.reading import read_progress, read_standings
from forests.progress.states import ForestState

FORESTS_PER_PAGE = 25


class ForestOrder(StrEnum):
    LATEST = "latest first"
    NAME = "name"
    MOST_CORRECT = "most correct"
    LEAST_COMPLETE = "least complete"
    MOST_TREES = "most trees"
    MOST_TOKENS = "most tokens"


@dataclass(frozen=True, slots=True)
class ForestFilter:
    """Which forests are listed, and how."""

    phrase: str = ""
    """Words of the name, dataset, config, strategy or model."""
    state: ForestState | None = None
    order: ForestOrder = ForestOrder.LATEST
    is_grouped: bool = False
    """Whether forests of one config are together."""
    page: int = 1

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> "ForestFilter":
        """Return the filter that the parameters of a URL ask for.

        Raises:
            FilterError: a value is invalid.
        """
        if not (page := read_number(parameters.get("page", "1"))):
            raise FilterError(f"there is no page {parameters['page'][:40]!r} of forests")
        return cls(
            phrase=read_phrase(parameters.get("q", "")),
            state=read_choice(ForestState, parameters.get("state", ""), "state"),
            order=read_choice(ForestOrder, parameters.get("sort", ""), "order")
            or ForestOrder.LATEST,
            is_grouped=_is_grouped(parameters.get("group", "")),
            page=page,
        )

    @property
    def is_plain(self) -> bool:
        """Whether the database sorts and nothing is left out, so that it reads only one page."""
        return not (self.chooses or self.is_grouped) and self.order is ForestOrder.LATEST

    @property
    def chooses(self) -> bool:
        """Whether some forests are left out."""
        return bool(self.phrase or self.state)


@dataclass(frozen=True, slots=True)
class ListedForest:
    """A forest in the list."""

    progress: Progress
    pass_rate: PassRate | None
    starts_group: bool = False
    """Whether it is the first of its config on the page."""

    @property
    def forest(self) -> Forest:
        return self.progress.forest

    @property
    def models_asked(self) -> list[str]:
        """The models that were or will be asked."""
        return models_asked(self.forest)


@dataclass(frozen=True, slots=True)
class ForestPage:
    """A page of the list."""

    rows: Sequence[ListedForest]
    number: int
    num_pages: int
    num_matches: int
    """Forests that match, of those that were read."""
    num_read: int
    """Forests that were searched: all, unless there are more than `FORESTS_LOOKED_AT`."""
    num_forests: int

    @property
    def previous(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        return self.number + 1 if self.number < self.num_pages else None

    @property
    def seconds_between_looks(self) -> int:
        return min((one.progress.seconds_between_looks for one in self.rows), default=15)


def read_forests(wanted: ForestFilter) -> ForestPage:
    """Return the forests of a page; none after the last page.

    In the usual order, the database sorts and only the page is read. For any other filter or order,
    the latest `FORESTS_LOOKED_AT` forests are read and sorted here.
    """
    # The source of a config may be long, and the list does not show it.
    known, num_forests = Forest.objects.defer("config_source"), Forest.objects.count()
    start = (wanted.page - 1) * FORESTS_PER_PAGE
    if wanted.is_plain:
        shown = list(known[start : start + FORESTS_PER_PAGE])
        num_read = num_matches = num_forests
    else:
        read = list(known[:FORESTS_LOOKED_AT])
        matching = _sorted(_matching(read, wanted), wanted)
        shown = matching[start : start + FORESTS_PER_PAGE]
        num_read, num_matches = len(read), len(matching)
    rates = read_pass_rates(shown)
    rows = [
        ListedForest(progress, rates.get(progress.forest.name), starts_group)
        for progress, starts_group in zip(read_progress(shown), _starts(shown, wanted), strict=True)
    ]
    num_pages = max(1, -(-num_matches // FORESTS_PER_PAGE))
    return ForestPage(rows, wanted.page, num_pages, num_matches, num_read, num_forests)


def _matching(forests: Sequence[Forest], wanted: ForestFilter) -> list[Forest]:
    found = [one for one in forests if has_words(one, wanted.phrase)]
    if wanted.state is None:
        return found
    standings = read_standings(found)
    return [
        one
        for one, standing in zip(found, standings, strict=True)
        if standing.state is wanted.state
    ]


def _sorted(forests: list[Forest], wanted: ForestFilter) -> list[Forest]:
    found = sorted(forests, key=_KEYS[wanted.order])
    return sorted(found, key=lambda one: one.config_name) if wanted.is_grouped else found


def _starts(forests: Sequence[Forest], wanted: ForestFilter) -> list[bool]:
    """Return which of these forests begin a group."""
    before = [None, *(one.config_name for one in forests)]
    return [
        wanted.is_grouped and one.config_name != earlier
        for one, earlier in zip(forests, before, strict=False)
    ]


def _share_correct(forest: Forest) -> float:
    """Return the share of correct samples; -1 without samples, or if the share would be biased."""
    is_known = forest.num_leaves and draws_from_prompt(forest)
    return forest.num_correct / forest.num_leaves if is_known else -1.0


def _share_complete(forest: Forest) -> float:
    return forest.num_complete / forest.num_trees if forest.num_trees else 0.0


_KEYS: Mapping[ForestOrder, Callable[[Forest], Any]] = {
    ForestOrder.LATEST: lambda one: -one.created_at.timestamp(),
    ForestOrder.NAME: lambda one: one.name,
    ForestOrder.MOST_CORRECT: lambda one: -_share_correct(one),
    ForestOrder.LEAST_COMPLETE: _share_complete,
    ForestOrder.MOST_TREES: lambda one: -one.num_trees,
    ForestOrder.MOST_TOKENS: lambda one: -one.used.tokens,
}


def _is_grouped(text: str) -> bool:
    if text not in ("", "config"):
        raise FilterError(f"unknown group {text[:40]!r}: use config")
    return bool(text)
