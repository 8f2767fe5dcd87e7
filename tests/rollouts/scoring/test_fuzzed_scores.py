"""Whatever a reward server sends gives scores within their range, or an error of one line."""

from math import isfinite
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.protocol.responses import ResponseError
from rollouts.scoring.score_requests import (
    BUILT_IN_KINDS,
    LAYOUTS,
    MAX_SCORE,
    Asked,
    ScoreRequest,
    ScorerKind,
    ScorerOptions,
    ScoringError,
    StepLayout,
    read_scores,
    score_requests,
)
from tests.forests.factories import leaf, step, tree_of

ASKED = Asked(prompt="How much is 2 + 3 + 4?\n", question="How much is 2 + 3 + 4?")
TREE = tree_of(step("0.0", "2 + 3 = 5\n"), leaf("0.0.0", "5 + 4 = 9\n", None))
TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=5)
TOKENS = st.sampled_from(["+", " +", "-", "\u2581-", "the", ""])
NUMBERS = (
    st.integers() | st.floats() | st.integers(10**18, 10**400) | st.floats(0, 1) | st.floats(-20, 0)
)
NAMES = st.sampled_from(
    ["choices", "data", "logprobs", "content", "top_logprobs", "token", "logprob", "score", "+"]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | TEXT, inner, max_size=4),
    max_leaves=15,
)
LISTED = st.fixed_dictionaries({"token": TOKENS | JSON, "logprob": NUMBERS | JSON}) | JSON
LOGPROBS = st.fixed_dictionaries(
    {},
    optional={
        "content": st.lists(
            st.fixed_dictionaries({"top_logprobs": st.lists(LISTED, max_size=4) | JSON}) | JSON,
            max_size=2,
        )
        | JSON,
        "top_logprobs": st.lists(st.dictionaries(TOKENS, NUMBERS | JSON, max_size=4) | JSON) | JSON,
    },
)
HALVES = st.floats(0, 1).map(lambda p: [p, 1 - p])
ROWS = st.lists(HALVES | st.lists(NUMBERS | JSON, max_size=3) | NUMBERS | JSON, max_size=3)
RESULT = (
    st.fixed_dictionaries({"logprobs": LOGPROBS | JSON})
    | st.fixed_dictionaries({"data": ROWS | JSON})
    | st.fixed_dictionaries({"score": NUMBERS | JSON})
    | JSON
)
RESPONSES = JSON | st.fixed_dictionaries(
    {}, optional={name: st.lists(RESULT, max_size=2) | JSON for name in ("choices", "data")}
)


def read(response: Any, request: ScoreRequest, options: ScorerOptions) -> list[float | None] | str:
    """Return what was read, or why nothing was."""
    try:
        return read_scores(response, request, options)
    except (ResponseError, ScoringError) as error:
        return str(error)


@pytest.mark.parametrize("kind", BUILT_IN_KINDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@given(response=RESPONSES, good_index=st.integers(0, 2))
def test_any_json_is_read_or_refused(
    kind: ScorerKind, layout: StepLayout, response: Any, good_index: int
):
    options = ScorerOptions(kind=kind, layout=layout, step_tag="", good_index=good_index)
    for request in score_requests(TREE, ASKED, options):
        found = read(response, request, options)
        if isinstance(found, str):
            assert 0 < len(found) < 200
            assert "\n" not in found
            continue
        assert len(found) == len(request.nodes)
        for score in found:
            if score is None:
                assert kind == "logprobs"
                continue
            assert type(score) is float
            assert isfinite(score)
            assert abs(score) <= MAX_SCORE
            assert kind == "score" or 0 <= score <= 1
