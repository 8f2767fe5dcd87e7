"""Command-line options that name a forest of the database, or an archive of a forest."""

from pathlib import Path

from django.core.management.base import CommandError, CommandParser

from common.text import describe
from forests.forest_arguments import FOREST_NAME_HELP, get_graded_forest
from forests.storage.reader import DatabaseReader, ForestReader

ARCHIVE_HELP = (
    "in place of a forest of the database: a directory that export_forest wrote; no database is "
    "needed"
)


def add_forest_or_archive_argument(parser: CommandParser) -> None:
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--forest_name", help=FOREST_NAME_HELP)
    group.add_argument("--archive", type=Path, metavar="DIR", help=ARCHIVE_HELP)


def open_grown(forest_name: str | None, archive: Path | None) -> ForestReader:
    """Return the forest of these options, with at least one complete tree.

    Raises:
        CommandError, UserError: the forest or archive is missing or incomplete, or no tree is
            complete.
    """
    reader = open_archive(archive) if archive else open_graded(str(forest_name))
    if not reader.forest.num_complete:
        what = f"archive {archive}" if archive else f"forest {reader.forest.name!r}"
        also = ", and export_forest again" if archive else ""
        raise CommandError(
            f"{what} has no complete tree: run rollout_worker or populate_forest first{also}"
        )
    return reader


def open_graded(forest_name: str) -> ForestReader:
    return DatabaseReader(get_graded_forest(forest_name))


def open_archive(directory: Path) -> ForestReader:
    """Return the forest in a directory that `export_forest` wrote.

    Raises:
        CommandError: the directory cannot be read.
        UserError: `export_forest` did not write the directory, or it is damaged.
    """
    # Imports pyarrow, which commands on a forest of the database do not need.
    from forests.transfer.archive_reader import ArchiveReader  # noqa: PLC0415

    try:
        return ArchiveReader(directory)
    except OSError as error:
        raise CommandError(f"{directory} cannot be read: {describe(error)}") from error
