"""When a config is asked whether a solution has its answer, and how often."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment_configs.answers import NotComparedError
from experiment_configs.interfaces import ConfigError, Prompt, RolloutConfig, RolloutWorkerConfig
from experiment_configs.stop_at_answer import MAX_LOOKS, steps_to_answer


class Plain(RolloutConfig):
    def get_dataset_iterator(self, dataset_split: str) -> Iterator[str]:
        yield from ("a",)

    def get_root_prompt(self, item: str) -> Prompt:
        return item

    def get_label(self, item: str) -> str:
        return "5"


class Own(Plain):
    """Finds the answer at the word "five", and records each solution it was asked about."""

    rollout_worker_config = RolloutWorkerConfig(stop_at_answer=True)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def extract_answer(self, completion: str) -> str | None:
        self.asked.append(completion)
        return "5" if "five" in completion else None


def test_a_solution_ends_with_the_step_that_marks_its_answer():
    assert steps_to_answer(Plain(), "so ", ["a\n", "#### 5\n", "#### 6\n"]) == 2
    assert steps_to_answer(Plain(), "so ", ["a\n", "b\n"]) is None
    assert steps_to_answer(Plain(), "<think>", ["#### 5\n", "</think>", "#### 6\n"]) == 3


@given(st.integers(1, 300), st.integers(1, 300))
def test_a_rule_of_ones_own_finds_the_same_step_however_long_the_solution(length, at):
    steps = [f"{n} five\n" if n == at else f"{n}\n" for n in range(1, length + 1)]

    assert steps_to_answer(Own(), "so ", steps) == (at if at <= length else None)


def test_a_rule_of_ones_own_is_asked_after_each_step_of_a_solution_of_usual_length():
    config = Own()

    assert steps_to_answer(config, "so ", ["a\n", "b\n", "five\n", "c\n"]) == 3

    assert config.asked == ["so a\n", "so a\nb\n", "so a\nb\nfive\n"]


def test_a_rule_of_ones_own_is_not_asked_after_each_of_thousands_of_steps():
    config = Own()

    assert steps_to_answer(config, "", ["a\n"] * 6399 + ["five\n"]) == 6400

    assert len(config.asked) <= MAX_LOOKS + 6400 / MAX_LOOKS


def test_a_rule_of_ones_own_is_not_asked_where_nothing_asks_for_it():
    config = Own()
    config.rollout_worker_config = RolloutWorkerConfig(stop_at_answer=False)

    assert steps_to_answer(config, "", ["five\n"]) is None
    assert config.asked == []


def test_a_config_may_say_itself_when_a_solution_ends():
    class Ends(Plain):
        def has_final_answer(self, solution: str) -> bool:
            return solution.endswith("QED\n")

    assert steps_to_answer(Ends(), "", ["#### 5\n", "QED\n", "more\n"]) == 2


@pytest.mark.parametrize("error", [ValueError("oops"), NotComparedError("oops")])
def test_an_error_of_the_rule_is_told_as_one_of_the_config(error: Exception):
    class Broken(Own):
        def extract_answer(self, completion: str) -> str | None:
            raise error

    with pytest.raises(ConfigError, match="has_final_answer"):
        steps_to_answer(Broken(), "", ["a\n"])
