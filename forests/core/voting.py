"""Group the answers of a tree that mean the same, so that their votes are counted together.

A leaf's group is found once, when the leaf is graded. It is stored as `voted_answer`: the first
answer of the group. Metrics only read it, so votes and grades follow the same relation.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice

from forests.core.tree import Grade, NodePath, ReasoningTree, TreeNode
from forests.core.values import leaf_result

MAX_COMPARED = 32
"""Most groups that one answer is compared with, earliest first. Bounds the time for any tree."""
MAX_FAILURES = 2
"""Failed comparisons after which nothing more is compared with a group's first answer.

A single failure may be the fault of the other answer.
"""

IsSame = Callable[[str, str], bool | None]
"""Whether an answer means the same as another one; None if nobody can tell."""


class AnswerGroups:
    """Groups the answers of one tree by meaning, as its leaves are graded.

    All correct answers are one group: they mean the same as the label. Any other answer joins the
    earliest group of incorrect answers whose first answer means the same. An answer whose
    comparison fails gets a group of its own and is not compared again, so an answer that makes
    every comparison time out costs at most two of them. Answers that could not be compared with the
    label are not compared here either.

    Groups are ordered by the paths of their leaves, not by the order of grading, so a tree that is
    stored and read again keeps its groups.
    """

    def __init__(self, is_same: IsSame, graded: Iterable[TreeNode] = ()) -> None:
        """Start with leaves that are graded. Their groups are read, not found again."""
        self._is_same = is_same
        self._correct: tuple[NodePath, str] | None = None
        self._incorrect: dict[str, NodePath] = {}
        """The earliest leaf of each group, by the group's first answer."""
        self._group_of: dict[str, str] = {}
        """The first answer of the group that each incorrect answer is in."""
        self._failures: Counter[str] = Counter()
        for leaf in graded:
            voted = counted_answer(leaf)
            if leaf.grade is not None and voted is not None:
                self._keep(leaf, voted)

    def add(self, leaf: TreeNode) -> None:
        """Set the voted answer of a leaf that has just been graded."""
        leaf.voted_answer = None if leaf.answer is None else self._find(leaf.answer, leaf.grade)
        if leaf.voted_answer is not None:
            self._keep(leaf, leaf.voted_answer)

    def _keep(self, leaf: TreeNode, voted: str) -> None:
        if leaf.grade is Grade.CORRECT:
            self._correct = min(self._correct or (leaf.path, voted), (leaf.path, voted))
        elif leaf.grade is Grade.INCORRECT and leaf.answer is not None:
            self._group_of.setdefault(leaf.answer, voted)
            self._incorrect[voted] = min(self._incorrect.get(voted, leaf.path), leaf.path)

    def _find(self, answer: str, grade: Grade | None) -> str:
        if grade is Grade.CORRECT:
            return answer if self._correct is None else self._correct[1]
        if grade is not Grade.INCORRECT:
            return answer
        if answer in self._group_of:
            return self._group_of[answer]
        groups = sorted(self._incorrect, key=self._incorrect.__getitem__)
        usable = (first for first in groups if self._failures[first] < MAX_FAILURES)
        for first in islice(usable, MAX_COMPARED):
            is_same = self._is_same(answer, first)
            if is_same is None:
                self._failures[first] += 1
                self._failures[answer] = MAX_FAILURES
                break
            if is_same:
                return first
        return answer


def counted_answer(leaf: TreeNode) -> str | None:
    """Return the answer under which a leaf's votes are counted; None if the leaf has no answer.

    Leaves that an older version graded have no voted answer: they vote for their own text.
    """
    return leaf.answer if leaf.voted_answer is None else leaf.voted_answer


def num_ungrouped(tree: ReasoningTree) -> int:
    """Return the number of samples whose votes use the text of their answers instead of a group.

    An older version graded them; regrading finds their groups.
    """
    return sum(
        leaf.count
        for leaf in tree.leaves()
        if leaf.grade is not None and leaf.answer is not None and leaf.voted_answer is None
    )


def majority_value(tree: ReasoningTree) -> float | None:
    """Return the chance that the majority vote of all samples of a tree is correct.

    Ties are broken at random, so it is 0 or 1 unless answers tie. Samples that were cut or have no
    answer do not vote; if none votes, one correct sample is enough. None without a result.
    """
    sizes: Counter[str] = Counter()
    correct: Counter[str] = Counter()
    results = [(leaf, leaf_result(leaf)) for leaf in tree.leaves()]
    known = [(leaf, result) for leaf, result in results if result is not None]
    for leaf, result in known:
        answer = None if leaf.truncated else counted_answer(leaf)
        if answer is not None:
            sizes[answer] += leaf.count
            correct[answer] += leaf.count if result else 0
    if not sizes:
        return float(any(result for _, result in known)) if known else None
    most = max(sizes.values())
    tied = [answer for answer, size in sizes.items() if size == most]
    return sum(correct[answer] / most for answer in tied) / len(tied)
