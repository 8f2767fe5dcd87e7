"""How many requests a server works on at once, as it says itself."""

from typing import Any

import pytest

from rollouts.protocol.slots import num_slots


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ({"total_slots": 8, "model_path": "/x"}, 8),
        ([{"id": 0}, {"id": 1}], 2),
        ({"total_slots": 0}, None),
        ({"total_slots": -1}, None),
        ({"total_slots": True}, None),
        ({"total_slots": "8"}, None),
        ({"error": "not found"}, None),
        ([], None),
        ([1, 2], None),
        ("8", None),
        (None, None),
    ],
)
def test_what_is_no_number_of_slots_says_nothing(answer: Any, number: int | None):
    assert num_slots(answer) == number
