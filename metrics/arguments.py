"""Options that several commands about values and metrics have."""

import argparse
from collections.abc import Callable, Sequence

from django.core.management.base import CommandParser

from forests.commands import add_json_argument, names_among
from metrics.core.aggregation import AGGREGATIONS
from metrics.core.values import ESTIMATORS, UNGRADED


def add_value_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        default="leaf_mean",
        help="how the value of a node follows from the leaves under it (default: %(default)s)",
    )
    parser.add_argument(
        "--ungraded",
        choices=UNGRADED,
        default="incorrect",
        help="what an unanswered or truncated leaf counts as (default: %(default)s)",
    )


def add_aggregation_argument(parser: CommandParser) -> None:
    parser.add_argument(
        "--aggregation",
        action="append",
        type=names_among(AGGREGATIONS),
        metavar="NAME,NAME",
        help="how a path's value follows from those of its steps: "
        f"{', '.join(AGGREGATIONS)}; several at once (default: mean)",
    )


def chosen_aggregations(given: Sequence[Sequence[str]] | None) -> tuple[str, ...]:
    """Return the names of all `--aggregation` options, each once."""
    return tuple(dict.fromkeys(name for names in given or [["mean"]] for name in names))


def add_output_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--output",
        choices=("table", "json", "csv", "md"),
        default="table",
        help="how the numbers are printed (default: %(default)s)",
    )
    add_json_argument(parser)


def numbers_up_to(largest: int) -> Callable[[str], tuple[int, ...]]:
    """Return a reader of whole numbers with commas between, in order, for `type=`."""

    def read(text: str) -> tuple[int, ...]:
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isdecimal() and 1 <= int(part) <= largest for part in parts):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not allowed: give whole numbers from 1 to {largest} with commas "
                "between, such as 1,5"
            )
        return tuple(sorted({int(part) for part in parts}))

    return read


def share(text: str) -> float:
    """Return a number from 0 to below 1, for `type=` of an argument."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed: give a number from 0 to below 1"
        )
    return number
