"""The overview picture of a tree: a point for each step, in the order of the rows beside it."""

from collections import defaultdict
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from forests.core.naming import node_anchor
from forests.core.tree import NodePath, format_path
from forests.pages.tree.layout import Dendrogram, dendrogram, thinned
from forests.pages.tree.rows import TreeReading, tone_of

MAX_POINTS = 600
WIDTH = 320
"""Width of the drawing, in its own units."""
_MARGIN = 12
_HEIGHT = 900
_SLOT_HEIGHTS = (1.6, 18.0)
_LEVEL_WIDTHS = (6.0, 90.0)
_RADII = (1.2, 4.5)
_MANY_SAMPLES = (2, 5, 15)
"""Numbers of samples from which an edge is drawn one step thicker."""


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    """Centre of a circle, or left side of a square; the same for `y`, with the top side."""
    y: float
    css: str
    address: str
    title: str
    is_bundle: bool
    """Whether the picture leaves out steps below it."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Edges that share a style."""

    css: str
    d: str


@dataclass(frozen=True, slots=True)
class Picture:
    width: float
    height: float
    radius: float
    points: list[Point]
    edges: list[Edges]
    best: str
    """The best path, as the `d` of an SVG path; empty if the tree has none."""
    worst: str
    num_points: int
    num_nodes: int

    @property
    def is_thinned(self) -> bool:
        return self.num_points < self.num_nodes

    @property
    def diameter(self) -> float:
        return 2 * self.radius


class _Scale:
    """Converts slots and depths to units of the drawing."""

    def __init__(self, plan: Dendrogram) -> None:
        self.slot = _between(_SLOT_HEIGHTS, (_HEIGHT - 2 * _MARGIN) / plan.num_leaves)
        self.level = _between(_LEVEL_WIDTHS, (WIDTH - 2 * _MARGIN) / max(1, plan.max_depth))
        self.radius = round(_between(_RADII, 0.42 * self.slot), 2)
        self.width = round(2 * _MARGIN + self.level * plan.max_depth)
        self.height = round(2 * _MARGIN + self.slot * (plan.num_leaves - 1))
        self._slots = plan.slots

    def place(self, path: NodePath) -> tuple[float, float]:
        x = _MARGIN + self.level * len(path)
        y = _MARGIN + self.slot * self._slots[path]
        return round(x, 1), round(y, 1)

    def edge(self, path: NodePath) -> str:
        """Return the curve from the parent to this node."""
        (x0, y0), (x1, y1) = self.place(path[:-1]), self.place(path)
        middle = round((x0 + x1) / 2, 1)
        return f"M{x0:g} {y0:g}C{middle:g} {y0:g} {middle:g} {y1:g} {x1:g} {y1:g}"

    def way(self, path: list[NodePath]) -> str:
        return "".join(map(self.edge, path))


def picture_of(reading: TreeReading, anchors: AbstractSet[str]) -> Picture:
    """Return the picture of a whole tree; `anchors` are those of the rows on the page."""
    tree = reading.tree
    sizes = reading.sizes
    ends = [path[-1] for path in (reading.best, reading.worst) if path]
    drawn = thinned(tree, sizes, at_most=MAX_POINTS, keep=ends)
    scale = _Scale(dendrogram(drawn))
    order = sorted(drawn)
    curves: dict[str, list[str]] = defaultdict(list)
    for path in order[1:]:
        curves[_edge_css(reading, path)].append(scale.edge(path))
    return Picture(
        width=scale.width,
        height=scale.height,
        radius=scale.radius,
        points=[
            _point(reading, path, scale, anchors, drawn, sizes[path]) for path in order if path
        ],
        edges=[Edges(css, "".join(curves[css])) for css in sorted(curves)],
        best=scale.way(reading.best),
        worst=scale.way(reading.worst),
        num_points=len(drawn) - 1,
        num_nodes=len(tree) - 1,
    )


def _point(
    reading: TreeReading,
    path: NodePath,
    scale: _Scale,
    anchors: AbstractSet[str],
    drawn: AbstractSet[NodePath],
    size: int,
) -> Point:
    x, y = scale.place(path)
    share, anchor = reading.shares[path], node_anchor(path)
    num_left_out = 0
    if any(child.path not in drawn for child in reading.tree.children(path)):
        num_left_out = size - 1
    value = "no result yet"
    if share.value is not None:
        value = f"value {share.value:.2f}, {share.correct} of {share.leaves} correct"
    below = f", {num_left_out:,} steps below" if num_left_out else ""
    corner = scale.radius if num_left_out else 0
    is_thought = reading.tree.nodes[path].is_thought
    there = anchor in anchors
    return Point(
        x=round(x - corner, 1),
        y=round(y - corner, 1),
        css=tone_of(share.value)
        + (" thought" if is_thought else "")
        + (" off" if _is_off(reading, path) else ""),
        address=f"#{anchor}" if there else f"{reading.query.leads_to(path)}#{anchor}",
        title=f"{format_path(path)}: {'thought, ' if is_thought else ''}{value}{below}",
        is_bundle=bool(num_left_out),
    )


def _edge_css(reading: TreeReading, path: NodePath) -> str:
    """Return the CSS classes of the edge to a node: for its value and its number of samples."""
    count = max(reading.tree.nodes[path].count, reading.shares[path].leaves)
    width = sum(count >= many for many in _MANY_SAMPLES)
    off = " off" if _is_off(reading, path) else ""
    return f"{tone_of(reading.shares[path].value)} w{width}{off}"


def _is_off(reading: TreeReading, path: NodePath) -> bool:
    """Return whether a search excludes this node."""
    return reading.selection is not None and path not in reading.selection.shown


def _between(bounds: tuple[float, float], value: float) -> float:
    low, high = bounds
    return min(high, max(low, value))
