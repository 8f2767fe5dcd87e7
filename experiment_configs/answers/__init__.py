"""Find the answer in a solution, and tell whether it means the same as a label."""

from experiment_configs.answers.comparison.equivalence import MAX_ANSWER_LENGTH, is_same_answer
from experiment_configs.answers.errors import NotComparedError
from experiment_configs.answers.extraction.last_answer import (
    extract_last_answer,
    has_final_answer,
    steps_to_final_answer,
)
from experiment_configs.answers.extraction.thoughts import (
    closes_thought,
    closes_with_thought,
    closing_mark,
    is_thinking,
    split_thoughts,
    without_thoughts,
)

__all__ = [
    "MAX_ANSWER_LENGTH",
    "NotComparedError",
    "closes_thought",
    "closes_with_thought",
    "closing_mark",
    "extract_last_answer",
    "has_final_answer",
    "is_same_answer",
    "is_thinking",
    "split_thoughts",
    "steps_to_final_answer",
    "without_thoughts",
]
