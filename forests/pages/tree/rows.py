"""The rows of a tree's page, as a flat list."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

from django.utils.safestring import SafeString

from common.text import counted
from forests.core.certainty.evidence import evidence_of, known_interval, with_evidence
from forests.core.naming import node_anchor
from forests.core.opinions.disagreements import disagreements_of, intervals_of
from forests.core.opinions.verdicts import GIVE_VERDICTS
from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode, format_path
from forests.core.values import Estimator, NodeValue, estimate_values
from forests.pages.tree.layout import leaf_counts, subtree_sizes
from forests.pages.tree.query import TreeQuery
from forests.pages.tree.selection import select
from forests.pages.tree.steepest import steepest_path
from forests.pages.tree.step_texts import StepTexts
from forests.pages.tree.unfolding import Gap, chunked, unfolded
from forests.storage.scores import JudgedTree, Judgement, judgements_at

MAX_OPEN_NODES = 200
"""Largest tree, in nodes, that is shown with all steps open; others open their first levels."""
MAX_LOADED_NODES = 800
"""Largest tree, in nodes, that is sent whole; closed steps of others load when they are opened."""
ROWS_AT_FIRST = 300
ROWS_AT_MOST = 1500
"""Most rows that "Expand all" or a search opens."""
ROWS_BELOW = 40
"""Most rows below a step that are loaded with it."""
_OPEN_DEPTH = 2

LARGE_DISAGREEMENT = 0.2
"""Size from which a disagreement is marked at its step."""

_NO_PATHS: frozenset[NodePath] = frozenset()
_Item: TypeAlias = NodePath | Gap


@dataclass(frozen=True, slots=True)
class TreeRow:
    """One step as the page shows it.

    Rows are in reading order: a node, then its descendants, then its next sibling.
    """

    node: TreeNode
    share: NodeValue
    """Its value, and the number of samples behind it."""
    judgements: Sequence[Judgement]
    """What scorers say of the step."""
    is_disputed: bool
    """Whether two sources disagree much about the step."""
    num_children: int
    """Number of children shown: all, or those that a search finds."""
    num_below: int
    """Number of all steps below it."""
    num_ends: int
    """How many of them have no step after them; 1 for a leaf itself."""
    is_leaf: bool
    is_on_best: bool
    is_on_worst: bool
    is_hit: bool
    is_unfolded: bool
    is_loaded: bool
    """Whether its text and the steps below are in the page, even if folded."""
    is_only_child: bool
    """An only child is not indented, so that long solutions stay readable on a phone."""
    continues: bool
    """Whether it is an only child with the same samples, and so the same value, as its parent."""
    closes: range
    """One item for each parent whose list ends with this row."""
    preview: SafeString
    body: SafeString
    """The step, or its beginning, as HTML; empty if it is not loaded or is a folded thought."""
    is_folded_thought: bool
    """Whether the row is a thought whose text loads when it is opened, or that a file folds."""
    num_missing: int
    """Characters of the step that are not shown."""

    gap = None

    @property
    def name(self) -> str:
        return format_path(self.node.path)

    @property
    def anchor(self) -> str:
        return node_anchor(self.node.path)

    @property
    def has_rows_below(self) -> bool:
        return bool(self.num_children) and self.is_loaded

    @property
    def is_open(self) -> bool:
        """Whether the node is not expanded yet."""
        return self.is_leaf and not self.node.is_finished

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the value; None without one."""
        return known_interval(self.share)

    @property
    def samples(self) -> str:
        """How many samples have the step, in words."""
        return counted(self.node.count, "sample")

    @property
    def inside(self) -> str:
        """What is below the step, in words."""
        return f"{counted(self.num_below, 'step')} inside, {counted(self.num_ends, 'end')}"

    @property
    def tone(self) -> str:
        return tone_of(self.share.value)

    @property
    def logprob_per_token(self) -> float | None:
        return mean_logprob(self.node)


@dataclass(frozen=True, slots=True)
class GapRow:
    """Children of one step that the page leaves out."""

    gap: Gap
    closes: range
    query: TreeQuery

    @property
    def parent(self) -> str:
        return format_path(self.gap.parent)

    @property
    def address(self) -> str:
        """URL that shows these children without JavaScript."""
        return f"{self.query.leads_to(self.gap.first)}#{node_anchor(self.gap.first)}"


Row: TypeAlias = TreeRow | GapRow


def tone_of(value: float | None) -> str:
    """Return the CSS class of a value: from tone-0 (no sample correct) to tone-4 (all)."""
    if value is None:
        return "tone-none"
    return f"tone-{0 if value == 0 else 4 if value == 1 else 1 + min(2, int(3 * value))}"


def mean_logprob(node: TreeNode) -> float | None:
    """Return the mean log-probability of a step's tokens; None if either is unknown."""
    return node.logprob / node.tokens if node.logprob is not None and node.tokens else None


class TreeReading:
    """A tree as one query shows it: with values, best and worst path, and the search applied."""

    def __init__(
        self,
        tree: ReasoningTree,
        query: TreeQuery,
        estimator: Estimator,
        judged: Mapping[str, tuple[str, JudgedTree]] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Read a tree.

        Args:
            tree: the tree.
            query: how to show it.
            estimator: how to value its steps.
            judged: by the name of each scorer, its kind and what it says of the tree.
            seconds: processor time for Markdown, after which steps are raw text; None: the usual.
        """
        self.tree = tree
        self.query = query
        self.estimator = estimator
        self.texts = StepTexts(
            is_raw=query.is_raw, pattern=query.pattern, is_saved=query.is_saved, seconds=seconds
        )
        shares = estimate_values(tree, estimator)
        self.shares = with_evidence(shares, evidence_of(tree, shares, estimator))
        self.judged = judged or {}
        self.disputed = self._disputed()
        self.best, self.worst = best_and_worst(tree, self.shares)
        self.on_best, self.on_worst = frozenset(self.best), frozenset(self.worst)
        self.selection = (
            select(tree, kind=query.kind, phrase=query.phrase) if query.is_selective else None
        )
        self.num_shown = len(tree) - 1 if self.selection is None else len(self.selection.shown)
        most = query.saved_steps or MAX_LOADED_NODES
        self.is_loaded_whole = self.num_shown <= most
        opened = query.opened if query.opened in tree.nodes else None
        self._first = frozenset(
            path[:depth]
            for path in (self.best[-1:] + self.worst[-1:] + ([opened] if opened else []))
            for depth in range(1, len(path) + 1)
            if self.selection is None or path[:depth] in self.selection.shown
        )
        self._children: dict[NodePath, list[NodePath]] = {}
        self._unfolded: AbstractSet[NodePath] = _NO_PATHS

    @cached_property
    def sizes(self) -> dict[NodePath, int]:
        """The number of nodes in each node's subtree, the node itself included."""
        return subtree_sizes(self.tree)

    @cached_property
    def _ends(self) -> dict[NodePath, int]:
        return leaf_counts(self.tree)

    def _disputed(self) -> list[NodePath]:
        """Return the steps about which two sources disagree much, largest disagreement first."""
        scores = {
            name: judged.scores
            for name, (kind, judged) in self.judged.items()
            if kind in GIVE_VERDICTS
        }
        if not scores:
            return []
        found = disagreements_of(self.tree, intervals_of(self.tree, self.estimator), scores)
        return [one.path for one in found if one.size >= LARGE_DISAGREEMENT]

    def rows(self) -> list[Row]:
        """Return the rows of the page: the steps below the root."""
        at_most = ROWS_AT_MOST if self.query.is_all_open else ROWS_AT_FIRST
        if self.query.is_saved:
            at_most = self.query.saved_steps
        if self.selection is not None:
            at_most = ROWS_AT_MOST
        if self.is_loaded_whole:
            self._unfolded = self._unfolded_of_small_tree()
        else:
            self._unfolded = unfolded(
                self.children,
                ROOT,
                first=self._first,
                wanted=None if self.selection is None else self.selection.opened,
                at_most=at_most,
            )
        return self._rows(ROOT, self._parts(ROOT))

    def rows_below(self, base: NodePath, *, start: int = 0, stop: int = -1) -> list[Row]:
        """Return the rows of a node's children from position `start` up to `stop`."""
        self.is_loaded_whole = False
        self._unfolded = unfolded(
            self.children,
            base,
            first=_NO_PATHS,
            wanted=None if self.selection is None else self.selection.opened,
            at_most=ROWS_BELOW,
        )
        parts = list(chunked(self.children(base), _NO_PATHS, start=start, stop=stop))
        return self._rows(base, iter(parts))

    def row(self, path: NodePath, *, with_text: bool) -> TreeRow:
        """Return a single row."""
        self.is_loaded_whole = False
        self._unfolded = frozenset({path}) if with_text else _NO_PATHS
        return self._tree_row(path, range(0))

    def children(self, path: NodePath) -> Sequence[NodePath]:
        """Return the shown children of a node, in order."""
        if path not in self._children:
            shown = None if self.selection is None else self.selection.shown
            self._children[path] = [
                child.path
                for child in self.tree.children(path)
                if shown is None or child.path in shown
            ]
        return self._children[path]

    def _unfolded_of_small_tree(self) -> AbstractSet[NodePath]:
        nodes = self.tree.nodes.keys()
        if self.query.is_all_open:
            return nodes
        if self.selection is not None:
            hits = self.selection.hits if self.query.phrase else _NO_PATHS
            return self.selection.opened | hits | self._first
        if len(self.tree) <= MAX_OPEN_NODES:
            return nodes
        return self._first | {path for path in nodes if len(path) <= _OPEN_DEPTH}

    def _parts(self, path: NodePath) -> Iterator[_Item]:
        below = self.children(path)
        if self.is_loaded_whole:
            return iter(below)
        return chunked(below, self._first)

    def _is_loaded(self, path: NodePath) -> bool:
        return self.is_loaded_whole or path in self._unfolded

    def _in_reading_order(self, parts: Iterator[_Item]) -> Iterator[_Item]:
        stack = [parts]
        while stack:
            item = next(stack[-1], None)
            if item is None:
                stack.pop()
                continue
            yield item
            if not isinstance(item, Gap) and self._is_loaded(item):
                stack.append(self._parts(item))

    def _rows(self, base: NodePath, parts: Iterator[_Item]) -> list[Row]:
        items = list(self._in_reading_order(parts))
        depths = [len(item.first) if isinstance(item, Gap) else len(item) for item in items]
        depths.append(len(base) + 1)  # after the last row all its ancestors end
        closes = [range(max(0, here - after)) for here, after in pairwise(depths)]
        return [
            GapRow(item, ends, self.query) if isinstance(item, Gap) else self._tree_row(item, ends)
            for item, ends in zip(items, closes, strict=True)
        ]

    def _tree_row(self, path: NodePath, closes: range) -> TreeRow:
        node = self.tree.nodes[path]
        is_loaded = self._is_loaded(path)
        is_hit = self.selection is not None and path in self.selection.hits
        is_marked = is_hit and bool(self.query.phrase)
        is_folded = (
            node.is_thought and not is_marked and not self.query.shows_thoughts
            and bool(node.text.strip())
        )  # fmt: skip
        is_only_child = self.tree.next_position(path[:-1]) == 1
        return TreeRow(
            node=node,
            share=self.shares[path],
            judgements=judgements_at(self.judged, path),
            is_disputed=path in self.disputed,
            num_children=len(self.children(path)),
            num_below=self.sizes[path] - 1,
            num_ends=self._ends[path],
            is_leaf=self.tree.is_leaf(path),
            is_on_best=path in self.on_best,
            is_on_worst=path in self.on_worst,
            is_hit=is_hit,
            is_unfolded=path in self._unfolded,
            is_loaded=is_loaded,
            is_only_child=is_only_child,
            continues=is_only_child and self.shares[path] == self.shares[path[:-1]],
            closes=closes,
            preview=self.texts.preview(node.text, is_hit=is_marked),
            body=self.texts.body(node.text, is_hit=is_marked)
            if is_loaded and (self.query.is_saved or not is_folded)
            else SafeString(""),
            is_folded_thought=is_folded,
            num_missing=max(0, len(node.text) - self.texts.max_length),
        )


def best_and_worst(
    tree: ReasoningTree, shares: dict[NodePath, NodeValue]
) -> tuple[list[NodePath], list[NodePath]]:
    """Return the best and the worst path; two empty ones if both end at the same value."""
    best = steepest_path(tree, shares, best=True)
    worst = steepest_path(tree, shares, best=False)
    if best and shares[best[-1]].value == shares[worst[-1]].value:
        return [], []
    return best, worst
