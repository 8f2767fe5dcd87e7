"""`storing_problem` agrees with BSON about the values that MongoDB can store."""

from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.storable import MAX_BYTES, MAX_LEVELS, storing_problem

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=())) | st.binary() | st.sets(st.just(1)),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec=None, exclude_categories=())), inner, max_size=3)
    | st.dictionaries(st.integers(), inner, max_size=1),
    max_leaves=8,
)  # fmt: skip


@given(VALUES)
def test_what_is_let_through_can_be_written(value: Any):
    if storing_problem(value) is None:
        assert "value" in bson.decode(bson.encode({"value": value}))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("\ud800", "holds a lone surrogate"),
        ({"a\0": 1}, "has a key"),
        ({1: 1}, "has a key"),
        ({"\udc00": 1}, "holds a lone surrogate"),
        ([{"a": 2**70}], "more than 64 bits"),
        ({"a": {1, 2}}, "holds a value of type set"),
    ],
)
def test_what_cannot_be_written_is_named(value: Any, problem: str):
    assert problem in (storing_problem(value) or "")


@pytest.mark.parametrize("character", ["x", "é", "漢"])
def test_texts_are_counted_together_and_in_bytes(character: str):
    half = character * (MAX_BYTES // 2 // len(character.encode()) - 50)

    assert storing_problem([half, {"a": half}]) is None
    assert len(bson.encode({"value": [half, {"a": half}]})) < 16 * 2**20
    assert "more than 15,000,000 bytes" in (storing_problem([half, half, "x" * 1_000]) or "")
    assert "more than 15,000,000 bytes" in (storing_problem([None] * 1_000_000) or "")


def test_levels_are_counted_not_descended():
    deep: Any = 1
    for _ in range(MAX_LEVELS):
        deep = [deep]
    assert storing_problem(deep) is None
    for _ in range(100_000):
        deep = {"a": deep}
    assert "levels: nest it less deeply" in (storing_problem(deep) or "")
