"""Command-line options that several commands share."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandParser

from common.commands import ProjectCommand, names_among
from forests.core.estimators import (
    AUTO,
    EstimatorChoice,
    caution,
    caution_of_samples,
    choose_estimator,
)
from forests.core.values import ESTIMATORS, UNGRADED, Estimator
from forests.models import Forest
from metrics.core.search.aggregation import AGGREGATIONS
from metrics.core.search.procedures import PROCEDURES
from metrics.core.tree_filters import TreeFilter
from metrics.tables.printing import PRINTED_AS

MAX_BEAMS = 1024


def add_value_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--estimator",
        choices=(AUTO, *ESTIMATORS),
        default=AUTO,
        help="how to estimate the value of a node from the leaves below it; auto: own_rollouts for "
        "forests of math_shepherd and omega_prm, leaf_mean for others; after refine_forest any "
        "(labels) or through_rollouts (pairs) (default: %(default)s)",
    )
    parser.add_argument(
        "--ungraded",
        choices=UNGRADED,
        default="incorrect",
        help="what an unanswered or truncated leaf counts as (default: %(default)s)",
    )


def estimator_for(
    forest: Forest,
    wanted: EstimatorChoice,
    command: ProjectCommand,
    *,
    counts_samples: bool = False,
) -> Estimator:
    """Return the estimator to use, after a caution about it on stderr if there is one.

    `counts_samples`: whether the command also shows how many samples are correct.

    Raises:
        EstimatorError: the estimator does not apply to the forest's strategy.
    """
    estimator = choose_estimator(forest.strategy, wanted, forest.refined_for)
    words = caution(forest.strategy, estimator, forest.refined_for)
    if counts_samples and not words:
        words = caution_of_samples(forest.strategy, forest.refined_for)
    if words:
        command.say(words)
    return estimator


def add_search_arguments(
    parser: CommandParser, *, num_beam_values: tuple[int, ...], procedures: tuple[str, ...]
) -> None:
    """Add the options of a search, with these defaults."""
    numbers, names = ",".join(map(str, num_beam_values)), ",".join(procedures)
    parser.add_argument(
        "--num_beam_values",
        type=numbers_up_to(MAX_BEAMS),
        default=num_beam_values,
        metavar="N,N",
        help=f"numbers of beams to keep, or of samples to choose from (default: {numbers})",
    )
    add_aggregation_argument(parser)
    parser.add_argument(
        "--procedures",
        type=names_among(PROCEDURES),
        default=procedures,
        metavar="NAME,NAME",
        help="how to search: beam (beam search), dvts (diverse verifier tree search), "
        f"best_of_n (whole samples); separate several with commas (default: {names})",
    )


def add_tree_filter_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--pass_rate",
        type=_range_of_shares,
        metavar="LOW,HIGH",
        help="only trees with this share of correct samples, borders included, such as 0.2,0.8 "
        "(default: all)",
    )
    parser.add_argument(
        "--only_majority_wrong",
        action="store_true",
        help="only trees whose majority vote is wrong although some sample is correct",
    )


def tree_filter(options: Mapping[str, Any]) -> TreeFilter:
    """Return the filter that `add_tree_filter_arguments` read."""
    return TreeFilter(
        pass_rate=options["pass_rate"], only_majority_wrong=options["only_majority_wrong"]
    )


def _range_of_shares(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low <= high <= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed: give two numbers from 0 to 1, the lower one first, such as "
            "0.2,0.8"
        )
    return low, high


def add_save_argument(parser: CommandParser) -> None:
    parser.add_argument(
        "--save",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="keep the result for the forest's metrics page (default: yes)",
    )


def add_aggregation_argument(parser: CommandParser) -> None:
    parser.add_argument(
        "--aggregation",
        action="append",
        type=names_among(AGGREGATIONS),
        metavar="NAME,NAME",
        help="how to combine the values of a path's steps into one value: "
        f"{', '.join(AGGREGATIONS)}; separate several with commas (default: mean)",
    )


def chosen_aggregations(given: Sequence[Sequence[str]] | None) -> tuple[str, ...]:
    """Return the names of all `--aggregation` options, without duplicates."""
    return tuple(dict.fromkeys(name for names in given or [["mean"]] for name in names))


def add_print_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--print_as",
        choices=PRINTED_AS,
        default="table",
        help="how to print the numbers (default: %(default)s)",
    )
    # The option's name in earlier versions; `--output` of exports names a directory.
    parser.add_argument(
        "--output",
        dest="print_as",
        choices=PRINTED_AS,
        help=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--json",
        dest="print_as",
        action="store_const",
        const="json",
        default=argparse.SUPPRESS,
        help="the same as --print_as json",
    )


def numbers_up_to(largest: int) -> Callable[[str], tuple[int, ...]]:
    """Return a `type=` of argparse that reads comma-separated whole numbers, sorted."""

    def read(text: str) -> tuple[int, ...]:
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isdecimal() and 1 <= int(part) <= largest for part in parts):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not allowed: give whole numbers from 1 to {largest} separated "
                "by commas, such as 1,5"
            )
        return tuple(sorted({int(part) for part in parts}))

    return read


def share(text: str) -> float:
    """Return a number from 0 to below 1; a `type=` of argparse."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed: give a number from 0 to below 1"
        )
    return number
