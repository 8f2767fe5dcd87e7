"""Format `verifiers`: one message graph for each tree, with token ids, for tree RL.

A row is a `Trace` of verifiers v1 (0.4.0, `verifiers/v1/trace.py` and `graph.py`). prime-rl trains
on traces: each path from the root to a leaf is a sequence, and a shared step is trained once. Rows
can be read back with `WireTrace.model_validate`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from forests.core.tokens.branches import Chain, chain_of
from forests.core.tokens.kept import KeptTokens
from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode, format_path
from forests.core.values import NodeValue
from preferences.core.progress import progress_values
from preferences.export.formats.base import TEXT, Format, Item, Row, RowOptions
from preferences.export.formats.prompts import Message, as_messages

TRACE_VERSION = 1
"""The value of `verifiers.v1.trace.TRACE_VERSION`."""


def advantages(
    tree: ReasoningTree, values: Mapping[NodePath, NodeValue], *, is_progress: bool
) -> dict[NodePath, float | None]:
    """Return the advantage of each step: its value minus the value of the prefix before it.

    It is the segment advantage of SPO (2505.23564) and the local advantage of TreeRL (2506.11902).
    TreeRL also adds a global advantage: the value minus the root's value. None: one of the two
    values is missing.

    `is_progress`: whether the given values already are these differences.
    """
    found = values if is_progress else progress_values(tree, values)
    return {node.path: found[node.path].value for node in tree if node.path}


def _verifiers(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield the trace of a tree, with the solutions whose token ids are all known."""
    if item.tree.root.kept is None:
        dropped["trees_without_prompt_ids"] += 1
        return
    kept = _steps_to_write(item.tree, dropped)
    if not kept:
        dropped["trees_without_tokens"] += 1
        return
    gains = advantages(item.tree, item.values, is_progress=options.is_progress)
    dropped["steps_without_advantage"] += sum(gains[node.path] is None for node in kept)
    moment = datetime.fromisoformat(item.timestamp).replace(tzinfo=UTC).timestamp()
    messages = as_messages(item.prompt)
    nodes = [
        _node(one, number - 1 if number else None, moment, item.tree.root.kept, is_last=is_last)
        for number, one in enumerate(messages)
        for is_last in [number == len(messages) - 1]
    ]
    places = {ROOT: len(nodes) - 1}
    for step in kept:
        places[step.path] = len(nodes)
        nodes.append(_step(step, places[step.path[:-1]], moment, gains[step.path]))
    value = item.values[ROOT].value
    yield {
        "version": TRACE_VERSION,
        "id": f"{item.dataset}-{item.index}",
        "task": {
            "type": "Tree",
            "data": {"idx": item.index, "name": item.dataset, "prompt": messages},
            "key": f"{item.dataset}-{item.index}",
        },
        "agent": {"config": {"model": kept[0].model or None}, "name": "agent", "trainable": True},
        "nodes": nodes,
        "rewards": {"value": None if value is None else {"score": value, "weight": 1.0}},
        "info": {
            "question": item.asked,
            "label": item.label,
            "steps": [_info(step, places[step.path], item) for step in kept],
        },
        "is_completed": True,
        "ok": True,
    }


def _steps_to_write(tree: ReasoningTree, dropped: Counter[str]) -> list[TreeNode]:
    """Return the steps of all solutions with known token ids, parents first."""
    kept: set[NodePath] = set()
    for leaf in tree.leaves():
        chain = chain_of(tree, leaf.path)
        if chain is Chain.BROKEN:
            dropped["solutions_tokenized_otherwise"] += 1
        elif chain is Chain.UNKNOWN:
            dropped["solutions_without_tokens"] += 1
        elif leaf.path:
            kept |= {leaf.path[:depth] for depth in range(1, leaf.depth + 1)}
    return [tree.nodes[path] for path in sorted(kept, key=lambda path: (len(path), path))]


def _node(
    message: Message, parent: int | None, moment: float, prompt: KeptTokens, *, is_last: bool
) -> Row:
    """Return a message of the prompt; the last message has the token ids of them all."""
    ids = list(prompt.ids) if is_last else []
    return {
        "parent": parent,
        "message": message,
        "sampled": False,
        "timestamp": moment,
        "token_ids": ids,
        "mask": [False] * len(ids),
        "logprobs": [],
        "advantages": None,
    }


def _step(step: TreeNode, parent: int, moment: float, advantage: float | None) -> Row:
    kept = step.kept or KeptTokens((), (), ())
    said = (
        {"content": None, "reasoning_content": step.text}
        if step.is_thought
        else {"content": step.text}
    )
    return {
        "parent": parent,
        "message": {"role": "assistant", **said},
        "sampled": True,
        "timestamp": moment,
        "token_ids": list(kept.ids),
        "mask": [one is not None for one in kept.logprobs],
        "logprobs": [one for one in kept.logprobs if one is not None],
        "advantages": None if advantage is None else [advantage] * kept.num_sampled,
    }


def _info(step: TreeNode, place: int, item: Item) -> dict[str, Any]:
    return {
        "node": place,
        "path": format_path(step.path),
        "value": item.values[step.path].value,
        "samples": step.count,
        "grade": None if step.grade is None else str(step.grade),
        "answer": step.answer,
    }


_NUMBERS = pa.list_(pa.float64())
_MESSAGE = pa.struct([("role", TEXT), ("content", TEXT), ("reasoning_content", TEXT)])
_NODE = pa.struct(
    [
        ("parent", pa.int64()),
        ("message", _MESSAGE),
        ("sampled", pa.bool_()),
        ("timestamp", pa.float64()),
        ("token_ids", pa.list_(pa.int64())),
        ("mask", pa.list_(pa.bool_())),
        ("logprobs", _NUMBERS),
        ("advantages", _NUMBERS),
    ]
)
_DATA = pa.struct(
    [
        ("idx", pa.int64()),
        ("name", TEXT),
        ("prompt", pa.list_(pa.struct([("role", TEXT), ("content", TEXT)]))),
    ]
)
_REWARD = pa.struct([("score", pa.float64()), ("weight", pa.float64())])
_STEP = pa.struct(
    [
        ("node", pa.int64()),
        ("path", TEXT),
        ("value", pa.float64()),
        ("samples", pa.int64()),
        ("grade", TEXT),
        ("answer", TEXT),
    ]
)
_SCHEMA = pa.schema(
    [
        ("version", pa.int64()),
        ("id", TEXT),
        ("task", pa.struct([("type", TEXT), ("data", _DATA), ("key", TEXT)])),
        (
            "agent",
            pa.struct(
                [
                    ("config", pa.struct([("model", TEXT)])),
                    ("name", TEXT),
                    ("trainable", pa.bool_()),
                ]
            ),
        ),
        ("nodes", pa.list_(_NODE)),
        ("rewards", pa.struct([("value", _REWARD)])),
        (
            "info",
            pa.struct([("question", TEXT), ("label", TEXT), ("steps", pa.list_(_STEP))]),
        ),
        ("is_completed", pa.bool_()),
        ("ok", pa.bool_()),
    ]
)

TRACE_FORMATS = (
    Format(
        "verifiers",
        "trees",
        _verifiers,
        lambda *_: _SCHEMA,
        needs_tokens=True,
        containers=("jsonl",),
    ),
)
