"""Grade finished leaves with the config's own methods."""

from collections.abc import Iterable

from experiment_configs.calling import call_method
from experiment_configs.interfaces import ConfigError, Grader
from forests.core.tree import Grade, ReasoningTree, TreeNode


def grade_leaf(grader: Grader, label: str, solution: str) -> tuple[str | None, Grade]:
    """Return the answer of a solution and its grade.

    Raises:
        ConfigError: `extract_answer` or `is_correct` failed.
    """
    answer = call_method(grader.extract_answer, solution)
    if answer is None:
        return None, Grade.UNANSWERED
    _require(answer, str, "extract_answer must return a str or None")
    return answer, Grade.CORRECT if is_correct(grader, answer, label) else Grade.INCORRECT


def is_correct(grader: Grader, answer: str, label: str) -> bool:
    """Return what the grader says of an answer.

    Raises:
        ConfigError: `is_correct` failed.
    """
    verdict = call_method(grader.is_correct, answer, label)
    _require(verdict, bool, "is_correct must return a bool")
    return verdict


def grade_nodes(grader: Grader, label: str, tree: ReasoningTree, nodes: Iterable[TreeNode]) -> None:
    """Set answer and grade of the nodes that are finished leaves.

    Raises:
        ConfigError: a method of the config failed.
    """
    for node in nodes:
        if node.is_finished and node.grade is None:
            node.answer, node.grade = grade_leaf(grader, label, tree.steps_text(node.path))


def _require(value: object, kind: type, rule: str) -> None:
    if not isinstance(value, kind):
        raise ConfigError(f"{rule}, not {type(value).__name__}")
