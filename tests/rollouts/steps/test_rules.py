"""Rules beyond one text: several texts, regular expressions, own splitters, blocks."""

import json
import re
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment_configs.interfaces import ConfigError, RolloutConfig, RolloutWorkerConfig
from experiment_configs.step_delimiters import NUMBERED_STEPS
from rollouts.steps.rules import StepRule
from rollouts.steps.whole_blocks import find_blocks

PIECES = [
    "a", " ", "\n", "\r\n", "\n\n", "Step 1: x", "2. y", "```", "$$", r"\[", r"\]", "|", "|-|",
    r"\begin{align}", r"\end{align}", "~~~~", "→", "ab", "\\", "\x00", "\u2028",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=30)
DELIMITERS: st.SearchStrategy[Any] = (
    st.sampled_from(["\n", "\n\n", "ab", "→"])
    | st.lists(st.sampled_from(["\n", "\n\n", "ab", "a", " "]), min_size=1).map(tuple)
    | st.sampled_from(
        [NUMBERED_STEPS, *map(re.compile, [r"\n+", "(?=a)", "(?m)$", "(?i)B", r"(?<=a)\s"])]
    )
)


def cut_in_thirds(text: str) -> list[str]:
    third = max(1, len(text) // 3)
    return ["", *(text[at : at + third] for at in range(0, len(text), third))]


RULES = st.builds(StepRule, DELIMITERS, keep_blocks=st.booleans()) | st.just(
    StepRule("\n", splitter=cut_in_thirds)
)


class Owner(RolloutConfig):
    """A config that cuts with the function that it is given."""

    def __init__(self, cut: Any) -> None:
        self.cut = cut

    def get_dataset_iterator(self, dataset_split: str) -> Iterator[Any]:
        yield from ()

    def get_root_prompt(self, item: Any) -> str:
        return str(item)

    def get_label(self, item: Any) -> str:
        return str(item)

    def split_steps(self, text: str) -> list[str]:
        steps: list[str] = self.cut(text)
        return steps


def own(cut: Any) -> StepRule:
    return StepRule.of(RolloutWorkerConfig(), Owner(cut))


@given(TEXTS, RULES)
def test_steps_put_together_are_exactly_the_text_and_none_is_blank(text: str, rule: StepRule):
    steps = rule.split(text)

    assert "".join(steps) == (text if text.strip() else "")
    assert all(step.strip() for step in steps)


@given(TEXTS, RULES)
def test_the_first_step_is_a_beginning_of_the_text(text: str, rule: StepRule):
    step, _ = rule.first_step(text)

    assert text.startswith(step)
    assert bool(step.strip()) == bool(text.strip())


@given(TEXTS, st.builds(StepRule, DELIMITERS, keep_blocks=st.booleans()))
def test_the_client_cuts_step_by_step_as_it_cuts_the_whole(text: str, rule: StepRule):
    if isinstance(rule.delimiter, re.Pattern) or rule.keep_blocks:
        return  # the text before a step may decide where the step ends
    steps, rest = [], text
    while rest.strip():
        step, _ = rule.first_step(rest)
        steps.append(step)
        rest = rest.removeprefix(step)
    if steps:
        steps[-1] += rest

    assert steps == rule.split(text)


@given(TEXTS)
def test_no_step_ends_inside_a_block(text: str):
    blocks = find_blocks(text)
    ends, position = [], 0
    for step in StepRule("\n", keep_blocks=True).split(text)[:-1]:
        position += len(step)
        ends.append(position)

    assert not any(start < end < stop for end in ends for start, stop in blocks)
    assert all(a[1] <= b[0] for a, b in pairwise(blocks))


@pytest.mark.parametrize(
    "block",
    [
        "```python\na = 1\n\nb = 2\n```",
        "   ~~~\na\n\n```\n\n~~~",
        "````\n```\n\n```\n````",
        "$$\nx\n\n= 1\n$$",
        "\\[\nx\n\n\\\\[2pt]\ny\n\\]",
        "\\begin{align*}\na\n\n\\begin{align*}b\\end{align*}\n\nc\\end{align*}",
        "| a | b |\n|---|:-:|\n| 1 | 2 |\n| 3 | 4 |",
        "| a |\r\n|---|\r\n| 1 |",
        "a | b\n--|--\n1 | 2",
    ],
)
@pytest.mark.parametrize("delimiter", ["\n", "\n\n", ("\n", "!"), re.compile(r"\n+")])
def test_a_block_stays_whole_where_that_is_asked(block: str, delimiter: Any):
    text = f"First:\n\n{block}\n\nThen go on.\n\nEnd"
    kept = StepRule(delimiter, keep_blocks=True).split(text)

    assert len(kept) == 4
    assert block in kept[1]
    assert kept[2].strip() == "Then go on."


@pytest.mark.parametrize(
    "text",
    [
        "``a`` is\n\nb",
        "it costs \\$$5\n\nb",
        "a ```b```\n\nc",
        "```a``` b\n\nc",
        "a\\\\[2pt]\n\nb",
        "|x| = 1\n\n|y| = 2",
        "a | b\n---\n\nc",
    ],
)
def test_what_only_looks_like_a_block_is_cut(text: str):
    assert len(StepRule("\n\n", keep_blocks=True).split(text)) == 2


def test_a_block_that_is_not_closed_reaches_to_the_end():
    assert StepRule("\n\n", keep_blocks=True).split("a\n\n```\nb\n\nc\n\n") == [
        "a\n\n",
        "```\nb\n\nc\n\n",
    ]
    assert StepRule("\n\n", keep_blocks=True).first_step("```\nb\n\n") == ("```\nb\n\n", False)


@pytest.mark.parametrize("text", ["`" * 50_000, "|" * 50_000, "|-" * 25_000, "\n|-" * 20_000,
    "$$ " * 20_000, r"\begin{a}" * 9000, " " * 50_000 + "|", "\n```" * 10_000, "| \n" * 20_000,
    "a|\n\n$$x$$\n" * 5000, r"\begin{a}\end{a}" * 4000])  # fmt: skip
def test_blocks_are_found_in_time_that_grows_with_the_text(text: str):
    began = time.process_time()
    StepRule("\n", keep_blocks=True).split(text)

    assert time.process_time() - began < 2


def test_any_of_several_texts_ends_a_step():
    rule = StepRule(("\n\n", "###", "\n\n"))

    assert rule.split("a\nb\n\nc###d") == ["a\nb\n\n", "c###", "d"]
    assert rule.split("a\r\n\r\nb") == ["a\r\n\r\n", "b"]
    assert rule.stops() == ["\n\n", "###"]


def test_of_two_texts_the_one_that_is_there_first_ends_the_step():
    rule = StepRule(("\n\n", "\n", "a. ", ". "))

    assert rule.stops() == ["\n", ". "]
    assert rule.split("a. b\n\nc") == ["a. ", "b\n", "\nc"]


@pytest.mark.parametrize(
    "rule",
    [
        StepRule(tuple("abcde")),
        StepRule(NUMBERED_STEPS),
        StepRule("\n", keep_blocks=True),
        StepRule("\n", splitter=cut_in_thirds),
    ],
)
def test_a_server_is_not_asked_to_stop_where_only_the_client_can_tell(rule: StepRule):
    assert rule.stops() == []


@pytest.mark.parametrize("begin", ["Step 2:", "## Step 2", "**Step 2:**", "step 2 -", "2. ", "2) "])
def test_numbered_steps_have_a_rule(begin: str):
    text = f"Let us see.\nAll of it.\n\n{begin} Add 3.5\nto 4.\r\n{begin} Done"

    assert StepRule(NUMBERED_STEPS).split(text) == [
        "Let us see.\nAll of it.\n\n",
        f"{begin} Add 3.5\nto 4.\r\n",
        f"{begin} Done",
    ]


@pytest.mark.parametrize(
    "delimiter",
    [
        "\n\n",
        ("a", "b"),
        ["a", "b"],
        NUMBERED_STEPS,
        re.compile("(?xi) A | b", re.DOTALL),
        {"regex": r"\n+"},
        {"regex": "x", "flags": "im"},
    ],
)
def test_each_spelling_is_stored_as_json_and_read_back(delimiter: Any):
    config = RolloutWorkerConfig(step_delimiter=delimiter)
    stored = json.loads(json.dumps(config.as_dict()))
    again = RolloutWorkerConfig.from_dict(stored)

    assert config.problems() == []
    assert again.as_dict() == config.as_dict()
    assert StepRule.of(again) == StepRule.of(config)


def test_a_forest_stored_before_keeps_its_steps():
    stored = RolloutWorkerConfig().as_dict()
    del stored["keep_blocks"]

    assert RolloutWorkerConfig.from_dict(stored | {"step_delimiter": "\n\n"}) == (
        RolloutWorkerConfig(step_delimiter="\n\n")
    )


@pytest.mark.parametrize(
    ("delimiter", "complaint"),
    [
        ((), "a text, a tuple of texts, or a regular"),
        (("a", ""), "a text, a tuple of texts, or a regular"),
        (re.compile(b"a"), "a text, a tuple of texts, or a regular"),
        (re.compile("", re.IGNORECASE), "a text, a tuple of texts, or a regular"),
        (re.compile("x*"), "matches between any two letters"),
        ({"regex": "("}, "cannot be read: missing"),
        ({"regex": "a", "flags": "q"}, "flags may be"),
        ({"regex": "a", "more": 1}, "a text, a tuple of texts, or a regular"),
        (7, "a text, a tuple of texts, or a regular"),
    ],
)
def test_what_cannot_end_steps_is_named(delimiter: Any, complaint: str):
    (problem,) = RolloutWorkerConfig(step_delimiter=delimiter).problems()

    assert complaint in problem
    with pytest.raises(ConfigError, match=f"step_delimiter is .*{complaint}"):
        StepRule.of(RolloutWorkerConfig(step_delimiter=delimiter))


def test_a_regular_expression_that_needs_too_long_is_given_up_and_the_next_one_works():
    rule = StepRule(re.compile(r"(a+)+\n"))
    assert rule.split("aa\nb") == ["aa\n", "b"]
    began = time.monotonic()

    with pytest.raises(ConfigError, match=r"'\(a\+\)\+.*needs more than 0.5 s for the 41 char"):
        rule.split("a" * 40 + "b")

    assert time.monotonic() - began < 20
    assert rule.split("aa\nb") == ["aa\n", "b"]


@pytest.mark.parametrize(
    "regex", [r"(a+)+\n", r"(x+x+)+y", r"([A-Z]?[a-z]*\s*)*\.\n", r"(\s*\n)*#"]
)
def test_a_trial_finds_regular_expressions_that_need_too_long(regex: str):
    with pytest.raises(ConfigError, match="avoid repeats inside repeats"):
        StepRule(re.compile(regex)).try_out()


@pytest.mark.parametrize(
    "rule", [StepRule(NUMBERED_STEPS), StepRule("\n"), StepRule(re.compile(r"(?<=[.!?])\s+"))]
)
def test_a_trial_lets_good_rules_pass(rule: StepRule):
    rule.try_out()


def test_a_config_may_cut_by_itself():
    assert own(lambda text: re.findall(r"[^.]*\.|[^.]+", text)).split("a. b.c") == [
        "a.",
        " b.",
        "c",
    ]
    assert own(lambda text: ["", *text]).split(" ab\n") == [" a", "b\n"]
    assert own(lambda text: 1 / 0).split(" \n") == []


@pytest.mark.parametrize(
    ("cut", "complaint"),
    [
        (
            lambda text: text.split("\n"),
            r"concatenation is the text: at character 1 the text has '\\nb'",
        ),
        (lambda text: [text, "more"], "concatenation is the text: at character 3"),
        (lambda text: text, "must return a list of str"),
        (lambda text: [b"a"], "must return a list of str"),
        (lambda text: None, "must return a list of str"),
        (lambda text: 1 / 0, "split_steps failed: ZeroDivisionError"),
    ],
    ids=["lossy", "more", "text", "bytes", "nothing", "failing"],
)
def test_a_splitter_that_loses_text_is_one_line(cut: Any, complaint: str):
    with pytest.raises(ConfigError, match=complaint):
        own(cut).split("a\nb")
    with pytest.raises(ConfigError, match="split_steps"):
        own(cut).try_out()


def test_split_steps_must_be_a_method():
    owner = Owner(None)
    owner.split_steps = "\n"  # type: ignore[assignment, method-assign]
    with pytest.raises(ConfigError, match="split_steps must be a method"):
        StepRule.of(RolloutWorkerConfig(), owner)
