"""Grade finished leaves with the config's own methods."""

from collections.abc import Iterable

from experiment_configs.interfaces import RolloutConfig
from forests.core.tree import Grade, ReasoningTree, TreeNode


class GradingError(Exception):
    """A method of the config failed; the message is one line."""


def grade_leaf(config: RolloutConfig, label: str, solution: str) -> tuple[str | None, Grade]:
    """Return the answer of a solution and its grade.

    Raises:
        GradingError: `extract_answer` or `is_correct` of the config failed.
    """
    try:
        answer = config.extract_answer(solution)
        if answer is None:
            return None, Grade.UNANSWERED
        _require(answer, str, "extract_answer must return a str or None")
        is_correct = config.is_correct(answer, label)
        _require(is_correct, bool, "is_correct must return a bool")
    except GradingError:
        raise
    except Exception as error:
        raise GradingError(
            f"grading failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from error
    return answer, Grade.CORRECT if is_correct else Grade.INCORRECT


def grade_nodes(
    config: RolloutConfig, label: str, tree: ReasoningTree, nodes: Iterable[TreeNode]
) -> None:
    """Set answer and grade of the nodes that are finished leaves.

    Raises:
        GradingError: a method of the config failed.
    """
    for node in nodes:
        if node.is_finished and node.grade is None:
            node.answer, node.grade = grade_leaf(config, label, tree.steps_text(node.path))


def _require(value: object, kind: type, rule: str) -> None:
    if not isinstance(value, kind):
        raise GradingError(f"{rule}, not {type(value).__name__}")
