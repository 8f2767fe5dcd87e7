"""Trees for tests of algorithms: any shape, any grades."""

from collections import Counter
from dataclasses import replace
from random import Random

from hypothesis import strategies as st

from forests.core.tree import Grade, NodePath, ReasoningTree, TreeNode

GRADES = (Grade.CORRECT, Grade.INCORRECT, Grade.UNANSWERED, Grade.UNCOMPARED)


def leaf(
    path: NodePath,
    grade: Grade | None,
    *,
    count: int = 1,
    truncated: bool = False,
    answer: str = "",
    voted_answer: str = "",
) -> TreeNode:
    """Return a finished leaf; its answer is "1" where it is right and "2" where it is wrong.

    Without a voted answer it votes for its own text.
    """
    answers: dict[Grade | None, str] = {Grade.CORRECT: "1", Grade.INCORRECT: "2"}
    return TreeNode(
        path,
        text="The end.",
        count=count,
        terminal=not truncated,
        truncated=truncated,
        grade=grade,
        answer=answer or answers.get(grade),
        voted_answer=voted_answer or answer or answers.get(grade),
    )


def tree_of(*nodes: TreeNode) -> ReasoningTree:
    """Return the tree of these nodes, with plain steps where parents are missing."""
    there = {node.path: node for node in nodes}
    paths = {path[:depth] for path in there for depth in range(len(path))} | {()}
    steps = [TreeNode(path, text="A step.\n") for path in paths if path not in there]
    return ReasoningTree.from_nodes([*steps, *nodes])


def grades_tree(**grades: Grade | None) -> ReasoningTree:
    """Return the tree of leaves such as n0_1=Grade.CORRECT, which stands at (0, 1)."""
    return tree_of(
        *(leaf(tuple(map(int, name[1:].split("_"))), grade) for name, grade in grades.items())
    )


@st.composite
def trees(draw: st.DrawFn, *, all_finished: bool = False) -> ReasoningTree:
    """Draw a tree of up to three levels with all kinds of leaves.

    `all_finished`: every leaf has a result, so none is open or uncompared.
    """
    nodes: list[TreeNode] = []
    pending: list[NodePath] = [()]
    while pending:
        path = pending.pop()
        children = draw(st.integers(1 if not path else 0, 3)) if len(path) < 3 else 0
        if children:
            nodes.append(TreeNode(path, text="A step.\n", count=draw(st.integers(1, 3))))
            pending += [(*path, position) for position in range(children)]
        else:
            nodes.append(_drawn_leaf(draw, path, all_finished=all_finished))
    return ReasoningTree.from_nodes(nodes)


def _drawn_leaf(draw: st.DrawFn, path: NodePath, *, all_finished: bool) -> TreeNode:
    count = draw(st.integers(1, 3))
    if not all_finished and draw(st.integers(0, 5)) == 0:
        return TreeNode(path, text="Open.", count=count)
    is_cut = draw(st.integers(0, 5)) == 0
    grade = draw(st.sampled_from(GRADES[:3] if all_finished else GRADES))
    drawn = Counter[int]()
    if draw(st.booleans()):  # else it is not known from where the samples were drawn
        later = draw(st.integers(0, count))
        drawn[0] += count - later
        drawn[max(len(path) - 1, 0)] += later
    return replace(leaf(path, grade, count=count, truncated=is_cut), drawn=dict(+drawn))


def coin_tree(numbers: Random, branching: tuple[int, ...] = (4, 3, 2)) -> ReasoningTree:
    """Return a tree whose leaves are right or wrong at random, whatever stands above them."""
    paths: list[NodePath] = [()]
    for width in branching:
        paths = [(*path, position) for path in paths for position in range(width)]
    return tree_of(*(leaf(path, numbers.choice(GRADES[:2])) for path in paths))


def permuted(
    tree: ReasoningTree, numbers: Random
) -> tuple[ReasoningTree, dict[NodePath, NodePath]]:
    """Return a tree with siblings in another order, and where each node went."""
    moved: dict[NodePath, NodePath] = {(): ()}
    nodes = [TreeNode(())]
    for node in tree:  # parents come first
        children = tree.children(node.path)
        positions = list(range(len(children)))
        numbers.shuffle(positions)
        for child, position in zip(children, positions, strict=True):
            moved[child.path] = (*moved[node.path], position)
            nodes.append(
                TreeNode(
                    moved[child.path],
                    count=child.count,
                    terminal=child.terminal,
                    truncated=child.truncated,
                    answer=child.answer,
                    grade=child.grade,
                    drawn=child.drawn,
                )
            )
    return ReasoningTree.from_nodes(nodes), moved
