"""Command-line options that choose pairs."""

import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from django.core.management.base import CommandError

from metrics.core.tree_filters import TreeFilter
from preferences.core.confidence import USUAL_CONFIDENCE, has_confidence
from preferences.core.pairing import LEVELS, PAIRINGS, PairingOptions
from preferences.core.value_sources import ValueSource
from preferences.sets.creation import SetParameters


def add_pairing_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the options of pairs, except the seed with which limits choose pairs."""
    default = PairingOptions()
    parser.add_argument(
        "--pairing",
        choices=PAIRINGS,
        default=default.pairing,
        help="which continuations of a prefix to pair (default: %(default)s)",
    )
    parser.add_argument(
        "--level",
        choices=LEVELS,
        default=default.level,
        help="step_to_end: next steps of a prefix, each continued to an end; step: these steps "
        "without that, to which most trainers would add an end; trajectory: whole solutions "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--drop_same_answer",
        action="store_true",
        help="leave out pairs whose sides end with the same answer",
    )
    parser.add_argument(
        "--min_margin",
        type=float,
        default=default.min_margin,
        help="least difference of the values, 0 to 1 (default: %(default)s, any difference)",
    )
    parser.add_argument(
        "--min_leaves",
        type=int,
        default=default.min_leaves,
        help="least number of leaves below each side (default: %(default)s)",
    )
    parser.add_argument(
        "--min_edit_distance",
        type=float,
        default=default.min_edit_distance,
        help="least edit distance of the texts of both sides, as a share of the longer text, 0 to "
        "1: leaves out near-duplicates (default: %(default)s)",
    )
    parser.add_argument(
        "--min_confidence",
        type=float,
        help="least probability that the chosen side is truly better, given the samples of both "
        f"and how much the steps of this forest differ, 0 to 1 (default: {USUAL_CONFIDENCE}; 0 "
        "keeps all; does not apply to scores of a scorer)",
    )
    parser.add_argument("--max_pairs_per_tree", type=int, help="default: no limit")
    parser.add_argument("--max_pairs_per_prefix", type=int, help="default: no limit")


def check_pairing(options: Mapping[str, Any]) -> None:
    """Refuse options that are invalid for every source of values.

    Raises:
        CommandError: an option is invalid.
    """
    _pairing({**options, "min_confidence": options["min_confidence"] or 0.0})


def pairing_for(source: ValueSource, options: Mapping[str, Any]) -> PairingOptions:
    """Return the options of pairs. The default confidence is 0 if the source has no confidence.

    Raises:
        CommandError: an option is invalid.
    """
    given = options["min_confidence"]
    usual = USUAL_CONFIDENCE if has_confidence(source) else 0.0
    return _pairing({**options, "min_confidence": usual if given is None else given})


def given_pairing(options: Mapping[str, Any]) -> list[str]:
    """Return the names of the options that were given, without the seed."""
    usual = {**PairingOptions().__dict__, "min_confidence": None}
    return [name for name, value in usual.items() if name != "seed" and options[name] != value]


def _pairing(options: Mapping[str, Any]) -> PairingOptions:
    wanted = {field.name: options[field.name] for field in fields(PairingOptions)}
    try:
        return PairingOptions(**wanted)
    except ValueError as error:
        raise CommandError(str(error), returncode=2) from error


def parameters_of(pairing: PairingOptions, source: ValueSource, trees: TreeFilter) -> SetParameters:
    """Return all parameters of a set.

    Raises:
        CommandError: the values do not fit the pairs.
    """
    try:
        return SetParameters(
            pairing,
            source.estimator,
            source.ungraded,
            source.scorer,
            trees,
            source.agree,
            source.is_progress,
        )
    except ValueError as error:
        raise CommandError(str(error), returncode=2) from error
