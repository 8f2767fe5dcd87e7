"""Find the answer in a solution, and tell whether it means the same as a label."""

from experiment_configs.answers.equivalence import is_same_answer
from experiment_configs.answers.errors import NotComparedError
from experiment_configs.answers.extraction import extract_last_answer
from experiment_configs.answers.plain import MAX_ANSWER_LENGTH

__all__ = ["MAX_ANSWER_LENGTH", "NotComparedError", "extract_last_answer", "is_same_answer"]
