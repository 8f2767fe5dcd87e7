"""The messages about values that pydantic refuses."""

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from common.validation import (
    PYTHON_WORDS,
    STRICT,
    Label,
    Refusal,
    Written,
    refusals,
)


@with_config(STRICT)
class Part(TypedDict, total=False):
    size: Annotated[int, Field(ge=1)]


@with_config(STRICT)
class Whole(TypedDict, total=False):
    count: Annotated[int, Field(ge=1, le=9)]
    share: Annotated[float, Field(gt=0, le=1)]
    kind: Literal["a", "b"]
    label: Label
    texts: list[Annotated[str, Field(pattern=r"\S", max_length=9)]]
    written: Annotated[list[Written | None], Field(min_length=1)]
    is_set: bool | None
    parts: dict[str, Part]


WHOLE = TypeAdapter(Whole)


def refused(value: Any, **options: Any) -> list[Refusal]:
    with pytest.raises(ValidationError) as raised:
        WHOLE.validate_python(value)
    return refusals(raised.value, WHOLE, **options)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "it must be a JSON object"),
        ({"count": True}, "`count` must be a whole number from 1 to 9"),
        ({"count": 1.0}, "`count` must be a whole number from 1 to 9"),
        ({"count": 10**30}, "`count` must be a whole number from 1 to 9"),
        ({"share": 0}, "`share` must be a number above 0, up to 1"),
        ({"share": float("nan")}, "`share` must be a number above 0, up to 1"),
        ({"share": "0.5"}, "`share` must be a number above 0, up to 1"),
        ({"kind": "c"}, "`kind` must be one of a, b"),
        ({"label": None}, "`label` must be a text that is not blank, or a number"),
        ({"label": " "}, "`label` is blank: give the correct answer"),
        ({"texts": ["a", "\x1c"]}, "`texts[1]` must be a text that is not blank"),
        ({"texts": ["a" * 10]}, "`texts[0]` has more than 9 characters"),
        ({"texts": ["\ud800"]}, "`texts[0]` holds a lone surrogate: write the whole character"),
        ({"texts": "a"}, "`texts` must be a list, each entry a text that is not blank"),
        ({"written": [True]}, "`written[0]` must be a text, a number or null"),
        ({"written": []}, "`written` must be a list with at least one entry, each entry a text, a "
         "number or null"),
        ({"is_set": 0}, "`is_set` must be true or false, or null"),
        ({"parts": {"x" * 10**6: {"size": 0}}}, "`parts` must be a JSON object, each value a JSON "
         "object"),
        ({"parts": 3}, "`parts` must be a JSON object, each value a JSON object"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field_and_its_rule(value: Any, told: str):
    (refusal,) = refused(value)

    assert f"{refusal.name} {refusal.problem}" == told


def test_a_refusal_may_tell_the_rule_of_a_whole_field_in_the_words_of_python():
    (refusal,) = refused({"texts": ["a", ""]}, words=PYTHON_WORDS, levels=1)

    assert refusal == Refusal(("texts",), "must be a tuple, each entry a text that is not blank")


def test_all_fields_are_told():
    assert [one.place for one in refused({"count": 0, "kind": 3})] == [("count",), ("kind",)]


def test_a_number_keeps_its_spelling():
    assert WHOLE.validate_python({"label": json.loads("5.0")})["label"] == "5.0"
