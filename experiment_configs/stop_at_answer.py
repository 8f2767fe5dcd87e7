"""Find the step that ends a solution because it gives the answer."""

import itertools
from collections.abc import Sequence

from experiment_configs.answers import NotComparedError, steps_to_final_answer
from experiment_configs.calling import call_method
from experiment_configs.interfaces import ConfigError, Grader, RolloutConfig

MAX_LOOKS = 64
"""Most stretches of a solution after which a config's own rule is called: it may be slow."""


def steps_to_answer(config: RolloutConfig, before: str, steps: Sequence[str]) -> int | None:
    """Return the number of steps after `before`, up to and including the step with the answer.

    It is the first step at which `config.has_final_answer` holds; None if there is none. The
    default rule takes time linear in the length of the text. A config's own rule is called after
    each step. In a solution of more than `MAX_LOOKS` steps it is called after each of that many
    stretches, then after each step of the stretch in which the answer appeared.

    Raises:
        ConfigError: a method of the config failed.
    """
    kind = type(config)
    if kind.has_final_answer is RolloutConfig.has_final_answer:
        if not config.stops_at_answer:
            return None
        if kind.extract_answer is Grader.extract_answer:
            return steps_to_final_answer(before, steps)
    return _ask_after_steps(config, before, steps)


def _ask_after_steps(config: RolloutConfig, before: str, steps: Sequence[str]) -> int | None:
    text = before + "".join(steps)
    ends = list(itertools.accumulate(map(len, steps), initial=len(before)))

    def has_answer(number: int) -> bool:
        return _has_final_answer(config, text[: ends[number]])

    stretch = -(-len(steps) // MAX_LOOKS)
    start = 0
    while start < len(steps):
        end = min(start + stretch, len(steps))
        if has_answer(end):
            return next(filter(has_answer, range(start + 1, end)), end)
        start = end
    return None


def _has_final_answer(config: RolloutConfig, solution: str) -> bool:
    try:
        return bool(call_method(config.has_final_answer, solution))
    except NotComparedError as error:
        raise ConfigError(
            "has_final_answer raised NotComparedError, which is for is_correct: return None from "
            "extract_answer if a solution states no answer"
        ) from error
