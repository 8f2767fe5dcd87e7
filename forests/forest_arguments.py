"""Shared parts of commands about one forest: finding the forest, remarks about its samples."""

import argparse
import math

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand
from forests.costs.budgets import MAX_AMOUNT
from forests.models import Forest

FOREST_NAME_HELP = "name of a forest, as `seed_forest` printed it"


def add_forest_argument(parser: CommandParser) -> None:
    parser.add_argument("--forest_name", required=True, help=FOREST_NAME_HELP)


def get_forest(name: str) -> Forest:
    """Return a forest.

    Raises:
        CommandError: no forest has this name. The message lists the first ten names.
    """
    try:
        return Forest.objects.get(pk=name)
    except Forest.DoesNotExist:
        names = sorted(Forest.objects.values_list("name", flat=True))
        known = f"known: {', '.join(names[:10])}" if names else "none is seeded: run seed_forest"
        raise CommandError(f"no forest named {name!r}; {known}") from None


def get_seeded_forest(name: str) -> Forest:
    """Return a forest whose trees all exist.

    Raises:
        CommandError: the forest does not exist, or its seeding or import was interrupted.
    """
    forest = get_forest(name)
    if not forest.is_seeded:
        raise CommandError(
            f"forest {name!r} is only partly {'imported' if forest.importer else 'seeded'}: run "
            f"the same {forest.importer or 'seed_forest'} command again"
        )
    return forest


def get_graded_forest(name: str) -> Forest:
    """Return a seeded forest whose leaves were all graded by one grader.

    Raises:
        CommandError: the forest does not exist, is partly seeded, or its regrading was
            interrupted.
    """
    forest = get_seeded_forest(name)
    if not forest.is_graded:
        raise CommandError(
            f"forest {name!r} is only partly regraded: run regrade_forest --forest_name {name} "
            "again"
        )
    return forest


def get_grown_forest(name: str) -> Forest:
    """Return a graded forest that has values, so at least one of its trees is complete.

    Raises:
        CommandError: the forest does not exist, is partly seeded or graded, or no tree is
            complete.
    """
    forest = get_graded_forest(name)
    if not forest.num_complete:
        raise CommandError(
            f"forest {name!r} has no complete tree: run rollout_worker or populate_forest first"
        )
    return forest


def say_uncompared(command: ProjectCommand, number: int | None, forest_name: str) -> None:
    """Report how many samples of a forest have no result, with the remedy; nothing if none."""
    if number:
        command.say(
            f"{number} samples have no result, as nobody could compare their answers with the "
            f"label: regrade_forest --forest_name {forest_name} tries again"
        )


def say_ungrouped(command: ProjectCommand, number: int | None, forest_name: str) -> None:
    """Report how many samples an older version graded, with the remedy; nothing if none."""
    if number:
        command.say(
            f"{number} samples were graded by an older version, so their answers are the same "
            f"only where their texts are: regrade_forest --forest_name {forest_name} fixes this"
        )


def amount(text: str) -> float:
    """Return a number of at least 0, for `type=` of an argument."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MAX_AMOUNT:
        raise argparse.ArgumentTypeError(f"{text[:30]!r} is not a number from 0 to {MAX_AMOUNT}")
    return number


def positive_amount(text: str) -> float:
    """Return a number above 0, for `type=` of an argument."""
    if not (number := amount(text)):
        raise argparse.ArgumentTypeError(f"{text[:30]!r} is not above 0")
    return number
