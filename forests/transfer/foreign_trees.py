"""Convert trees that other programs made.

`openr`: the output of OpenR's OmegaPRM (github.com/openreasoner/openr, data/omegaPRM_v2, at commit
110e970): `question`, `final_answer`, and `reasoning_steps`, the root. Each node has `text`,
`mc_value` and `children`. The steps were written with blank lines between them, which are not in
the file.

`jsonl`: `prompt` (a text or chat messages), `label`, `children`, and optionally `item` (Markdown)
and `question` (what the prompt asks, without its examples and instructions). Each node has `text`,
exactly as the model wrote it, and optionally `children`, `count` (samples that gave this step),
`drawn` (the same samples by the depth of the ancestor from which they were drawn), and `value`, or
instead of `value` `rollouts` and `correct` as whole numbers. A leaf may have `answer` and `correct`
(true or false). The line itself may have the value of the root in the same fields.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.json_lines import is_number
from common.plugins import Registry
from common.storable import storing_problem
from common.text import describe
from experiment_configs.questions import question_of_prompt
from forests.core.prefix import is_prompt
from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode

MAX_DEPTH = 200
MAX_NODES = 100_000
MAX_SAMPLES = 1_000_000
"""Most samples of all steps of a tree together: metrics look at each of them."""
MAX_CHARACTERS = 1_000_000
"""Most characters of one text: a MongoDB document has at most 16 MB."""
_OPENR_DELIMITER = "\n\n"
_ROUNDED = 1e-3
"""Largest difference between a value written with few digits and the share it stands for."""


class ForeignTreeError(Exception):
    """A tree cannot be read. The message says what is wrong with it."""


@dataclass(slots=True)
class ForeignTree:
    """One tree, not graded yet."""

    prompt: Any
    label: str
    item: str
    question: str
    """The question, without the examples and instructions of the prompt."""
    tree: ReasoningTree = field(default_factory=ReasoningTree)
    values: dict[NodePath, float] = field(default_factory=dict)
    """The other program's values of nodes, including the root."""
    correct: dict[NodePath, bool] = field(default_factory=dict)
    """Leaves whose grade is in the file."""
    presumed: dict[NodePath, bool] = field(default_factory=dict)
    """The grades of leaves that turn out to state no answer."""


def read_openr(row: Any) -> ForeignTree:
    """Return the tree of one object.

    A leaf that states no answer is a prefix whose rollouts are not in the file. It counts as
    correct if most of its rollouts were.

    Raises:
        ForeignTreeError: the object is not in OpenR's format.
    """
    row = _mapping(row, "the line")
    question = _text(row, "question")
    root = _mapping(row.get("reasoning_steps"), "reasoning_steps")
    found = ForeignTree(
        prompt=question, label=_label(row, "final_answer"), item=question, question=question.strip()
    )
    for path, node in _walk(_children(root)):
        text = _text(node, "text")
        is_leaf = not node.get("children")
        value = _number(node, "mc_value")
        found.tree.add(
            TreeNode(
                path,
                text=text if is_leaf else text + _OPENR_DELIMITER,
                terminal=is_leaf,
            )
        )
        if value is not None:
            found.values[path] = value
            if is_leaf:
                found.presumed[path] = value > 0.5  # noqa: PLR2004  most of its rollouts
    found.prompt = question + _OPENR_DELIMITER
    if (value := _number(root, "mc_value")) is not None:
        found.values[ROOT] = value
    return found


def read_jsonl(row: Any) -> ForeignTree:
    """Return the tree of one object.

    Raises:
        ForeignTreeError: the object is not in the format described above.
    """
    row = _mapping(row, "the line")
    prompt = _prompt(row.get("prompt"))
    item = row.get("item", prompt if isinstance(prompt, str) else prompt[-1]["content"])
    if not isinstance(item, str):
        raise ForeignTreeError("`item` must be a text")
    _check_length(item, "item")
    question = _text(row, "question") if "question" in row else question_of_prompt(prompt)
    found = ForeignTree(
        prompt=prompt, label=_label(row, "label"), item=item, question=question.strip()
    )
    for path, node in _walk(_children(row)):
        found.tree.add(_jsonl_node(node, path))
        _note_worth(found, node, path)
    _note_worth(found, row, ROOT)
    if sum(node.count for node in found.tree) > MAX_SAMPLES:
        raise ForeignTreeError(f"the `count`s of its nodes add up to more than {MAX_SAMPLES}")
    _check_drawn(found.tree)
    return found


READERS: Registry[Callable[[Any], ForeignTree]] = Registry(
    "prm.tree_readers",
    "tree reader",
    {"openr": read_openr, "jsonl": read_jsonl},
    lambda _, loaded: "" if callable(loaded) else "is not a function",
)
"""By the name of the format: ours, and those of plugins (docs/extending.md)."""


def read_tree(row: Any, format_name: str) -> ForeignTree:
    """Return the tree of one row.

    Raises:
        ForeignTreeError: the row is not what the format says, or the reader of a plugin fails.
        PluginError: the plugin cannot be loaded.
    """
    reader = READERS[format_name]
    if not (package := READERS.package(format_name)):
        return reader(row)
    try:
        found = reader(row)
        _check_tree(found)
    except ForeignTreeError:
        raise
    except Exception as error:  # it is code that is not ours
        raise ForeignTreeError(f"the reader of {package} failed: {describe(error)}") from error
    return found


def _check_tree(found: object) -> None:
    """Refuse what our own readers never return.

    Raises:
        ForeignTreeError: it is too large, or holds what cannot be stored.
    """
    if not isinstance(found, ForeignTree):
        raise ForeignTreeError(f"its reader must return a ForeignTree, not {type(found).__name__}")
    if len(found.tree) > MAX_NODES:
        raise ForeignTreeError(f"more than {MAX_NODES} nodes")
    if sum(node.count for node in found.tree) > MAX_SAMPLES:
        raise ForeignTreeError(f"the counts of its nodes add up to more than {MAX_SAMPLES}")
    found.prompt = _prompt(found.prompt)
    for name in ("label", "item", "question"):
        _text({name: getattr(found, name)}, name)
    for node in found.tree:
        if node.depth > MAX_DEPTH:
            raise ForeignTreeError(f"more than {MAX_DEPTH} steps on a path")
        if node.path:
            _text({"text": node.text}, "text")


def _walk(first: list[Any]) -> Iterator[tuple[NodePath, Mapping[str, Any]]]:
    """Yield each node with its path, parents first, siblings in order."""
    waiting: list[tuple[NodePath, list[Any]]] = [(ROOT, first)]
    number = 0
    while waiting:
        path, children = waiting.pop()
        if children and len(path) >= MAX_DEPTH:
            raise ForeignTreeError(f"more than {MAX_DEPTH} steps on a path")
        for position, child in enumerate(children):
            number += 1
            if number > MAX_NODES:
                raise ForeignTreeError(f"more than {MAX_NODES} nodes")
            node = _mapping(child, f"node {[*path, position]}")
            yield (*path, position), node
            waiting.append(((*path, position), _children(node)))


def _children(node: Mapping[str, Any]) -> list[Any]:
    children = node.get("children") or []
    if not isinstance(children, list):
        raise ForeignTreeError("`children` must be a list")
    return children


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ForeignTreeError(f"{what} must be a JSON object")
    return value


def _text(node: Mapping[str, Any], key: str) -> str:
    text = node.get(key)
    if not isinstance(text, str) or not text.strip():
        raise ForeignTreeError(f"`{key}` must be a text that is not blank")
    _check_length(text, key)
    return text


def _check_length(text: str, key: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise ForeignTreeError(f"`{key}` has more than {MAX_CHARACTERS} characters")


def _label(row: Mapping[str, Any], key: str) -> str:
    label = row.get(key)
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        raise ForeignTreeError(f"`{key}` must be a text or a number")
    if not str(label).strip():
        raise ForeignTreeError(f"`{key}` is blank: give the correct answer")
    _check_length(str(label), key)
    return str(label)


def _number(node: Mapping[str, Any], key: str) -> float | None:
    value = node.get(key)
    if value is None:
        return None
    if not is_number(value):
        raise ForeignTreeError(f"`{key}` must be a number")
    return float(value)


def _whole_number(
    node: Mapping[str, Any], path: NodePath, key: str, default: int | None, *, at_least: int
) -> int:
    number = node.get(key, default)
    if type(number) is not int or not at_least <= number <= MAX_SAMPLES:
        raise ForeignTreeError(
            f"`{key}` of node {list(path)} must be a whole number from {at_least} to {MAX_SAMPLES}"
        )
    return number


def _jsonl_node(node: Mapping[str, Any], path: NodePath) -> TreeNode:
    drawn = _drawn(node, path)
    count = _whole_number(node, path, "count", sum(drawn.values()) or 1, at_least=1)
    if drawn and count != sum(drawn.values()):
        raise ForeignTreeError(
            f"`drawn` of node {list(path)} has {sum(drawn.values())} samples, and `count` {count}: "
            "they must be the same"
        )
    answer = node.get("answer")
    if answer is not None and not isinstance(answer, str):
        raise ForeignTreeError(f"`answer` of node {list(path)} must be a text")
    _check_length(answer or "", "answer")
    return TreeNode(
        path,
        text=_text(node, "text"),
        count=count,
        drawn=drawn,
        terminal=not node.get("children"),
        answer=answer,
    )


def _note_worth(found: ForeignTree, node: Mapping[str, Any], path: NodePath) -> None:
    """Keep the file's value of a node and, at a leaf, whether it is correct."""
    is_leaf = bool(path) and not node.get("children")
    value, has_rollouts = _value(node, path)
    correct = node.get("correct")
    if value is not None:
        found.values[path] = value
    if has_rollouts:
        if is_leaf and value is not None:
            found.presumed[path] = value > 0.5  # noqa: PLR2004  most of its rollouts
    elif path and correct is not None:
        if not isinstance(correct, bool):
            raise ForeignTreeError(
                f"`correct` of node {list(path)} must be true or false, or come with `rollouts`"
            )
        if is_leaf:
            found.correct[path] = correct


def _value(node: Mapping[str, Any], path: NodePath) -> tuple[float | None, bool]:
    """Return the value of a node, and whether the file gives it as counts of rollouts."""
    value = _number(node, "value")
    if node.get("rollouts") is None:
        return value, False
    rollouts = _whole_number(node, path, "rollouts", None, at_least=1)
    correct = _whole_number(node, path, "correct", None, at_least=0)
    if correct > rollouts:
        raise ForeignTreeError(
            f"`correct` of node {list(path)} is {correct}, more than its {rollouts} `rollouts`"
        )
    share = correct / rollouts
    if value is not None and abs(value - share) > _ROUNDED:
        raise ForeignTreeError(
            f"`value` of node {list(path)} is {value:g}, and `correct` of `rollouts` {share:g}: "
            "they must be the same, or leave one out"
        )
    return share, True


def _drawn(node: Mapping[str, Any], path: NodePath) -> dict[int, int]:
    """Return the samples of a node by the depth from which they were drawn; empty if not given."""
    drawn = node.get("drawn")
    if drawn is None:
        return {}
    depths = {str(depth): depth for depth in range(len(path))}
    if not isinstance(drawn, Mapping) or not drawn or not drawn.keys() <= depths.keys():
        raise ForeignTreeError(
            f"`drawn` of node {list(path)} must give samples by depths from 0 to {len(path) - 1}, "
            'such as {"0": 3}'
        )
    return {depths[depth]: _whole_number(drawn, path, depth, None, at_least=1) for depth in drawn}


def _check_drawn(tree: ReasoningTree) -> None:
    """Refuse a tree whose samples do not add up, or that has `drawn` at only some nodes."""
    told = [bool(node.drawn) for node in tree if node.path]
    if not any(told):
        return
    if not all(told):
        raise ForeignTreeError("every node of a tree must have `drawn`, or none")
    for node in tree:
        for depth in range(node.depth):
            below = sum(child.drawn.get(depth, 0) for child in tree.children(node.path))
            if below > node.drawn.get(depth, 0):
                raise ForeignTreeError(
                    f"{below} samples drawn from depth {depth} pass below node {list(node.path)}, "
                    f"and only {node.drawn.get(depth, 0)} through it"
                )


def _prompt(prompt: Any) -> Any:
    if not is_prompt(prompt) or (isinstance(prompt, str) and not prompt.strip()):
        raise ForeignTreeError("`prompt` must be a text, or a list of {role, content}")
    if problem := storing_problem(prompt):
        raise ForeignTreeError(f"`prompt` {problem}")
    written = json.dumps(prompt, ensure_ascii=False)
    _check_length(written, "prompt")
    return json.loads(written)  # plain numbers, which the database accepts
