"""Convert documents of the database to rows of a table and back, without loss."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import pyarrow as pa
from django.db import models
from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    with_config,
)
from typing_extensions import TypedDict

from common.json_lines import MAX_NUMBER, JsonError, parse_json
from common.storable import storing_problem
from common.validation import STRICT, refusals
from forests.storage.trees import Document
from forests.transfer.archive_files import ADDED


def _year_checked(moment: datetime) -> datetime:
    # Pages can show these in any time zone: the ends of the calendar overflow in some.
    if moment.year not in range(1970, 9999):
        raise ValueError(f"is {moment}, which is out of range")
    return moment


def _parsed(text: str) -> Any:
    try:
        value = parse_json(text, float)
    except JsonError as error:
        raise ValueError(f"is not usable: {error}") from error
    if problem := storing_problem(value):
        raise ValueError(problem)
    return value


_TYPES: Mapping[str, tuple[pa.DataType, Any]] = {
    "BooleanField": (pa.bool_(), bool),
    "IntegerField": (pa.int64(), Annotated[int, Field(ge=1 - 2**31, le=2**31 - 1)]),
    "BigIntegerField": (pa.int64(), Annotated[int, Field(ge=1 - 2**63, le=2**63 - 1)]),
    "FloatField": (pa.float64(), Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]),
    "DateTimeField": (
        pa.timestamp("ms"),  # UTC, as MongoDB keeps it
        Annotated[datetime, AfterValidator(_year_checked), WithJsonSchema({"type": "string"})],
    ),
    "JSONField": (
        pa.string(),
        Annotated[
            str,
            AfterValidator(_parsed),
            WithJsonSchema({"type": "string", "contentMediaType": "application/json"}),
        ],
    ),
    "BinaryField": (pa.binary(), bytes),
    "CharField": (pa.string(), str),
    "TextField": (pa.string(), str),
}
"""By the kind of a field: the type of its column, and what a value must be."""


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
        self.schema = pa.schema([(name, _TYPES[kind][0]) for name, kind in kinds.items()])
        self.rows: TypeAdapter[Document] = TypeAdapter(
            with_config(STRICT)(
                TypedDict(model.__name__, {name: _type_of(one) for name, one in fields.items()})  # type: ignore[operator]
            )
        )
        """What the values of a row must be."""
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

    def document(self, row: Mapping[str, Any]) -> Document:
        """Return the values of a row in the form that a document has.

        Raises:
            ValueError: a required value is missing, not among the choices, too long, too large,
                not a number, or cannot be stored.
        """
        row = {**self.row_when_missing, **row}
        try:
            return self.rows.validate_python(row)
        except ValidationError as error:
            refusal = refusals(error, self.rows)[0]
            name, problem = refusal.place[0], refusal.problem
            if problem.startswith("must"):
                problem = f"is {row.get(str(name))!r:.40}: it {problem}"
            raise ValueError(f"{name} {problem}") from error


def _type_of(field: Any) -> Any:
    """Return what a value of a field of a model must be."""
    found = _TYPES[field.get_internal_type()][1]
    if field.choices:
        found = Literal[tuple(name for name, _ in field.choices)]
    elif field.max_length:
        found = Annotated[found, Field(max_length=field.max_length)]
    return found | None if field.null else found
