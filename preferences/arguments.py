"""Command-line options for the values of pairs and labels."""

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand
from forests.core.estimators import AUTO, caution_of_samples, choose_estimator
from forests.core.naming import IMPORTED_SCORER
from forests.storage.reader import ForestReader
from metrics.arguments import add_value_arguments, estimator_for
from preferences.core.consensus import MONTE_CARLO
from preferences.core.value_sources import (
    LABELS,
    PROGRESS,
    PROGRESS_PREFIX,
    SCORER_PREFIX,
    ValueSource,
)


class Values(NamedTuple):
    """The source of values that `--values` names."""

    scorer: str
    """Empty for the graded leaves."""
    is_progress: bool

    @property
    def kind(self) -> str:
        """The source as `--values` names it."""
        return ValueSource(scorer=self.scorer, is_progress=self.is_progress).kind


def add_source_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--values",
        type=_values_of,
        metavar=f"{LABELS}|{SCORER_PREFIX}NAME|{PROGRESS}|{PROGRESS_PREFIX}NAME",
        help=f"source of the values: {LABELS}, Monte Carlo values from graded leaves; "
        f"{SCORER_PREFIX}NAME, the scores of a scorer, such as "
        f"{SCORER_PREFIX}{IMPORTED_SCORER} for the values of imported trees; {PROGRESS}, what a "
        "step adds to the Monte Carlo value of its prefix, from -1 to 1; "
        f"{PROGRESS_PREFIX}NAME, what it adds to the scores of a scorer, such as a prover "
        f"(default: {LABELS})",
    )
    add_value_arguments(parser)
    parser.add_argument(
        "--agree",
        type=_names,
        default=(),
        metavar="NAME[,NAME]",
        help="keep only what these sources agree on with --values: names of scorers, such as a "
        f"judge; {MONTE_CARLO} for Monte Carlo values. Steps and solutions are kept if all call "
        "them good or all do not, pairs if all prefer the chosen side",
    )


def choose_source(
    reader: ForestReader, options: Mapping[str, Any], command: ProjectCommand
) -> ValueSource:
    """Return the source that the options name.

    Raises:
        CommandError: the options contradict each other, or the scorer has no scores.
        ConfigError: the forest has no such scorer.
    """
    forest = reader.forest
    wanted: Values = options["values"] or Values("", is_progress=False)
    scorer, is_progress = wanted
    if not scorer:
        hint_at_imported_values(reader, options, command)
        estimator = estimator_for(forest, options["estimator"], command)
        if is_progress and estimator == "any":
            raise CommandError(
                "with --estimator any no step has progress above 0, because a prefix is worth as "
                "much as its best step: choose another estimator",
                returncode=2,
            )
        agree = _other_sources(reader, options["agree"], MONTE_CARLO)
        return ValueSource(
            estimator=estimator,
            ungraded=options["ungraded"],
            agree=agree,
            is_progress=is_progress,
        )
    if options["estimator"] != AUTO or options["ungraded"] != ValueSource().ungraded:
        raise CommandError(
            "--estimator and --ungraded are for values from graded leaves: leave them out, "
            f"or leave out --values {wanted.kind}",
            returncode=2,
        )
    _require_scores(reader, scorer)
    if words := caution_of_samples(forest.strategy, forest.refined_for):
        command.say(words)
    agree = _other_sources(reader, options["agree"], scorer)
    estimator = (
        choose_estimator(forest.strategy, AUTO, forest.refined_for)
        if MONTE_CARLO in agree
        else _ANY
    )
    return ValueSource(scorer=scorer, estimator=estimator, agree=agree, is_progress=is_progress)


_ANY = ValueSource().estimator


def _other_sources(reader: ForestReader, names: tuple[str, ...], own: str) -> tuple[str, ...]:
    """Return the sources of `--agree`, sorted, without the source of the values.

    Raises:
        CommandError: `--agree` names no other source, or a scorer has no scores.
        ConfigError: the forest has no such scorer.
    """
    others = tuple(sorted({*names} - {own}))
    if names and not others:
        raise CommandError(
            f"--agree names only {own}, which gives the values: name another source too",
            returncode=2,
        )
    for name in others:
        if name != MONTE_CARLO:
            _require_scores(reader, name)
    return others


def _require_scores(reader: ForestReader, scorer: str) -> None:
    if not reader.scorer(scorer).num_trees:
        name = reader.forest.name
        raise CommandError(f"scorer {scorer!r} of {name} has no scores: run score_nodes")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed: give names, such as {MONTE_CARLO},judge"
        )
    return names


def hint_at_imported_values(
    reader: ForestReader, options: Mapping[str, Any], command: ProjectCommand
) -> None:
    """Tell the user of an imported forest's own values, unless `--values` is given."""
    if options["values"] is None and IMPORTED_SCORER in reader.scorers:
        command.say(
            "the values are estimated from the leaves of the forest; to use those of the imported "
            f"file, give --values {SCORER_PREFIX}{IMPORTED_SCORER}"
        )


def _values_of(text: str) -> Values:
    """Return what `--values` names."""
    if text in (LABELS, PROGRESS):
        return Values("", is_progress=text == PROGRESS)
    for prefix in (SCORER_PREFIX, PROGRESS_PREFIX):
        if name := text.removeprefix(prefix) if text.startswith(prefix) else "":
            return Values(name, is_progress=prefix == PROGRESS_PREFIX)
    raise argparse.ArgumentTypeError(
        f"{text!r} is not allowed: give {LABELS}, or {SCORER_PREFIX}NAME with the name of a "
        f"scorer, or {PROGRESS} or {PROGRESS_PREFIX}NAME for the progress by either"
    )
