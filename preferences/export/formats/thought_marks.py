"""Thoughts of reasoning models in datasets: kept with their marks, or dropped.

A server may return a thought in a field of its own, without marks. Trainers and chat templates
recognise a thought by `<think>` and `</think>`, so these are added if a thought has no marks. The
model's own text stays unchanged.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias, get_args

from experiment_configs.answers.extraction.thoughts import (
    closes_with_thought,
    ends_with_opening,
    is_thinking,
    opens_with_thought,
    starts_with_closing,
    without_open_thought,
)
from experiment_configs.interfaces import Prompt
from forests.core.thoughts import begins_thought
from forests.core.tree import ROOT, NodePath, ReasoningTree, TreeNode
from forests.core.values import NodeValue
from preferences.core.pairing import Pair
from preferences.export.formats.base import Item, Thoughts

OPENING, CLOSING = "<think>", "</think>"

THOUGHTS: tuple[Thoughts, ...] = get_args(Thoughts)

_Texts: TypeAlias = Mapping[NodePath, str]


def with_thoughts(item: Item, thoughts: Thoughts, left_out: Counter[str]) -> Item:
    """Return an item whose texts contain the thoughts with their marks, or no thoughts.

    The item must include its tree, even if it has pairs. `left_out` counts by reason.
    """
    number = _num_thoughts(item)
    if not number:
        return item
    if thoughts == "keep":
        texts = _marked(item.tree, item.prompt)
        tree = ReasoningTree.from_nodes(replace(node, text=texts[node.path]) for node in item.tree)
        pairs = [_as_written(pair, texts) for pair in item.pairs]
        inside = sum(map(_ends_inside_thought, pairs))
        return replace(
            item, tree=tree, pairs=pairs, num_thoughts=number, num_inside_thoughts=inside
        )
    left_out["thoughts"] += number
    pairs = _distinct((_as_written(pair, _answers(item.tree)) for pair in item.pairs), left_out)
    item = replace(item, prompt=_without_opening(item.prompt), pairs=pairs)
    return _without_thoughts(item, left_out) if item.values else item


def _num_thoughts(item: Item) -> int:
    """Return the number of thoughts that start in the texts of an item's rows."""
    tree = item.tree
    if not item.pairs:
        return sum(begins_thought(tree, node) for node in tree)
    ends = {side.path for pair in item.pairs for side in (pair.chosen, pair.rejected)}
    ways = {path[:depth] for path in ends for depth in range(1, len(path) + 1)}
    return sum(begins_thought(tree, tree.nodes[path]) for path in ways if path in tree.nodes)


def _as_written(pair: Pair, texts: _Texts) -> Pair:
    def text(path: NodePath, start: int) -> str:
        return "".join(texts[path[:depth]] for depth in range(start + 1, len(path) + 1))

    start = len(pair.prefix)
    chosen, rejected = (
        replace(side, text=text(side.path, start)) for side in (pair.chosen, pair.rejected)
    )
    return replace(pair, prefix_text=text(pair.prefix, 0), chosen=chosen, rejected=rejected)


def _ends_inside_thought(pair: Pair) -> bool:
    return any(is_thinking(pair.prefix_text + side.text) for side in (pair.chosen, pair.rejected))


# Kept


def _marked(tree: ReasoningTree, prompt: Prompt) -> _Texts:
    """Return the text of each node, with marks added to thoughts without marks."""
    texts = {node.path: node.text for node in tree}
    is_closed: dict[NodePath, bool] = {}
    for node in tree:
        if not node.is_thought:
            continue
        parent = node.path[:-1]
        is_closed[node.path] = (
            closes_with_thought(node.text) if node.text.strip() else is_closed.get(parent, False)
        )
        if begins_thought(tree, node) and not _is_opened(node, prompt):
            texts[node.path] = f"{OPENING}{_lines('', node.text, 1)}{node.text}"
        if not is_closed[node.path]:
            _close(tree, node, texts)
    return texts


def _is_opened(first: TreeNode, prompt: Prompt) -> bool:
    """Return whether a thought has an opening mark, its own or that of the prompt."""
    return opens_with_thought(first.text) or (first.depth == 1 and is_thinking(_last(prompt)))


def _close(tree: ReasoningTree, last: TreeNode, texts: dict[NodePath, str]) -> None:
    """Add the closing mark between the last step of a thought and an answer.

    The mark ends the step. But if other samples continue the thought, the mark starts the answer.
    """
    below = tree.children(last.path)
    answers = [child for child in below if not child.is_thought]
    if not answers or any(starts_with_closing(child.text) for child in answers):
        return
    mark = f"{_lines(last.text, '', 1)}{CLOSING}"
    is_shared = len(answers) == len(below)
    gap = "\n\n" if is_shared and not any(a.text.startswith("\n") for a in answers) else ""
    if is_shared:
        texts[last.path] += mark + gap
    for answer in answers:
        between = "" if gap else _lines("", answer.text, 2)
        texts[answer.path] = f"{'' if is_shared else mark}{between}{answer.text}"


def _lines(before: str, after: str, wanted: int) -> str:
    """Return the line ends to add between two texts, so that `wanted` line ends separate them."""
    there = len(before) - len(before.rstrip("\n")) + len(after) - len(after.lstrip("\n"))
    return "\n" * max(0, wanted - there)


# Left out


def _answers(tree: ReasoningTree) -> _Texts:
    """Return the text of each node: empty for thoughts, no leading line ends after a thought."""
    texts = {}
    for node in tree:
        follows = bool(node.path) and tree.nodes[node.path[:-1]].is_thought
        text = node.text.lstrip("\n") if follows else node.text
        texts[node.path] = "" if node.is_thought else text
    return texts


def _distinct(pairs: Iterable[Pair], left_out: Counter[str]) -> list[Pair]:
    kept: dict[tuple[str, str, str], Pair] = {}
    for pair in pairs:
        if not (pair.chosen.text.strip() and pair.rejected.text.strip()):
            left_out["pairs_within_a_thought"] += 1
        elif pair.chosen.text == pair.rejected.text:
            left_out["pairs_that_differ_in_thoughts_alone"] += 1
        elif kept.setdefault(pair.texts, pair) is not pair:
            left_out["pairs_repeated_without_thoughts"] += 1
    return list(kept.values())


def _without_thoughts(item: Item, left_out: Counter[str]) -> Item:
    """Return an item without thoughts: steps after a thought follow the step before it."""
    tree, texts = item.tree, _answers(item.tree)
    stays = _staying(tree, left_out)
    part = ReasoningTree.from_nodes([replace(tree.root)])
    place: dict[NodePath, NodePath] = {ROOT: ROOT}
    values: dict[NodePath, NodeValue] = {ROOT: item.values[ROOT]}
    for node in tree:
        if node.path not in stays or not node.path:
            continue
        parent = place[node.path[:-1]]
        if node.is_thought:
            place[node.path] = parent
            continue
        path = place[node.path] = (*parent, part.next_position(parent))
        drawn: Counter[int] = Counter()
        for depth, number in node.drawn.items():
            # Samples drawn after a thought remain evidence; they are not solutions from the root.
            drawn[max(min(depth, 1), len(place[node.path[:depth]]))] += number
        part.add(replace(node, path=path, text=texts[node.path], drawn=dict(drawn)))
        values[path] = item.values[node.path]
    annotation = item.annotation
    if annotation is not None:
        steps = {
            place[path] for path in annotation.steps & stays if not tree.nodes[path].is_thought
        }
        annotation = replace(annotation, steps=steps)
    critic = item.critic.moved(
        {old: new for old, new in place.items() if not tree.nodes[old].is_thought}
    )
    return replace(item, tree=part, values=values, annotation=annotation, critic=critic)


def _staying(tree: ReasoningTree, left_out: Counter[str]) -> set[NodePath]:
    """Return the nodes on paths that do not end in the middle of a thought."""
    stays = {ROOT}
    for node in tree.bottom_up():
        below = tree.children(node.path)
        if any(child.path in stays for child in below) or (not below and not node.is_thought):
            stays.add(node.path)
        elif not below:
            left_out["solutions_cut_in_a_thought"] += 1
    return stays


def _without_opening(prompt: Prompt) -> Prompt:
    """Return a prompt without an opening mark at its end."""
    if not ends_with_opening(last := _last(prompt)):
        return prompt
    rest = without_open_thought(last)
    if isinstance(prompt, str):
        return rest
    return [*prompt[:-1], {**prompt[-1], "content": rest}]


def _last(prompt: Prompt) -> str:
    """Return the text that the model continues: the prompt, or the last assistant message."""
    if isinstance(prompt, str):
        return prompt
    return prompt[-1]["content"] if prompt and prompt[-1]["role"] == "assistant" else ""
