"""Tables for pandas: a row for each tree, node or pair."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from forests.core.reading import SPENT, ReadError
from forests.core.tree import format_path
from prm_site.python_api.open_tree import OpenTree, ValuedNode
from prm_site.python_api.pairs import TreePair

if TYPE_CHECKING:
    from pandas import DataFrame


COLUMNS: Mapping[str, tuple[str, ...]] = {
    "trees": (
        "tree", "question", "label", "status", "value", "value_leaves", "pass_rate",
        "majority_vote", "depth", "num_nodes", "num_leaves", "num_correct", "num_incorrect",
        "num_unanswered", "num_uncompared", "num_truncated", *SPENT,
    ),
    "nodes": (
        "tree", "path", "parent", "depth", "text", "value", "value_leaves", "low", "high", "count",
        "is_leaf", "answer", "grade", "truncated", "is_thought", "tokens", "logprob", "model",
    ),
    "pairs": (
        "tree", "prefix", "prefix_text", "chosen", "rejected", "margin", "confidence",
        "chosen_value", "rejected_value", "chosen_leaves", "rejected_leaves", "chosen_path",
        "rejected_path",
    ),
}  # fmt: skip
"""The columns of each table. An empty table has them too."""

_NUMBERS = ("value", "pass_rate", "majority_vote", "low", "high", "logprob", "margin", "confidence")
"""Columns of numbers. They stay numeric if all their values are missing, so that they compare."""


def tree_row(tree: OpenTree) -> dict[str, Any]:
    root = tree.root
    return {
        "tree": tree.index,
        "question": tree.question,
        "label": tree.label,
        "status": tree.status,
        "value": root.value,
        "value_leaves": root.num_leaves,
        "pass_rate": tree.pass_rate,
        "majority_vote": tree.majority_vote,
        "depth": max(node.depth for node in tree.tree),
        **tree.counts,
        **tree.spent,
    }


def node_row(tree: OpenTree, valued: ValuedNode) -> dict[str, Any]:
    node = valued.node
    return {
        "tree": tree.index,
        "path": valued.name,
        "parent": format_path(node.path[:-1]),
        "depth": node.depth,
        "text": node.text,
        "value": valued.value,
        "value_leaves": valued.num_leaves,
        "low": valued.low,
        "high": valued.high,
        "count": node.count,
        "is_leaf": valued.is_leaf,
        "answer": node.answer,
        "grade": None if node.grade is None else str(node.grade),
        "truncated": node.truncated,
        "is_thought": node.is_thought,
        "tokens": node.tokens,
        "logprob": node.logprob,
        "model": node.model,
    }


def pair_row(pair: TreePair) -> dict[str, Any]:
    return {
        "tree": pair.tree_index,
        "prefix": format_path(pair.prefix),
        "prefix_text": pair.prefix_text,
        "chosen": pair.chosen.text,
        "rejected": pair.rejected.text,
        "margin": pair.margin,
        "confidence": pair.confidence,
        "chosen_value": pair.chosen.value,
        "rejected_value": pair.rejected.value,
        "chosen_leaves": pair.chosen.leaves,
        "rejected_leaves": pair.rejected.leaves,
        "chosen_path": format_path(pair.chosen.path),
        "rejected_path": format_path(pair.rejected.path),
    }


def _trees(trees: Iterable[OpenTree]) -> "DataFrame":
    return _frame("trees", (tree_row(tree) for tree in trees))


def _nodes(trees: Iterable[OpenTree]) -> "DataFrame":
    return _frame("nodes", (node_row(tree, node) for tree in trees for node in tree))


def _pairs(pairs: Iterable[TreePair]) -> "DataFrame":
    return _frame("pairs", (pair_row(pair) for pair in pairs))


TABLES: Mapping[str, Callable[[Iterable[Any]], "DataFrame"]] = {
    "trees": _trees,
    "nodes": _nodes,
    "pairs": _pairs,
}
"""The function that makes each table, by the table's name."""


def _frame(table: str, rows: Iterable[Mapping[str, Any]]) -> "DataFrame":
    try:
        # Pandas takes a second to import, and readers without tables do not need it.
        import pandas  # noqa: PLC0415
    except ImportError as error:
        raise ReadError("tables need pandas: pip install pandas") from error
    columns = COLUMNS[table]
    numbers = {name: "float64" for name in _NUMBERS if name in columns}
    return pandas.DataFrame(list(rows), columns=list(columns)).astype(numbers)
