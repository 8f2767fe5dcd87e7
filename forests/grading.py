"""Grade finished leaves with the config's methods, and group their answers by meaning."""

from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from common.storable import num_utf8_bytes, storing_problem
from experiment_configs.answers import NotComparedError
from experiment_configs.calling import call_method
from experiment_configs.interfaces import ConfigError, Grader
from forests.core.tree import Grade, ReasoningTree, TreeNode
from forests.core.voting import AnswerGroups, IsSame

MAX_BYTES_OF_ANSWER = 1_000_000
"""Most bytes of an answer. One document holds a leaf's answer, its voted answer and its step."""


class ItemGrader:
    """Grades answers to one item. Equal texts are compared with the label only once."""

    def __init__(self, grader: Grader, label: str) -> None:
        self._grader = grader
        self._label = label
        self._grades: dict[str, Grade] = {}

    def grade_solution(self, solution: str) -> tuple[str | None, Grade]:
        """Return the answer of a solution and its grade.

        Raises:
            ConfigError: `extract_answer` or `is_correct` failed.
        """
        answer = find_answer(self._grader, solution)
        return answer, Grade.UNANSWERED if answer is None else self.grade_answer(answer)

    def grade_answer(self, answer: str) -> Grade:
        """Return the grade of an answer; `UNCOMPARED` if the grader cannot tell.

        An imported tree can lack the label. Then nobody can tell.

        Raises:
            ConfigError: `is_correct` failed.
        """
        if not self._label:
            return Grade.UNCOMPARED
        if answer not in self._grades:
            try:
                verdict = is_correct(self._grader, answer, self._label)
                self._grades[answer] = Grade.CORRECT if verdict else Grade.INCORRECT
            except NotComparedError:
                self._grades[answer] = Grade.UNCOMPARED
        return self._grades[answer]


def grade_leaf(grader: Grader, label: str, solution: str) -> tuple[str | None, Grade]:
    """Return the answer of a solution and its grade.

    Raises:
        ConfigError: `extract_answer` or `is_correct` failed.
    """
    return ItemGrader(grader, label).grade_solution(solution)


def find_answer(grader: Grader, solution: str) -> str | None:
    """Return the answer that a solution states; None if it states none.

    Raises:
        ConfigError: `extract_answer` failed.
    """
    try:
        answer = call_method(grader.extract_answer, solution)
    except NotComparedError as error:
        raise ConfigError(
            "extract_answer raised NotComparedError, which is for is_correct: return None if a "
            "solution states no answer"
        ) from error
    if answer is None:
        return None
    _require(answer, str, "extract_answer must return a str or None")
    if (length := num_utf8_bytes(answer)) > MAX_BYTES_OF_ANSWER:
        raise ConfigError(
            f"extract_answer returned a text of {length:,} bytes: return only the answer, which "
            f"may have {MAX_BYTES_OF_ANSWER:,}"
        )
    if problem := storing_problem(answer):
        raise ConfigError(f"what extract_answer returned {problem}")
    return answer


def is_correct(grader: Grader, answer: str, label: str) -> bool:
    """Return whether the grader says that an answer is correct.

    Raises:
        ConfigError: `is_correct` failed.
        NotComparedError: the grader cannot tell.
    """
    verdict = call_method(grader.is_correct, answer, label)
    _require(verdict, bool, "is_correct must return a bool")
    return verdict


def same_by(grader: Grader) -> IsSame:
    """Return a function that compares two answers with the grader's `is_correct`."""
    return partial(_is_same, grader)


class TreeGrader:
    """Grades the leaves of one tree while it grows, and finds their voted answers.

    `graded`: leaves that keep their grades and voted answers.
    """

    def __init__(
        self, grader: Grader, label: str, tree: ReasoningTree, graded: Iterable[TreeNode] = ()
    ) -> None:
        self._tree = tree
        self._item = ItemGrader(grader, label)
        self._groups = AnswerGroups(same_by(grader), graded)

    def grade(self, leaf: TreeNode) -> None:
        """Set answer, grade and voted answer of a finished leaf.

        Raises:
            ConfigError: a method of the config failed.
        """
        solution = self._tree.solution_text(leaf.path)
        leaf.answer, leaf.grade = self._item.grade_solution(solution)
        self._groups.add(leaf)

    def grade_new(self, nodes: Iterable[TreeNode]) -> None:
        """Grade all finished leaves without a grade among these nodes, in the order of their paths.

        Raises:
            ConfigError: a method of the config failed.
        """
        for node in sorted(nodes, key=lambda node: node.path):
            if node.is_finished and node.grade is None:
                self.grade(node)


def _is_same(grader: Grader, answer: str, other: str) -> bool | None:
    """Return whether two answers mean the same; None if the grader cannot tell.

    A text that cannot be read is a wrong answer, but no label. Neither answer is the label here, so
    the grader is asked both ways.
    """
    for one, label in ((answer, other), (other, answer)):
        with suppress(ConfigError, NotComparedError):
            return is_correct(grader, one, label)
    return None


def _require(value: object, kind: type, rule: str) -> None:
    if not isinstance(value, kind):
        raise ConfigError(f"{rule}, not {type(value).__name__}")
