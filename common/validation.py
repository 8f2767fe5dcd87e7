"""Say in plain words what a pydantic model refuses.

The rule of a field is told from the model's JSON Schema, so that a message and the documents agree.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

Place: TypeAlias = tuple[str | int, ...]
"""Keys and positions that lead from the whole value to one inside it."""

STRICT = ConfigDict(
    strict=True,
    regex_engine="python-re",  # it knows the same blanks as `str.strip`
    use_attribute_docstrings=True,
)
"""For models: no type is converted to another. True is no number, 1.0 no whole number."""

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


IS_NUMBER = BeforeValidator(_number)
"""For a float: pydantic alone would also take what turns into one, as the ints of NumPy do."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One value that a model refuses."""

    place: Place
    problem: str
    """What is wrong, after the name of the value: "must be a whole number of at least 1"."""


def refusals(
    model: type[BaseModel],
    value: object,
    words: Mapping[str, str] = JSON_WORDS,
    *,
    levels: int | None = None,
) -> list[Refusal]:
    """Return what a model refuses of a value, in the order of its fields; empty if nothing.

    `levels`: longest place that is told; with 1, a refusal tells the rule of a whole field.
    """
    try:
        model.model_validate(value)
    except ValidationError as error:
        schema = model.model_json_schema()
        found = error.errors(include_url=False, include_input=False)
    else:
        return []
    told: dict[Place, str] = {}
    for one in found:
        place, part = _found_at(schema, one["loc"], levels)
        # Each member of a union has an error of its own.
        told.setdefault(place, _problem(one, part, schema, words))
    return [Refusal(place, problem) for place, problem in told.items()]


def _problem(
    error: Any, part: Mapping[str, Any], schema: Mapping[str, Any], words: Mapping[str, str]
) -> str:
    context = error.get("ctx", {})
    if error["type"] == "value_error":
        return f"must be {str(context['error']).removeprefix('it must be ')}"
    if error["type"] == "string_too_long":
        return f"has more than {context['max_length']} characters"
    if error["type"] == "string_unicode":
        return "holds a lone surrogate: write the whole character"
    return f"must be {_in_words(part, schema, words)}"


def _found_at(
    schema: Mapping[str, Any], location: Place, levels: int | None
) -> tuple[Place, Mapping[str, Any]]:
    """Return the place of an error, without the names of a union's members, and its schema."""
    place: list[str | int] = []
    part = schema
    for key in location:
        if len(place) == levels:
            break
        for member in _members(part, schema):
            inner = member.get("items") if isinstance(key, int) else _field(member, str(key))
            if inner is not None:
                place.append(key)
                part = inner
                break
    return tuple(place), part


def _field(part: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = part.get("properties", {}).get(name)
    return found


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
    return ", or ".join(filter(None, (", ".join(told[:-1]), told[-1])))


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
        each = f", each entry {_in_words(part['items'], schema, words)}" if part["items"] else ""
        return f"{word} with at least one entry{each}" if "minItems" in part else word + each
    return word + _range(part)


def _range(part: Mapping[str, Any]) -> str:
    low, high, above = (part.get(key) for key in ("minimum", "maximum", "exclusiveMinimum"))
    if above is not None:
        return f" above {above:.15g}" + ("" if high is None else f", up to {high:.15g}")
    if low is not None and high is not None:
        return f" from {low:.15g} to {high:.15g}"
    return "" if low is None else f" of at least {low:.15g}"
