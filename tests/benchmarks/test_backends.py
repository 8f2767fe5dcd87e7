"""What the benchmark of real backends finds wrong with a forest."""

from typing import Any

import pytest

from tests.backends.growing import problem_of_steps


def step(path: str, text: str = "We add.", **fields: Any) -> dict[str, Any]:
    """Return the row of a step in an exported forest."""
    told = {"terminal": False, "truncated": False, "finish_reason": "stop", "is_thought": False}
    return {"tree": 0, "path": path, "text": text, **told, **fields}


def test_whole_solutions_have_no_problem():
    assert not problem_of_steps([step("0.0"), step("0.0.0", "#### 3")], thinks=False)
    cut = step("0.0", truncated=True, finish_reason="length")
    assert not problem_of_steps([cut], thinks=False)
    assert not problem_of_steps([step("0.0.1", "", terminal=True)], thinks=False)
    thought = step("0.0", "Hm.", is_thought=True)
    assert not problem_of_steps([thought, step("0.0.0")], thinks=True)


@pytest.mark.parametrize(
    ("steps", "thinks", "problem"),
    [
        ([step("0.0", " \n")], False, "is blank"),
        ([step("0.0", truncated=True)], False, "is cut, and its reason is 'stop'"),
        ([step("0.0")], True, "is no thought"),
        ([step("0.0", is_thought=True), step("0.0.1", is_thought=True)], True, "is a thought"),
        ([step("0.0", "Hm.</think> 3")], False, "holds the mark of a thought"),
    ],
)
def test_what_a_server_or_the_client_did_wrong_is_named(steps, thinks, problem):
    assert problem in problem_of_steps(steps, thinks=thinks)
