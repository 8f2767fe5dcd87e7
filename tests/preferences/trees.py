"""Trees for tests, written as a table: the path, text, grade and number of samples of each node."""

from typing import TypeAlias

from forests.core.tree import Grade, ReasoningTree, TreeNode, parse_path

RIGHT, WRONG, UNCOMPARED = Grade.CORRECT, Grade.INCORRECT, Grade.UNCOMPARED


Step: TypeAlias = tuple[str, Grade | None] | tuple[str, Grade | None, int]


def tree_of(steps: dict[str, Step]) -> ReasoningTree:
    """Return the tree of {"0.1": (text, grade of a leaf or None[, number of samples])}."""
    nodes = [TreeNode(())]
    for path, (text, grade, *count) in steps.items():
        nodes.append(
            TreeNode(
                parse_path(path),
                text=text,
                count=count[0] if count else 1,
                terminal=grade is not None,
                grade=grade,
                answer=None if grade is None else text.strip()[-1:],
                model="test-model",
                finish_reason="stop" if grade is not None else "",
            )
        )
    return ReasoningTree.from_nodes(nodes)


def addition_tree() -> ReasoningTree:
    """Return a tree with two first steps, of the values 0.75 and 0.25."""
    return tree_of(
        {
            "0.0": (" Add: 2 + 3 = 5 — naïve, 足す.\n", None),
            "0.1": ("\tSubtract: 3 - 2 = 1 \n", None),
            "0.0.0": ("The answer is 5", RIGHT, 3),
            "0.0.1": ("The answer is 6", WRONG),
            "0.1.0": ("The answer is 1", WRONG, 3),
            "0.1.1": ("  The answer is 5", RIGHT),
        }
    )
