"""Messages in plain words for input that pydantic refuses.

The words follow from the JSON Schema of a field's type, so messages and documents agree.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

Place: TypeAlias = tuple[str | int, ...]
"""Keys and positions that lead from the whole value to one inside it."""

STRICT = ConfigDict(
    strict=True,
    regex_engine="python-re",  # it knows the same blanks as `str.strip`
    use_attribute_docstrings=True,
)
"""No value is converted to another type. True is not a number, and 1.0 not a whole number."""

JSON_WORDS: Mapping[str, str] = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a JSON object",
    "string": "a text",
}
PYTHON_WORDS: Mapping[str, str] = {
    **JSON_WORDS,
    "array": "a tuple",
    "boolean": "True or False",
    "null": "None",
    "object": "a mapping",
}


def _number(value: object) -> object:
    if not isinstance(value, int | float):
        raise PydanticCustomError("not_a_number", "not a number")
    return value


def any_of(*types: str) -> dict[str, Any]:
    """Return the JSON Schema of a value of one of these types."""
    return {"anyOf": [{"type": one} for one in types]}


def _as_written(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PydanticCustomError("not_written", "neither a text nor a number")
    return str(value)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank: give the correct answer")
    return text


IS_NUMBER = BeforeValidator(_number)
"""For a float: pydantic alone also accepts values that convert to one, such as NumPy's ints."""

Written: TypeAlias = Annotated[
    Any, AfterValidator(_as_written), WithJsonSchema(any_of("string", "number"))
]
"""A text or a number. A number becomes a text, spelled as in the file."""
Label: TypeAlias = Annotated[
    Written,
    AfterValidator(_not_blank),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"\S"}, {"type": "number"}]}),
]
"""The correct answer."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One value that a type refuses."""

    place: Place
    problem: str
    """What is wrong, to follow the name of the value: "must be a whole number of at least 1"."""

    @property
    def name(self) -> str:
        """Return the keys and positions, such as `a.b[2]`; "it" for the whole value."""
        parts = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.place)
        return f"`{''.join(parts).removeprefix('.')}`" if self.place else "it"


def refusals(
    error: ValidationError,
    kind: TypeAdapter[Any],
    words: Mapping[str, str] = JSON_WORDS,
    *,
    levels: int | None = None,
) -> list[Refusal]:
    """Return the values that a type refused, in the order of its fields.

    `levels`: length of the longest place to name; with 1, each refusal is about a whole field.
    """
    schema = kind.json_schema()
    found = error.errors(include_url=False, include_input=False)
    told: dict[Place, str] = {}
    for one in found:
        place, part = _found_at(schema, one["loc"], levels)
        # Each member of a union adds an error for the same value: the first is enough.
        told.setdefault(place, _problem(one, part, schema, words))
    return [Refusal(place, problem) for place, problem in told.items()]


def _problem(
    error: Any, part: Mapping[str, Any], schema: Mapping[str, Any], words: Mapping[str, str]
) -> str:
    context = error.get("ctx", {})
    if error["type"] == "value_error":
        return str(context["error"])
    if error["type"] in ("string_too_long", "too_long"):
        return f"has more than {context['max_length']} characters"
    if error["type"] == "string_unicode":
        return "holds a lone surrogate: write the whole character"
    return f"must be {_in_words(part, schema, words)}"


def _found_at(
    schema: Mapping[str, Any], location: Place, levels: int | None
) -> tuple[Place, Mapping[str, Any]]:
    """Return the place of an error, and the schema at that place.

    The place leaves out the names of a union's members, and ends before keys that the file chose.
    """
    place: list[str | int] = []
    part = schema
    for key in location:
        if len(place) == levels:
            break
        for member in _members(part, schema):
            fields = member.get("properties", {})
            inner = member.get("items") if isinstance(key, int) else fields.get(key)
            if inner is not None:
                place.append(key)
                part = inner
                break
    return tuple(place), part


def _members(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the members of a union, or the schema itself, without references."""
    if "$ref" in part:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]]
    for member in part.get("anyOf", ()):
        yield from _members(member, schema)
    if "anyOf" not in part:
        yield part


def _in_words(part: Mapping[str, Any], schema: Mapping[str, Any], words: Mapping[str, str]) -> str:
    told = [_one_in_words(member, schema, words) for member in _members(part, schema)]
    # Between short words, no comma before "or".
    last = " or " if all(len(one.split()) <= 2 for one in told) else ", or "  # noqa: PLR2004
    return last.join(filter(None, (", ".join(told[:-1]), told[-1])))


def _one_in_words(
    part: Mapping[str, Any], schema: Mapping[str, Any], words: Mapping[str, str]
) -> str:
    if "enum" in part:
        return f"one of {', '.join(map(str, part['enum']))}"
    word = words[part["type"]]
    if part["type"] == "string":
        blank = {"pattern": "blank", "minLength": "empty"}
        return word + next((f" that is not {blank[key]}" for key in blank if key in part), "")
    if part["type"] == "array":
        each = (
            f", each entry {_in_words(part['items'], schema, words)}" if part.get("items") else ""
        )
        return f"{word} with at least one entry{each}" if "minItems" in part else word + each
    others = part.get("additionalProperties")
    if isinstance(others, Mapping):
        return f"{word}, each value {_in_words(others, schema, words)}"
    return word + _range(part)


def _range(part: Mapping[str, Any]) -> str:
    low, high, above = (part.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
    if above is not None:
        return f" above {above:.15g}" + ("" if high is None else f", up to {high:.15g}")
    if low is not None and high is not None:
        return f" from {low:.15g} to {high:.15g}"
    return "" if low is None else f" of at least {low:.15g}"
