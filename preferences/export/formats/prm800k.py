"""Labelling sessions as in PRM800K (2305.20050)."""

from collections import Counter
from collections.abc import Iterator
from math import inf
from uuid import NAMESPACE_URL, uuid5

import pyarrow as pa

from forests.core.tree import ROOT, NodePath, TreeNode
from preferences.export.formats.base import TEXT, Format, Item, Row, RowOptions
from preferences.export.formats.solutions import only_annotated


def labeler_id(values: str) -> str:
    """Return the id of the labeler in PRM800K rows: a UUID, because OpenR accepts nothing else.

    `values`: the name of the source of values, see `ValueSource.name`.
    """
    return str(uuid5(NAMESPACE_URL, f"prm_site/{values}"))


def _prm800k(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield a labelling session: the best path, with ratings of all alternatives to its steps.

    As in PRM800K, the session ends with the solution, or where even the best alternative is wrong
    or has no value. Steps are stripped of whitespace.
    """
    steps, reason = [], "solution"
    path: NodePath = ROOT
    if (annotated := only_annotated(item, options, dropped)) is None:
        return
    item = annotated
    while children := _alternatives(item, path, dropped):
        best = max(range(len(children)), key=lambda position: _rank(item, children[position]))
        ratings = [_rating(item, node, options) for node in children]
        is_right = ratings[best] in (0, 1)
        if not is_right:
            reason = "give_up" if ratings[best] is None else "found_error"
        steps.append(
            {
                "completions": [
                    {"text": node.text.strip(), "rating": rating, "flagged": False}
                    for node, rating in zip(children, ratings, strict=True)
                ],
                "human_completion": None,
                "chosen_completion": best if is_right else None,
            }
        )
        if not is_right:
            break
        path = children[best].path
    if not steps:
        dropped["trees_without_steps"] += 1
        return
    yield {
        "labeler": options.labeler,
        "timestamp": item.timestamp,
        "generation": None,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {"problem": item.asked, "ground_truth_answer": item.label},
        "label": {"steps": steps, "total_time": 0, "finish_reason": reason},
    }


def _alternatives(item: Item, path: NodePath, dropped: Counter[str]) -> list[TreeNode]:
    """Return the next steps after a prefix; of steps equal but for whitespace, only the best."""
    by_text: dict[str, TreeNode] = {}
    for node in item.tree.children(path):
        if not (text := node.text.strip()):
            continue
        same = by_text.get(text)
        dropped["alternatives_repeated"] += same is not None
        if same is None or _rank(item, node) > _rank(item, same):
            by_text[text] = node
    return list(by_text.values())


def _rank(item: Item, node: TreeNode) -> tuple[float, int, bool, int]:
    """Return a sort key of alternatives; of equal ones, one that the tree continues is better."""
    value = item.values[node.path]
    known = -inf if value.value is None else value.value
    is_continued = node.is_finished or not item.tree.is_leaf(node.path)
    return known, value.leaves, is_continued, -node.position


def _rating(item: Item, node: TreeNode, options: RowOptions) -> int | None:
    """Return 1 for a value above the threshold, -1 for 0 or less, else 0; None without a value.

    Progress of exactly 0 is rated 0.
    """
    value = item.values[node.path].value
    if value is None:
        return None
    if options.is_good(value):
        return 1
    return 0 if value > 0 or (options.is_progress and not value) else -1


_COMPLETION = pa.struct([("text", TEXT), ("rating", pa.int64()), ("flagged", pa.bool_())])
_STEP = pa.struct(
    [
        ("completions", pa.list_(_COMPLETION)),
        ("human_completion", _COMPLETION),
        ("chosen_completion", pa.int64()),
    ]
)
_PRM800K = pa.schema(
    [
        ("labeler", TEXT),
        ("timestamp", TEXT),
        ("generation", pa.int64()),
        ("is_quality_control_question", pa.bool_()),
        ("is_initial_screening_question", pa.bool_()),
        ("question", pa.struct([("problem", TEXT), ("ground_truth_answer", TEXT)])),
        (
            "label",
            pa.struct(
                [("steps", pa.list_(_STEP)), ("total_time", pa.int64()), ("finish_reason", TEXT)]
            ),
        ),
    ]
)

PRM800K = Format(
    "prm800k",
    "trees",
    _prm800k,
    lambda *_: _PRM800K,
    0.0,
    "drop",
    "token-classification",
)
