import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.steps.rules import StepRule, share_logprobs, share_tokens

TEXTS = st.text(alphabet="ab \r\nß→", max_size=40) | st.lists(
    st.sampled_from(["a", " ", "\n", "\r\n", "\r"]), max_size=20
).map("".join)
LINE_BREAKS = st.sampled_from(["\n", "\n\n", "\n\n\n"])
DELIMITERS = LINE_BREAKS | st.sampled_from(["ab", "→", "\r\n", "a\n"])


@given(TEXTS, DELIMITERS)
def test_steps_put_together_are_exactly_the_text(text: str, delimiter: str):
    steps = StepRule(delimiter).split(text)

    assert "".join(steps) == text or (not text.strip() and steps == [])


@given(TEXTS, DELIMITERS)
def test_no_step_is_blank(text: str, delimiter: str):
    assert all(step.strip() for step in StepRule(delimiter).split(text))


@given(TEXTS, DELIMITERS)
def test_every_step_but_the_last_ends_with_the_delimiter(text: str, delimiter: str):
    for step in StepRule(delimiter).split(text)[:-1]:
        assert StepRule(delimiter).ending_of(step)
        assert step.endswith(StepRule(delimiter).ending_of(step))
        assert StepRule(delimiter).ending_of(step).replace("\r\n", "\n") == delimiter.replace(
            "\r\n", "\n"
        )


@given(TEXTS, LINE_BREAKS)
def test_a_text_has_the_same_steps_with_either_kind_of_line_break(text: str, delimiter: str):
    text = text.replace("\r", "")

    assert StepRule(delimiter).split(text.replace("\n", "\r\n")) == [
        step.replace("\n", "\r\n") for step in StepRule(delimiter).split(text)
    ]


@pytest.mark.parametrize(
    ("text", "delimiter", "ending"),
    [
        ("a\n\n", "\n\n", "\n\n"),
        ("a\r\n\r\n", "\n\n", "\r\n\r\n"),
        ("a\r\n\n", "\n\n", "\r\n\n"),
        ("a\n\n\n", "\n\n", "\n\n"),
        ("a\r\n", "\n\n", ""),
        ("a\n\n ", "\n\n", ""),
        ("a.", ".", "."),
        ("ab", ".", ""),
    ],
)
def test_a_step_tells_how_its_delimiter_is_spelled(text: str, delimiter: str, ending: str):
    assert StepRule(delimiter).ending_of(text) == ending


def test_blank_lines_of_windows_part_steps():
    assert StepRule("\n\n").split("a\r\nb\r\n\r\nc\r\n\r\n") == ["a\r\nb\r\n\r\n", "c\r\n\r\n"]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a\nb", ["a\n", "b"]),
        ("a\nb\n", ["a\n", "b\n"]),
        ("\n\na\n\nb\n\n", ["\n\na\n", "\nb\n\n"]),
        (" \n ", []),
        ("", []),
    ],
)
def test_blank_lines_go_with_the_next_step_or_the_last(text: str, steps: list[str]):
    assert StepRule("\n").split(text) == steps


@given(st.integers(0, 1000), st.lists(st.text(min_size=1), min_size=1, max_size=6))
def test_tokens_of_the_steps_add_up(tokens: int, steps: list[str]):
    shares = share_tokens(tokens, steps)

    assert sum(shares) == tokens
    assert min(shares) >= 0


def test_logprobs_go_to_the_step_in_which_a_token_begins():
    tokens = [("He", -1.0), (" has", -2.0), ("\n4", -4.0), (".", -8.0), ("", -16.0)]

    assert share_logprobs(tokens, ["He has\n", "4."]) == [-7.0, -24.0]


def test_tokens_without_steps_have_no_place():
    assert share_logprobs([("", -1.0)], []) == []


def test_steps_have_no_logprobs_where_the_server_gave_none():
    assert share_logprobs(None, ["a", "b"]) == [None, None]
