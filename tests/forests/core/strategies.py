"""Trees that hypothesis makes."""

from hypothesis import strategies as st

from forests.core.tree import Grade, NodePath, ReasoningTree, TreeNode

TEXTS = ["Count the eggs.\n", "She eats 3\n", "so 9\nEGGS are left", "#### 18"]


@st.composite
def paths(draw: st.DrawFn, max_nodes: int = 40) -> list[NodePath]:
    """Return the paths of a tree, the root first."""
    found: list[NodePath] = [()]
    children: dict[NodePath, int] = {(): 0}
    for _ in range(draw(st.integers(0, max_nodes))):
        parent = found[draw(st.integers(0, len(found) - 1))]
        path = (*parent, children[parent])
        children[parent] += 1
        children[path] = 0
        found.append(path)
    return found


@st.composite
def trees(draw: st.DrawFn, max_nodes: int = 40) -> ReasoningTree:
    """Return a tree whose leaves are graded, cut or open."""
    found = draw(paths(max_nodes))
    parents = {path[:-1] for path in found if path}
    nodes = [TreeNode(())]
    for path in found[1:]:
        node = TreeNode(path, text=draw(st.sampled_from(TEXTS)), count=draw(st.integers(1, 3)))
        if path not in parents:
            node.grade = draw(st.sampled_from([None, *Grade]))
            node.truncated = draw(st.booleans())
            node.terminal = node.grade is not None and not node.truncated
        nodes.append(node)
    return ReasoningTree.from_nodes(nodes)
