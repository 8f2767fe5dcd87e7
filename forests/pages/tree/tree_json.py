"""The pages of a tree and of one step as JSON."""

from dataclasses import asdict
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from forests.core.certainty.evidence import known_interval
from forests.core.prefix import as_plain_text
from forests.core.tree import TreeNode, format_path
from forests.core.values import NodeValue
from forests.markup.rendering import one_line
from forests.models import Forest
from forests.pages.json_twin import json_address, path_or_none, shown_to
from forests.pages.tree.rows import GapRow, Row, TreeReading, TreeRow
from forests.storage.scores import Judgement, read_judged
from forests.storage.trees import StoredTree

_PREVIEW_LENGTH = 90


def tree_data(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return what the page of a tree shows, from what its template gets."""
    forest: Forest = context["forest"]
    stored: StoredTree = context["tree"]
    reading: TreeReading = context["reading"]
    return {
        **_about(request, forest, stored),
        "item": stored.item,
        "prompt": stored.prompt,
        "question": stored.question,
        "root": value_data(context["root"]),
        "num_nodes": context["num_nodes"],
        "max_depth": context["max_depth"],
        "num_uncompared": context["uncompared"],
        "thoughts": asdict(context["thoughts"]),
        "spent": dict(stored.spent),
        "failures": dict(stored.failures),
        "best": path_or_none(reading.best[-1] if reading.best else None),
        "worst": path_or_none(reading.worst[-1] if reading.worst else None),
        "judgements": _judgements_of_tree(forest, stored.index),
        "num_shown": reading.num_shown,
        "steps": [_row_data(forest, stored, row) for row in context["rows"]],
        "previous": _tree_address(forest, context["previous"]),
        "next": _tree_address(forest, context["next"]),
    }


def node_data(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return what the page of a step shows, from what its template gets."""
    forest: Forest = context["forest"]
    stored: StoredTree = context["tree"]
    node: TreeNode = context["node"]
    return {
        **_about(request, forest, stored),
        **_node_data(node),
        **value_data(context["share"]),
        "text": node.text,
        "drawn": {str(depth): number for depth, number in node.drawn.items()},
        "voted_answer": node.voted_answer,
        "finish_reason": node.finish_reason,
        "model": node.model,
        "seed": node.seed,
        "is_on_best": context["is_on_best"],
        "is_on_worst": context["is_on_worst"],
        "judgements": [_judgement_data(one) for one in context["judgements"]],
        "prefix": as_plain_text(context["prefix"]),
        "ancestors": [_line_data(forest, stored, row) for row in context["ancestors"]],
        "num_siblings": context["num_siblings"],
        "siblings": [_line_data(forest, stored, row) for row in context["siblings"]],
        "num_children": context["num_children"],
        "children": [_line_data(forest, stored, row) for row in context["children"]],
    }


def siblings_data(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the compared steps of a page, from what its template gets."""
    forest: Forest = context["forest"]
    stored: StoredTree = context["tree"]
    return {
        **_about(request, forest, stored),
        "num_siblings": context["num_siblings"],
        "steps": [
            {
                **_line_data(forest, stored, column.row),
                "text": column.row.node.text[: len(column.row.node.text) - column.num_missing],
                "num_characters_missing": column.num_missing,
                "judgements": [_judgement_data(one) for one in column.row.judgements],
            }
            for column in context["columns"]
        ],
    }


def value_data(value: NodeValue) -> dict[str, Any]:
    """Return a value with the samples that it rests on, and its 95 % interval."""
    low, high = known_interval(value) or (None, None)
    return {
        "value": value.value,
        "low": low,
        "high": high,
        "num_leaves": value.leaves,
        "num_correct": value.correct,
    }


def _about(request: HttpRequest, forest: Forest, stored: StoredTree) -> dict[str, Any]:
    return {
        "forest": forest.name,
        "index": stored.index,
        "status": str(stored.status),
        "error": shown_to(request, stored.error),
        "hit_max_nodes": stored.hit_max_nodes,
        "label": stored.label,
        "estimator": forest.estimator,
    }


def _row_data(forest: Forest, stored: StoredTree, row: Row) -> dict[str, Any]:
    """Return a step of the page, or a gap: children that the page leaves out."""
    if isinstance(row, GapRow):
        gap = row.gap
        address = reverse("tree", args=[forest.name, stored.index])
        return {
            "gap": {
                "parent": row.parent,
                "num_steps": len(gap),
                "first": format_path(gap.first),
                "page": json_address(address, open=format_path(gap.first)),
            }
        }
    node = row.node
    return {
        **_line_data(forest, stored, row),
        "is_hit": row.is_hit,
        "is_on_best": row.is_on_best,
        "is_on_worst": row.is_on_worst,
        "num_children": row.num_children,
        "has_all_below": row.is_loaded,
        "text": node.text[: len(node.text) - row.num_missing] if row.is_loaded else None,
        "num_characters_missing": row.num_missing if row.is_loaded else len(node.text),
    }


def _line_data(forest: Forest, stored: StoredTree, row: TreeRow) -> dict[str, Any]:
    node = row.node
    return {
        **_node_data(node),
        **value_data(row.share),
        "is_leaf": row.is_leaf,
        "text_preview": one_line(node.text, _PREVIEW_LENGTH),
        "page": json_address(reverse("node", args=[forest.name, stored.index, node.path])),
    }


def _node_data(node: TreeNode) -> dict[str, Any]:
    return {
        "path": format_path(node.path),
        "depth": node.depth,
        "num_samples": node.count,
        "terminal": node.terminal,
        "truncated": node.truncated,
        "is_thought": node.is_thought,
        "answer": node.answer,
        "grade": None if node.grade is None else str(node.grade),
        "tokens": node.tokens,
        "logprob": node.logprob,
    }


def _judgement_data(one: Judgement) -> dict[str, Any]:
    return {
        "scorer": one.scorer,
        "kind": one.kind,
        "score": one.score,
        "verdict": None if one.verdict is None else str(one.verdict),
        "votes": list(one.votes),
        "rationale": one.rationale,
    }


def _judgements_of_tree(forest: Forest, index: int) -> dict[str, Any]:
    """Return what each scorer says of a tree, by its name; scores and rationales by path."""
    return {
        name: {
            "kind": kind,
            "scores": {format_path(path): one for path, one in judged.scores.items()},
            "rationales": {format_path(path): one for path, one in judged.rationales.items()},
            "votes": {format_path(path): list(one) for path, one in judged.votes.items()},
        }
        for name, (kind, judged) in read_judged(forest, index).items()
    }


def _tree_address(forest: Forest, index: int | None) -> str | None:
    if index is None:
        return None
    return json_address(reverse("tree", args=[forest.name, index]))
