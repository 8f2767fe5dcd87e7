"""What a tree's counters say, from its nodes."""

from forests.core.tree import Grade, ReasoningTree


def count_tree(tree: ReasoningTree) -> dict[str, int]:
    """Return the counters of a tree: nodes below the root, and samples that ended, by grade.

    Leaves are counted in samples: one step that ended three samples is three leaves. Open leaves,
    to which growth has not come yet, are none.
    """
    finished = [node for node in tree.leaves() if node.is_finished]

    def samples(grade: Grade) -> int:
        return sum(node.count for node in finished if node.grade is grade)

    return {
        "num_nodes": len(tree) - 1,
        "num_leaves": sum(node.count for node in finished),
        "num_correct": samples(Grade.CORRECT),
        "num_incorrect": samples(Grade.INCORRECT),
        "num_unanswered": samples(Grade.UNANSWERED),
        "num_truncated": sum(node.count for node in finished if node.truncated),
    }


def root_value(tree: ReasoningTree) -> float | None:
    """Return the share of correct leaves, in samples; None where there are none yet."""
    counters = count_tree(tree)
    leaves = counters["num_leaves"]
    return counters["num_correct"] / leaves if leaves else None
