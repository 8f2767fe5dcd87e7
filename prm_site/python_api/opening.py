"""Open a forest of the database, or one that `export_forest` wrote."""

import os
from importlib import import_module
from pathlib import Path

from forests.core.estimators import AUTO, EstimatorChoice
from forests.core.naming import ForestNameError, check_forest_name
from forests.core.reading import ForestSource, ReadError
from forests.core.values import Ungraded
from forests.transfer.archive_source import ArchiveSource
from prm_site.python_api.open_forest import OpenForest


def open_forest(
    directory_or_name: str | os.PathLike[str],
    *,
    estimator: EstimatorChoice = AUTO,
    ungraded: Ungraded = "incorrect",
    scorer: str = "",
    check_files: bool = True,
) -> OpenForest:
    """Open a forest to read it.

    A directory is an archive that `export_forest` wrote; it is read without Django and without a
    database. Anything else is the name of a forest in the database, whose address is `MONGODB_URI`
    in the environment or in `.env`.

    Args:
        directory_or_name: a directory, or the name of a forest. If the current directory holds a
            directory of this name, that one is opened.
        estimator: how the values of the nodes are estimated; "auto" is the default estimator of
            the strategy that grew the forest, as on the pages.
        ungraded: whether samples without an answer count as "incorrect", or "exclude" them.
        scorer: use the scores of this scorer as values, instead of an estimator.
        check_files: compare the files of an archive with their SHA-256, which reads all of them
            once.

    Returns:
        The forest with its facts. Trees are read only when you ask for them.

    Raises:
        ReadError: there is no such forest, it is damaged or incomplete, no database is configured
            or it does not answer, or the estimator or scorer cannot be used with the forest. The
            message is one line with the remedy.
    """
    source = _source(directory_or_name, check_files=check_files)
    return OpenForest(source, estimator=estimator, ungraded=ungraded, scorer=scorer)


def _source(directory_or_name: str | os.PathLike[str], *, check_files: bool) -> ForestSource:
    path = Path(directory_or_name)
    if path.is_dir():
        return ArchiveSource(path, is_checked=check_files)
    if isinstance(directory_or_name, str) and _is_name(directory_or_name):
        # This imports Django and the database's driver, which an archive does not need.
        databases = import_module("prm_site.python_api.databases")
        source: ForestSource = databases.open_in_database(directory_or_name)
        return source
    raise ReadError(
        f"there is no directory {os.fspath(directory_or_name)!r}: give one that export_forest "
        "wrote, or the name of a forest in the database"
    )


def _is_name(text: str) -> bool:
    try:
        check_forest_name(text)
    except ForestNameError:
        return False
    return True
