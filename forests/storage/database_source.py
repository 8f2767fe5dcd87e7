"""Read a forest of the database in the same way as an archive."""

from collections.abc import Iterator, Sequence

from django.core.exceptions import ImproperlyConfigured

from common.storage_problems import STORAGE_ERRORS, storage_problem
from forests.core.reading import ForestSummary, ReadError, ReadTree
from forests.models import Forest
from forests.storage.reader import DatabaseReader
from forests.storage.scores import scorer_names

_NAMES_SHOWN = 10
_BROKEN = (*STORAGE_ERRORS, ImproperlyConfigured)


class DatabaseSource:
    """A forest in the database."""

    def __init__(self, name: str) -> None:
        """Open a forest.

        Raises:
            ReadError: no forest has this name, some trees are missing, or the database is away.
        """
        try:
            self._forest = _find(name)
            values = {field: getattr(self._forest, field) for field in _fields()}
            self.summary = ForestSummary.of(name, values, scorer_names(self._forest))
        except _BROKEN as error:
            raise ReadError(_problem(error)) from error

    def trees(
        self, indexes: range, scorers: Sequence[str] = (), *, only_values: bool = False
    ) -> Iterator[ReadTree]:
        """Yield these trees in the order of the dataset, in bounded memory.

        Raises:
            ReadError: the database is away.
        """
        try:
            reader = DatabaseReader(self._forest)
            yield from reader.trees(indexes, scorers, only_values=only_values)
        except _BROKEN as error:
            raise ReadError(_problem(error)) from error


def _fields() -> list[str]:
    return [field.name for field in Forest._meta.concrete_fields]  # noqa: SLF001  documented


def _find(name: str) -> Forest:
    forest = Forest.objects.filter(pk=name).first()
    if forest is None:
        names = sorted(Forest.objects.values_list("name", flat=True)[:_NAMES_SHOWN])
        known = f"it has {', '.join(names)}" if names else "it has none"
        raise ReadError(
            f"the database has no forest {name!r}, {known}; for an archive, give its directory"
        )
    if not forest.is_seeded:
        command = forest.importer or "seed_forest"
        raise ReadError(
            f"forest {name!r} is only partly {'imported' if forest.importer else 'seeded'}: run "
            f"the same {command} command again"
        )
    return forest


def _problem(error: Exception) -> str:
    if isinstance(error, ImproperlyConfigured):
        return str(error)
    return storage_problem(error)
