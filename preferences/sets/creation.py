"""Creation of preference sets from the complete trees of a forest."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from django.db import IntegrityError

from common.errors import UserError
from forests.core.naming import check_slug, tree_id
from forests.core.reading import ReadTree
from forests.core.values import Estimator, Ungraded
from forests.models import Forest
from forests.storage.reader import DatabaseReader
from forests.storage.scores import get_scorer
from forests.storage.trees import Document
from metrics.core.tree_filters import TreeFilter
from preferences.core.pairing import Pair, PairingOptions
from preferences.core.statistics import PairStatistics
from preferences.core.value_sources import ValueSource
from preferences.models import PreferenceSet, set_id
from preferences.sets.pair_maker import PairMaker, prior_of
from preferences.sets.reviews import apply_reviews, delete_reviews
from preferences.sets.storage import (
    SetTakenError,
    claim_set,
    count_pairs,
    delete_late,
    delete_set,
    insert_preferences,
    preference_document,
    update_set,
)

PAIRS_PER_WRITE = 500
TREES_PER_WRITE = 256


class SetMismatchError(UserError):
    """A set of this name cannot be continued. The message says why."""


@dataclass(frozen=True)
class SetParameters:
    """All parameters that determine the pairs of a forest."""

    options: PairingOptions = field(default_factory=PairingOptions)
    estimator: Estimator = "leaf_mean"
    ungraded: Ungraded = "incorrect"
    scorer: str = ""
    """The scorer whose scores are the values; empty for graded leaves."""
    trees: TreeFilter = field(default_factory=TreeFilter)
    """The trees to make pairs of; the prior of the confidences uses all complete trees."""
    agree: tuple[str, ...] = ()
    """Other sources that must prefer the chosen side too: see `ValueSource.agree`."""
    is_progress: bool = False
    """Whether the value of a step is what the step adds to the value of its prefix."""

    def __post_init__(self) -> None:
        """Check that the values fit the pairs.

        Raises:
            ValueError: the values do not fit. The message is one line with the remedy.
        """
        if self.is_progress and self.options.level == "trajectory":
            raise ValueError(
                "whole solutions make no progress, which is that of a step: use --level step or "
                "step_to_end, or other --values"
            )

    @property
    def source(self) -> ValueSource:
        return ValueSource(
            estimator=self.estimator,
            ungraded=self.ungraded,
            scorer=self.scorer,
            agree=self.agree,
            is_progress=self.is_progress,
        )

    def as_dict(self) -> dict[str, Any]:
        return {**self.source.as_dict(), **self.options.as_dict(), **self.trees.as_dict()}

    @property
    def default_name(self) -> str:
        """The pairing, and a hash of all parameters."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return f"{self.options.pairing}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


Report = Callable[[int], None]
"""Called with the number of trees done."""


def create_preferences(
    forest: Forest, name: str, parameters: SetParameters, report: Report
) -> PreferenceSet:
    """Create or continue a preference set, and return it when it is complete.

    A complete set gains the pairs of trees that were completed later. Existing pairs keep their ids
    and places. The set keeps the prior that it got when it was made, so that its confidences stay
    comparable. Reviews under this name are attached to the pairs that they judged.

    If several commands create one set at the same time, the command that started last finishes it,
    and the others fail.

    Raises:
        SetMismatchError: the set exists with other parameters or with values from old grades or
            scores, or another command is creating it.
        ConfigError: the forest has no such scorer.
        ForestNameError: the name cannot be part of a URL.
    """
    check_slug(name, "set name")
    try:
        preference_set = _find_or_start(forest, name, parameters)
        claim_set(preference_set, uuid4().hex)
        _complete(forest, preference_set, parameters, report)
    except SetTakenError as error:
        raise SetMismatchError(
            f"another command makes or deletes preference set {name!r} of {forest.name}: wait "
            "until it ends, and run this one again if the set is not complete"
        ) from error
    return preference_set


def _complete(
    forest: Forest, preference_set: PreferenceSet, parameters: SetParameters, report: Report
) -> None:
    """Write the missing pairs of a set.

    Raises:
        SetTakenError: another command has claimed, deleted or replaced the set.
    """
    # In an older version two commands could damage a set: its count of pairs is then too low.
    is_counted = preference_set.num_pairs == count_pairs(preference_set)
    if preference_set.is_complete:
        if preference_set.num_trees_used == forest.num_complete and is_counted:
            apply_reviews(preference_set)
            return
        update_set(preference_set, is_complete=False, **_from_the_start())
    while True:
        update_set(preference_set, num_pairs=count_pairs(preference_set))
        writer = _Writer(forest, preference_set, parameters)
        writer.run(report)
        if not writer.was_disturbed:
            break
        update_set(preference_set, **_from_the_start())
    num_pairs = count_pairs(preference_set)
    apply_reviews(preference_set)
    whole = {"is_complete": True, "completed_at": datetime.now(UTC), "num_pairs": num_pairs}
    update_set(preference_set, **whole)


def _find_or_start(forest: Forest, name: str, parameters: SetParameters) -> PreferenceSet:
    """Return the stored set, or create it.

    Raises:
        SetMismatchError: the set cannot be continued.
        SetTakenError: another command has just created it.
    """
    id_ = set_id(forest.name, name)
    known = PreferenceSet.objects.filter(pk=id_).first()
    if known is not None and known.forest_created_at != forest.created_at:
        delete_set(known)
        delete_reviews(forest.name, known.id)
        known = None
    if known is not None:
        _refuse_other_parameters(known, parameters)
        if forest.graded_at is not None and known.created_at < forest.graded_at:
            raise SetMismatchError(
                f"preference set {known.name!r} of {forest.name} was made before the forest was "
                "regraded: --replace it, or choose another --set_name"
            )
        if forest.extended_at is not None and known.created_at < forest.extended_at:
            raise SetMismatchError(
                f"preference set {known.name!r} of {forest.name} was made before the forest was "
                "extended: --replace it, or choose another --set_name"
            )
        for source in parameters.source.scorers:
            scorer = get_scorer(forest, source)
            if known.created_at < (scorer.changed_at or scorer.created_at):
                raise SetMismatchError(
                    f"preference set {known.name!r} of {forest.name} was made before scores of "
                    f"{source!r} changed: --replace it, or choose another --set_name"
                )
        return known
    try:
        return PreferenceSet.objects.create(
            id=id_,
            forest_id=forest.name,
            forest_created_at=forest.created_at,
            name=name,
            parameters=parameters.as_dict(),
            created_at=datetime.now(UTC),
            **prior_of(DatabaseReader(forest), parameters.source),
            **_from_the_start(),
        )
    except IntegrityError as error:
        raise SetTakenError from error


def _refuse_other_parameters(known: PreferenceSet, parameters: SetParameters) -> None:
    wanted = parameters.as_dict()
    there = known.parameters
    different = sorted(
        key for key in wanted.keys() | there.keys() if wanted.get(key) != there.get(key)
    )
    if different:
        what = ", ".join(f"{key} is {there.get(key)}, not {wanted.get(key)}" for key in different)
        raise SetMismatchError(
            f"preference set {known.name!r} of {known.forest_id} exists with other parameters "
            f"({what}): choose another --set_name, or --replace it"
        )


def _from_the_start() -> dict[str, Any]:
    return {
        "next_tree": 0,
        "num_trees_used": 0,
        "num_trees_with_pairs": 0,
        "num_trees_incomplete": 0,
        "num_ungrouped": 0,
        "sum_of_margins": 0.0,
        "chosen_characters": 0,
        "rejected_characters": 0,
        "num_chosen_longer": 0,
        "num_chosen_shorter": 0,
        "dropped": {},
    }


class _Writer:
    """Selects the pairs of all trees, and writes pairs and progress in batches.

    It writes progress after the pairs. After a kill, it repeats at most one batch, and recognises
    existing pairs by their ids.
    """

    def __init__(
        self, forest: Forest, preference_set: PreferenceSet, parameters: SetParameters
    ) -> None:
        self.forest = forest
        self.set = preference_set
        self.source = parameters.source
        self.maker = PairMaker(
            preference_set,
            self.source,
            parameters.options,
            parameters.trees,
            refined_for=forest.refined_for,
        )
        self.maker.dropped.update(preference_set.dropped)
        self.was_disturbed = False
        """Whether another command inserted pairs with the same ids, which may differ."""
        self.documents: list[Document] = []
        self.margins = 0.0

    def run(self, report: Report) -> None:
        first = self.set.next_tree
        indexes = range(first, self.forest.num_trees)
        for read in DatabaseReader(self.forest).trees(indexes, self.source.scorers):
            self._take(read)
            done = read.index + 1
            is_due = (done - self.set.next_tree) >= TREES_PER_WRITE
            if is_due or len(self.documents) >= PAIRS_PER_WRITE:
                self._write(next_tree=done)
            report(done)
        self._write(next_tree=self.forest.num_trees)

    def _take(self, read: ReadTree) -> None:
        pairs = self.maker.pairs_of(read)
        self.margins += sum(pair.margin for pair in pairs)
        self.maker.counts.update(_lengths(pairs))
        tree = tree_id(self.forest.name, read.index)
        self.documents += [
            preference_document(self.set, tree, read.index, number, pair)
            for number, pair in enumerate(pairs)
        ]

    def _write(self, next_tree: int) -> None:
        inserted, known = insert_preferences(self.set, self.documents)
        self.was_disturbed |= bool(known)
        try:
            update_set(
                self.set,
                next_tree=next_tree,
                num_pairs=self.set.num_pairs + inserted,
                sum_of_margins=self.set.sum_of_margins + self.margins,
                dropped=dict(self.maker.dropped),
                **{
                    name: getattr(self.set, name) + count
                    for name, count in self.maker.counts.items()
                },
            )
        except SetTakenError:
            delete_late(self.set, self.documents)
            raise
        self.documents, self.margins = [], 0.0
        self.maker.counts.clear()


def _lengths(pairs: Sequence[Pair]) -> dict[str, int]:
    statistics = PairStatistics()
    for pair in pairs:
        statistics.add(pair)
    return {
        "chosen_characters": statistics.chosen_characters,
        "rejected_characters": statistics.rejected_characters,
        "num_chosen_longer": statistics.kinds[1],
        "num_chosen_shorter": statistics.kinds[-1],
    }


def stored_set(forest: Forest, name: str) -> PreferenceSet | None:
    return PreferenceSet.objects.filter(pk=set_id(forest.name, name)).first()
