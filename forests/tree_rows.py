"""A tree as the flat list of rows that its page draws."""

from dataclasses import dataclass

from forests.core.leaf_share import LeafShare, leaf_shares, steepest_path
from forests.core.naming import node_anchor
from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode, format_path

MAX_OPEN_NODES = 200
"""Nodes of a tree that is shown with all steps open; a larger one opens its first levels."""
_OPEN_DEPTH = 2


@dataclass(frozen=True, slots=True)
class TreeRow:
    """One step, with what the page says about it.

    Rows come in the order of reading: a node, then its descendants, then its next sibling.
    """

    node: TreeNode
    share: LeafShare
    num_children: int
    is_on_best: bool
    is_on_worst: bool
    is_shown_open: bool
    is_only_child: bool
    """Not indented below its parent, so that long solutions stay readable on a phone."""
    closes: range
    """As many parents end with this row."""

    @property
    def name(self) -> str:
        return format_path(self.node.path)

    @property
    def anchor(self) -> str:
        return node_anchor(self.node.path)

    @property
    def is_open(self) -> bool:
        """Whether growth has not come to this node yet."""
        return not self.num_children and not self.node.is_finished

    @property
    def tone(self) -> str:
        """CSS class of the value: from tone-0 (no sample correct) to tone-4 (all)."""
        value = self.share.value
        if value is None:
            return "tone-none"
        return f"tone-{0 if value == 0 else 4 if value == 1 else 1 + min(2, int(3 * value))}"


@dataclass(frozen=True, slots=True)
class TreeRows:
    rows: list[TreeRow]
    root: LeafShare
    max_depth: int
    best: str
    """Anchor of the end of the best path; empty where nothing has ended yet."""
    worst: str


def tree_rows(tree: ReasoningTree, *, all_open: bool) -> TreeRows:
    """Return the rows of all nodes below the root."""
    shares = leaf_shares(tree)
    best = steepest_path(tree, shares, best=True)
    worst = steepest_path(tree, shares, best=False)
    # Where all samples are worth the same, no path is better than another.
    if best and shares[best[-1]].value == shares[worst[-1]].value:
        best, worst = [], []
    on_best, on_worst = set(best), set(worst)
    all_open = all_open or len(tree) <= MAX_OPEN_NODES
    rows = [
        TreeRow(
            node=tree.nodes[path],
            share=shares[path],
            num_children=len(tree.children(path)),
            is_on_best=path in on_best,
            is_on_worst=path in on_worst,
            is_shown_open=all_open or len(path) <= _OPEN_DEPTH or path in on_best,
            is_only_child=tree.next_position(path[:-1]) == 1,
            closes=range(closes),
        )
        for path, closes in _in_reading_order(tree)
    ]
    return TreeRows(
        rows=rows,
        root=shares[ROOT],
        max_depth=max((row.node.depth for row in rows), default=0),
        best=node_anchor(best[-1]) if best else "",
        worst=node_anchor(worst[-1]) if worst else "",
    )


def _in_reading_order(tree: ReasoningTree) -> list[tuple[NodePath, int]]:
    """Return each path with how many of its ancestors end right after it (the root never)."""
    order = sorted(path for path in tree.nodes if path)
    followers = [*order[1:], (0,)]  # after the last row all its ancestors end
    return [
        (path, max(0, len(path) - len(after)))
        for path, after in zip(order, followers, strict=False)
    ]
