"""Whatever a server sends gives storable samples, or `ResponseError`, which is tried again."""

import json
from math import isfinite
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rollouts.protocol.responses import ReportedUsage, ResponseError, StopRules, read_completions
from rollouts.steps.completions import Completion
from rollouts.steps.rules import StepRule, share_logprobs, share_tokens

TEXT = st.text(st.characters(codec=None, exclude_categories=())) | st.sampled_from(
    ["", "\n", "step\n", "end", "stop", "length", "\ud800", "<think>a\n</think>\nb\n", "</think>"]
)
NUMBERS = st.integers() | st.floats() | st.integers(10**18, 10**400)
NAMES = st.sampled_from(
    [
        "choices", "text", "message", "content", "logprobs", "tokens", "token", "token_logprobs",
        "logprob", "finish_reason", "stop_reason", "usage", "prompt_tokens", "completion_tokens",
        "model", "reasoning", "reasoning_content", "type", "thinking", "matched_stop", "refusal",
        "tool_calls", "error", "completion_tokens_details", "reasoning_tokens",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | TEXT, inner, max_size=5),
    max_leaves=20,
)
CHOICES = st.fixed_dictionaries(
    {"text": TEXT},
    optional={
        "finish_reason": JSON,
        "stop_reason": JSON,
        "logprobs": JSON,
        "message": JSON,
        "matched_stop": JSON,
        "reasoning": TEXT,
    },
)
RESPONSES = JSON | st.fixed_dictionaries(
    {"choices": st.lists(CHOICES | JSON, max_size=4)}, optional={"usage": JSON, "model": JSON}
)
RULES = st.builds(
    StopRules,
    prefix=st.text(max_size=5),
    stop=st.lists(st.text(min_size=1, max_size=4), max_size=3),
    step_rule=st.none()
    | st.builds(
        StepRule,
        st.sampled_from(["\n", "\n\n", "step", ("\n", "st", "end")]),
        keep_blocks=st.booleans(),
    ),
    echo=st.text(max_size=3),
    lost=st.sampled_from(["", "\n", " ", "\r\n\n"]),
    is_asked=st.booleans(),
    lists_end=st.booleans(),
    skips_thought=st.booleans(),
    is_answering=st.booleans(),
    max_tokens=st.none() | st.integers(1, 9),
)


def read(response: Any, rules: StopRules) -> tuple[list[Completion], ReportedUsage] | None:
    """Return what was read; None where the response was refused."""
    try:
        return read_completions(response, rules)
    except ResponseError:
        return None


@given(RESPONSES, RULES)
def test_any_json_is_read_or_refused(response: Any, rules: StopRules):
    if (found := read(response, rules)) is None:
        return
    completions, usage = found
    assert completions
    for one in completions:
        texts = (one.text, one.finish_reason, one.model, one.thought)
        assert all(text.encode() is not None for text in texts)
        assert len(one.model) <= 200
        assert len(one.finish_reason) <= 20
        assert 0 <= one.tokens < 2**63
        assert 0 <= one.thought_tokens < 2**63
        assert all(isfinite(logprob) for _, logprob in one.token_logprobs or ())
        json.dumps([*texts, one.tokens, one.token_logprobs], allow_nan=False)
    assert 0 <= usage.prompt_tokens < 2**63
    assert 0 <= usage.completion_tokens < 2**63


@given(RESPONSES, RULES)
def test_what_was_read_can_be_cut_into_steps(response: Any, rules: StopRules):
    completions, _ = read(response, rules) or ([], None)
    for one in completions:
        steps = (rules.step_rule or StepRule("\n")).split(one.text)
        assert "".join(steps) == (one.text if one.text.strip() else "")
        assert sum(share_tokens(one.tokens, steps)) == (one.tokens if steps else 0)
        assert len(share_logprobs(one.token_logprobs, steps)) == len(steps)
