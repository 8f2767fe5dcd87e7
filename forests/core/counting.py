"""Counters of a tree, from its nodes."""

from collections import Counter

from forests.core.tree import Grade, ReasoningTree, TreeNode


def count_tree(tree: ReasoningTree) -> dict[str, int]:
    """Return the counters of a tree: nodes below the root, and finished samples by grade.

    Leaves are counted in samples: one step that ended three samples is three leaves. Open leaves do
    not count, because growth has not expanded them. A solution that was cut is never correct.
    Samples whose answer nobody could compare have no result: they are in `num_uncompared` and not
    in `num_leaves`, the denominator of all shares.
    """
    finished = [node for node in tree.leaves() if node.is_finished]
    grades: Counter[Grade | None] = Counter()
    for node in finished:
        is_cut = node.truncated and node.grade in (Grade.CORRECT, Grade.UNCOMPARED)
        grades[Grade.INCORRECT if is_cut else node.grade] += node.count
    grades.pop(Grade.UNCOMPARED, 0)
    return {
        "num_nodes": len(tree) - 1,
        "num_leaves": grades.total(),
        "num_correct": grades[Grade.CORRECT],
        "num_incorrect": grades[Grade.INCORRECT],
        "num_unanswered": grades[Grade.UNANSWERED],
        "num_uncompared": num_uncompared(tree),
        "num_truncated": sum(node.count for node in finished if node.truncated),
    }


def num_uncompared(tree: ReasoningTree) -> int:
    """Return the number of finished samples with answers that nobody could compare."""
    return sum(
        leaf.count
        for leaf in tree.leaves()
        if leaf.grade is Grade.UNCOMPARED and leaf.is_finished and leaf.is_uncompared
    )


def mend_counts(tree: ReasoningTree) -> list[TreeNode]:
    """Give each step as many samples as its children have; return the steps that changed.

    For trees whose samples all start at the root (`sampled`): each sample that passes a step ends
    below it. If the counts of such a tree do not add up, only its leaves can be trusted.
    """
    mended = []
    for node in tree.bottom_up():
        children = tree.children(node.path)
        total = sum(child.count for child in children)
        if node.path and children and node.count != total:
            node.count, node.drawn = total, {0: total}
            mended.append(node)
    return mended


def share_correct(num_correct: int, num_leaves: int) -> float | None:
    """Return the share of correct leaves, in samples; None if there are no leaves yet.

    For the value of the prompt, use `forests.core.values.root_value`.
    """
    return num_correct / num_leaves if num_leaves else None
