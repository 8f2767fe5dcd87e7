"""Comparison of runs, or of the samples of forests, over the items that they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from common.text import counted
from forests.core.estimators import caution_of_samples
from forests.core.model_counts import from_fields, in_words
from forests.models import Forest
from metrics.core.comparing.item_results import ItemResults, shared_positions
from metrics.core.comparing.paired import Disagreement, PairedResult, disagreements, paired
from metrics.core.evaluation import RowKey
from metrics.measuring.forests import runs_of
from metrics.measuring.item_storage import read_items, sample_results
from metrics.models import MetricRun

MAX_PAGE_TREES = 2000
"""Most trees of a forest that a page compares; the command compares all."""
_MAX_PAGE_NUMBERS = 500_000
_UNLIKE_SETTINGS = ("base_urls", "concurrency", "max_attempts", "request_timeout_seconds")
"""Settings that do not change the samples: a difference in them needs no warning."""


@dataclass(frozen=True)
class Subject:
    """A run, or the samples of a forest."""

    forest: Forest
    run: MetricRun | None
    results: ItemResults[RowKey] | None
    """None: an older version made the run, and stored no results of single items."""

    @property
    def models(self) -> str:
        """The models that wrote the nodes, with their counts; empty if none is recorded."""
        stored = self.forest.nodes_by_model if self.run is None else self.run.nodes_by_model
        return in_words(from_fields(stored))

    @property
    def num_trees(self) -> int:
        """Trees of the forest, at the time of the run."""
        return self.forest.num_trees if self.run is None else self.run.num_trees

    @property
    def num_used(self) -> int | None:
        """Trees whose results are compared; None if they are unknown."""
        return None if self.results is None else len(self.results.items)


class ComparedRow(NamedTuple):
    """One number of all subjects."""

    key: RowKey
    pairs: Sequence[PairedResult | None]
    """The first subject against each other one; None if one of the two lacks the number."""


class ItemPair(NamedTuple):
    """An item that is right in one subject and wrong in the other."""

    change: str
    first_tree: int
    first: float
    other_tree: int
    other: float


class Comparison:
    """The first of several subjects against each other one."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self.subjects = subjects
        first, *others = subjects
        self.shared = [_shared(first, other) for other in others]

    def rows(self) -> list[ComparedRow]:
        """Return every number that the first subject and another one have."""
        first = self.subjects[0].results
        rows = (ComparedRow(key, self._pairs(key)) for key in (first.numbers if first else ()))
        return [row for row in rows if any(pair is not None for pair in row.pairs)]

    def disagreements(self, key: RowKey, other: int = 1) -> Iterator[ItemPair]:
        """Yield the items that are right in only one of two subjects: the first and another one.

        `other` is the position of the other subject.
        """
        one, two = self.subjects[0].results, self.subjects[other].results
        if one is None or two is None or key not in one.numbers or key not in two.numbers:
            return
        found: Iterator[Disagreement] = disagreements(
            one.numbers[key], two.numbers[key], self.shared[other - 1]
        )
        for change, place, place_of_other in found:
            yield ItemPair(
                change,
                one.trees[place],
                one.numbers[key][place],
                two.trees[place_of_other],
                two.numbers[key][place_of_other],
            )

    def warnings(self) -> list[str]:
        """Return sentences about other differences between the subjects, and about biases."""
        first, *others = self.subjects
        forests = {one.forest.name: one.forest for one in self.subjects}
        found = [
            f"{name}: {words}"
            for name, forest in forests.items()
            if (words := caution_of_samples(forest.strategy, forest.refined_for))
        ]
        found += [
            sentence
            for other, shared in zip(others, self.shared, strict=True)
            for sentence in (*_unlike(first, other), *_unshared(first, other, len(shared)))
        ]
        return list(dict.fromkeys(found))

    def _pairs(self, key: RowKey) -> list[PairedResult | None]:
        one, *others = (subject.results for subject in self.subjects)
        return [
            paired(one.numbers[key], two.numbers[key], shared)
            if one is not None and two is not None and key in two.numbers
            else None
            for two, shared in zip(others, self.shared, strict=True)
        ]


def compare_forests(
    forests: Sequence[Forest], keys: Sequence[str] | None = None, *, for_page: bool = False
) -> list[Comparison]:
    """Return comparisons of the samples of several forests, and of the runs that they share.

    Runs with the same parameters have the same key in all forests; `keys` chooses some of them. If
    a forest lacks a run, the comparison of that run leaves the forest out.
    """
    most = MAX_PAGE_TREES if for_page else None
    samples = [Subject(forest, None, sample_results(forest, most)) for forest in forests]
    runs = shared_runs(forests)
    return [
        Comparison(samples),
        *(
            compare_named(runs[key], for_page=for_page)
            for key in (runs if keys is None else keys)
            if key in runs
        ),
    ]


def compare_named(runs: Sequence[MetricRun], *, for_page: bool = False) -> Comparison:
    """Return the comparison of the first run with each other one."""
    most = _MAX_PAGE_NUMBERS // max(1, *(len(run.rows) for run in runs)) if for_page else None
    return Comparison([Subject(run.forest, run, read_items(run, most)) for run in runs])


def shared_runs(forests: Sequence[Forest]) -> dict[str, list[MetricRun]]:
    """Return the runs that the first forest shares with another one, by their key."""
    by_key: dict[str, list[MetricRun]] = {}
    for forest in forests:
        for run in runs_of(forest):
            by_key.setdefault(run.key, []).append(run)
    first = forests[0].name
    return {
        key: runs for key, runs in by_key.items() if len(runs) > 1 and runs[0].forest_id == first
    }


def _shared(first: Subject, other: Subject) -> list[tuple[int, int]]:
    if first.results is None or other.results is None:
        return []
    return shared_positions(first.results.items, other.results.items)


def _unshared(first: Subject, other: Subject, shared: int) -> Iterator[str]:
    for one in (first, other):
        if one.results is None:
            yield (
                f"An older version made a run of {one.forest.name} and did not store its items: "
                "run beam_search again"
            )
    if first.num_used is None or other.num_used is None:
        return
    names = first.forest.name, other.forest.name
    if not shared:
        yield f"{names[0]} and {names[1]} share no item, so there is no difference to show"
    elif missing := [
        f"{used - shared} of {name}"
        for used, name in zip((first.num_used, other.num_used), names, strict=True)
        if used > shared
    ]:
        left_out = ", ".join(missing)
        yield f"Compared over {counted(shared, 'shared item')} only. Left out: {left_out}"


def _unlike(first: Subject, other: Subject) -> Iterator[str]:
    one, two = first.forest, other.forest
    if one.name == two.name:
        return
    for what, name in (
        ("datasets", "dataset_source"),
        ("splits", "dataset_split"),
        ("configs", "config_name"),
    ):
        a, b = getattr(one, name), getattr(two, name)
        if a != b:
            yield f"The {what} differ: {a or 'not recorded'} and {b or 'not recorded'}"
    if one.config_name == two.config_name and one.config_sha256 != two.config_sha256:
        yield f"The source of the config {one.config_name} differs"
    if differing := sorted(_differing(one.worker_config, two.worker_config)):
        yield f"These settings differ: {', '.join(differing)}"


def _differing(one: dict[str, Any], two: dict[str, Any]) -> set[str]:
    names = set(one) | set(two)
    return {name for name in names.difference(_UNLIKE_SETTINGS) if one.get(name) != two.get(name)}
