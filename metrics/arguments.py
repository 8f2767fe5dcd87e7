"""Options of every command that reads values of nodes."""

from django.core.management.base import CommandParser

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
