"""Convert documents of the database to rows of a table and back, without loss."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
from django.db import models

from common.json_lines import JsonError, is_number, parse_json
from common.storable import storing_problem
from forests.storage.trees import Document
from forests.transfer.archive_files import ADDED

_TYPES = {
    "BooleanField": pa.bool_(),
    "IntegerField": pa.int64(),
    "BigIntegerField": pa.int64(),
    "FloatField": pa.float64(),
    "DateTimeField": pa.timestamp("ms"),  # UTC, as MongoDB keeps it
    "JSONField": pa.string(),
    "CharField": pa.string(),
    "TextField": pa.string(),
}
_JSON_TYPES: Mapping[pa.DataType, set[type]] = {
    pa.bool_(): {bool},
    pa.int64(): {int},
    pa.float64(): {int, float},
    pa.timestamp("ms"): {str},
    pa.string(): {str},
}
"""Type of a column's values before Arrow converts them."""
_MAX_NUMBERS = {"IntegerField": 2**31 - 1, "BigIntegerField": 2**63 - 1}
_YEARS = range(1970, 9999)
"""Years that pages can show in any time zone: the ends of the calendar overflow in some."""


class Columns:
    """The fields of a model that a table holds, without those that follow from a row's place."""

    def __init__(self, model: type[models.Model], without: Iterable[str]) -> None:
        left_out = set(without)
        fields = {
            str(field.column): field
            for field in model._meta.concrete_fields  # noqa: SLF001  Django's documented interface
            if field.name not in left_out
        }
        kinds = {name: field.get_internal_type() for name, field in fields.items()}
        self.names = list(kinds)
        self._rules = {
            name: (field.null, field.max_length, dict(field.choices or ()))
            for name, field in fields.items()
        }
        self._largest = {
            name: _MAX_NUMBERS[kind] for name, kind in kinds.items() if kind in _MAX_NUMBERS
        }
        self.schema = pa.schema([(name, _TYPES[kind]) for name, kind in kinds.items()])
        self._json = {name for name, kind in kinds.items() if kind == "JSONField"}
        self._when_missing = {name: ADDED[name] for name in fields if name in ADDED}
        self.row_when_missing = {
            name: json.dumps(value) if name in self._json else value
            for name, value in self._when_missing.items()
        }
        """Defaults for the fields that an older version did not write."""

    def row(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a document; JSON fields become text."""
        document = {**self._when_missing, **document}
        return {
            name: json.dumps(document[name], ensure_ascii=False)
            if name in self._json
            else document[name]
            for name in self.names
        }

    def check_types(self, row: Mapping[str, Any]) -> None:
        """Refuse values from JSON that Arrow would silently convert to numbers or texts.

        Raises:
            TypeError: there is one.
        """
        for column in self.schema:
            value, kind = row[column.name], _JSON_TYPES[column.type]
            if value is not None and type(value) not in kind:
                raise TypeError(f"{column.name} is {value!r:.40}, not {column.type}")

    def document(self, row: Mapping[str, Any]) -> Document:
        """Return the values of a row in the form that a document has.

        Raises:
            ValueError: a required value is missing, not among the choices, too long, too large,
                not a number, or cannot be stored.
        """
        row = {**self.row_when_missing, **row}
        self._check_rules(row)
        document = {
            name: _parsed(name, row[name]) if name in self._json else row[name]
            for name in self.names
        }
        for name, value in document.items():
            if name in self._json and (problem := storing_problem(value)):
                raise ValueError(f"{name} {problem}")
            if not _is_in_range(value, self._largest.get(name)):
                raise ValueError(f"{name} is {value}, which is out of range")
        return document

    def _check_rules(self, row: Mapping[str, Any]) -> None:
        for name, (may_be_none, longest, choices) in self._rules.items():
            value = row[name]
            if value is None and not may_be_none:
                raise ValueError(f"no {name}")
            if choices and value not in choices:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(choices)}")
            if longest and value and len(value) > longest:
                raise ValueError(f"{name} has {len(value)} characters: at most {longest}")


def _parsed(name: str, text: str) -> Any:
    try:
        return parse_json(text, float)
    except JsonError as error:
        raise ValueError(f"{name}: {error}") from error


def _is_in_range(value: Any, largest: int | None) -> bool:
    """Return whether sums, documents and pages can hold a value of a column."""
    if largest is not None:
        return value is None or abs(value) <= largest
    if isinstance(value, float):
        return is_number(value)
    return not isinstance(value, datetime) or value.year in _YEARS
