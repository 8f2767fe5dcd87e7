"""What all growth strategies share: expansions, the node limit, and how samples become nodes.

`max_nodes` limits the nodes of a tree below its root. A strategy asks only for samples that are
sure to fit: it counts a rollout as all the steps up to `max_depth`, and a single step as one node.
So the limit never cuts or discards a solution because of its length, which would bias the Monte
Carlo values. Nodes that growth did not reach stay open: they have no result.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import takewhile
from typing import TypeAlias

from common.text import describe
from experiment_configs.answers import (
    closes_thought,
    closes_with_thought,
    is_thinking,
    split_thoughts,
    without_thoughts,
)
from experiment_configs.interfaces import ConfigError, RolloutWorkerConfig
from forests.core.tokens.branches import ids_to
from forests.core.tokens.kept import KeptTokens, given
from forests.core.tree import NodePath, ReasoningTree, TreeNode, format_path
from forests.core.values import ESTIMATORS, Estimator
from rollouts.steps.completions import Completion, Ending, TokenLogprobs
from rollouts.steps.rules import StepRule, share_logprobs, share_tokens, split_pieces


@dataclass(frozen=True, slots=True)
class Expansion:
    """A request for samples from one node."""

    node: NodePath
    num_samples: int
    to_end: bool
    """Whether the samples are whole solutions; otherwise one step each."""
    seed: int
    origin: int | None = None
    """If the samples complete torn rollouts: depth of the node from which these were drawn."""
    number: int = 0
    """Number of the first sample among all those requested from the node; the seed depends on it.
    """

    @property
    def drawn_from(self) -> int:
        return len(self.node) if self.origin is None else self.origin


@dataclass(slots=True)
class Changes:
    """Nodes added to a tree, parents first, and existing nodes that changed."""

    added: dict[NodePath, TreeNode] = field(default_factory=dict)
    changed: dict[NodePath, TreeNode] = field(default_factory=dict)

    def note(self, node: TreeNode, *, is_new: bool) -> None:
        if is_new:
            self.added[node.path] = node
        elif node.path not in self.added:
            self.changed[node.path] = node


FindAnswer: TypeAlias = Callable[[str, Sequence[str]], int | None]
"""Gets the text before a sample and the sample's steps. Returns the number of steps up to and
including the one that gives the answer; None if there is no answer."""


ReadSample: TypeAlias = list[TreeNode]
"""The steps of one sample, as nodes without paths."""


class GrowthStrategy(ABC):
    """Decides which nodes to expand next, and when a tree is complete.

    Pure: the tree alone determines the decision, so growth resumes from any stored state.
    """

    estimators: tuple[Estimator, ...] = ESTIMATORS
    """Plugins set this: the estimators that have a meaning for their trees, their own first. Those
    of the built-in strategies are in `forests.core.estimators`."""

    def __init__(
        self,
        config: RolloutWorkerConfig,
        find_answer: FindAnswer,
        step_rule: StepRule | None = None,
    ) -> None:
        """`step_rule`: where steps end; None: the rule of `config`."""
        self.config = config
        self.find_answer = find_answer
        self.step_rule = step_rule or StepRule.of(config)

    @abstractmethod
    def wanted(self, tree: ReasoningTree) -> Iterable[Expansion]:
        """Return the missing expansions that can run in parallel now, the most important first.

        An empty result means that the tree is complete.
        """

    @classmethod
    def most_nodes(cls, config: RolloutWorkerConfig) -> int | None:
        """Return the maximum number of nodes that a tree can need; None if it is not known."""
        del config
        return None

    def plan(self, tree: ReasoningTree) -> list[Expansion]:
        """Return the wanted expansions that fit within `max_nodes`; an empty list ends growth.

        Raises:
            ConfigError: the strategy comes from a package, and failed. Only this tree fails.
        """
        try:
            return list(_that_fit(self.config, tree, self.wanted(tree)))
        except Exception as error:
            if isinstance(error, ConfigError) or not self.config.strategy_package:
                raise
            raise ConfigError(
                f"strategy {self.config.strategy!r} of {self.config.strategy_package} failed: "
                f"{describe(error)}"
            ) from error

    def hit_max_nodes(self, tree: ReasoningTree) -> bool:
        """Return whether `max_nodes` alone ended growth."""
        return not self.plan(tree) and any(True for _ in self.wanted(tree))

    def apply(
        self, tree: ReasoningTree, expansion: Expansion, completions: Sequence[Completion]
    ) -> Changes:
        """Add samples to the tree and return the changes."""
        return self.add_samples(tree, expansion, self.read_samples(tree, expansion, completions))

    def read_samples(
        self, tree: ReasoningTree, expansion: Expansion, completions: Sequence[Completion]
    ) -> list[ReadSample]:
        """Return the steps of each sample, without changing the tree: the slow part of `apply`."""
        before = tree.solution_text(expansion.node)
        find_answer = cache(self.find_answer)

        def read(one: Completion) -> ReadSample:
            written = written_steps(one, self.config, self.step_rule)
            return _new_steps(expansion, one, written, self.config, partial(find_answer, before))

        return [read(one) for one in completions]

    def add_samples(
        self, tree: ReasoningTree, expansion: Expansion, samples: Iterable[ReadSample]
    ) -> Changes:
        """Add the steps of samples to the tree and return the changes."""
        return add_samples(tree, expansion, samples, self.config)


def _that_fit(
    config: RolloutWorkerConfig, tree: ReasoningTree, wanted: Iterable[Expansion]
) -> Iterator[Expansion]:
    """Yield expansions until one may not fit; of that one, only the samples that surely fit."""
    nodes_left = config.max_nodes - (len(tree) - 1)
    for expansion in wanted:
        nodes_each = max(1, config.max_depth - len(expansion.node)) if expansion.to_end else 1
        num_samples = min(expansion.num_samples, nodes_left // nodes_each)
        if num_samples > 0:
            nodes_left -= num_samples * nodes_each
            yield replace(expansion, num_samples=num_samples)
        if num_samples < expansion.num_samples:
            return


def sample_seed(config: RolloutWorkerConfig, path: NodePath, number: int) -> int:
    """Return the seed (31 bits) of a request, which is the same when the request is repeated.

    `number`: number of its first sample among those requested from the node. Different trees share
    seeds, because their prompts differ.
    """
    key = f"{config.seed}/{format_path(path)}/{number}"
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest()) >> 1


def steps_from(
    config: RolloutWorkerConfig, tree: ReasoningTree, node: TreeNode, num_wanted: int
) -> Iterator[Expansion]:
    """Yield requests for the single steps that a node still lacks."""
    missing = num_wanted - num_drawn(tree, node.path, node.depth)
    number = next_number(tree, node.path)
    yield from requests_from(config, node, missing, number, to_end=False)


def rollouts_from(
    config: RolloutWorkerConfig, tree: ReasoningTree, node: TreeNode, num_wanted: int
) -> Iterator[Expansion]:
    """Yield requests for the rollouts that a node still lacks."""
    missing = num_wanted - num_drawn(tree, node.path, node.depth)
    number = next_number(tree, node.path)
    yield from requests_from(config, node, missing, number, to_end=True)


def torn_rollouts(config: RolloutWorkerConfig, tree: ReasoningTree) -> Iterator[Expansion]:
    """Yield requests that complete torn rollouts: only their first steps were stored.

    The samples count as rollouts of the node from which the torn rollout was drawn.
    """
    for node in sorted(tree, key=lambda node: node.path):
        if node.is_finished:
            continue
        number = next_number(tree, node.path)
        for origin, num_begun in sorted(node.drawn.items()):
            missing = max(0, num_begun - num_drawn(tree, node.path, origin))
            yield from requests_from(config, node, missing, number, to_end=True, origin=origin)
            number += missing


def num_drawn(tree: ReasoningTree, path: NodePath, origin: int) -> int:
    """Return how many samples drawn at depth `origin` of the path continue below the node."""
    return sum(child.drawn.get(origin, 0) for child in tree.children(path))


def next_number(tree: ReasoningTree, path: NodePath) -> int:
    """Return the number of the next sample to request from a node.

    It is above the numbers of all stored samples. Counting the samples is not enough: if one of
    several requests failed or gave fewer samples, later numbers are already in use, and their seeds
    would draw the same samples again.
    """
    children = tree.children(path)
    num_samples = sum(child.count for child in children)
    return max([num_samples, *(child.numbered_to for child in children)])


def requests_from(
    config: RolloutWorkerConfig,
    node: TreeNode,
    missing: int,
    number: int,
    *,
    to_end: bool,
    origin: int | None = None,
) -> Iterator[Expansion]:
    """Yield requests for `missing` samples of a node, numbered from `number` on."""
    while missing > 0:
        size = min(missing, config.samples_per_request)
        seed = sample_seed(config, node.path, number)
        yield Expansion(node.path, size, to_end, seed, origin, number)
        missing -= size
        number += size


def add_samples(
    tree: ReasoningTree,
    expansion: Expansion,
    samples: Iterable[ReadSample],
    config: RolloutWorkerConfig,
) -> Changes:
    """Add samples below the expanded node, step by step, and merge steps that already exist.

    If a server gave more than requested, steps beyond `max_nodes` are not stored, and the step
    before them stays open.
    """
    changes = Changes()
    drawn = list(samples)
    if config.keep_tokens:
        _join_tokens(tree, expansion.node, drawn)
    for sample in drawn:
        parent, follows = expansion.node, True
        sample[0].numbered_to = expansion.number + len(drawn)
        for step in sample:
            step.path = (*parent, tree.next_position(parent))
            if len(tree) > config.max_nodes and _same_sibling(tree, step) is None:
                break
            kept = step.kept
            if kept and not follows:
                step.kept = replace(kept, follows=False)
            node, is_new = add_or_merge(tree, step)
            changes.note(node, is_new=is_new)
            parent, follows = node.path, is_new or (follows and _have_same_ids(node.kept, kept))
    return changes


def _join_tokens(tree: ReasoningTree, path: NodePath, samples: Sequence[ReadSample]) -> None:
    """Compare the ids that the server had before samples with those of the steps above them.

    If the server had more ids, these become a part of the first step: the server cut off a
    delimiter before. The first sample of a tree gives the ids of the prompt.
    """
    firsts = [(sample[0], kept) for sample in samples if (kept := sample[0].kept)]
    if not path and tree.root.kept is None:
        told = next((kept.prompt for _, kept in firsts if kept.prompt), None)
        tree.root.kept = given(told) if told else None
    known = ids_to(tree, path)
    for first, kept in firsts:
        before = kept.prompt
        if known is None or before is None or before[: len(known)] != known:
            first.kept = replace(kept, follows=False, prompt=None)
            continue
        between = given(before[len(known) :])
        first.kept = KeptTokens(
            ids=between.ids + kept.ids,
            logprobs=between.logprobs + kept.logprobs,
            lengths=between.lengths + kept.lengths,
        )


def _have_same_ids(one: KeptTokens | None, other: KeptTokens | None) -> bool:
    return one is not None and other is not None and one.ids == other.ids


def split_off_thought(tree: ReasoningTree, path: NodePath) -> tuple[str, str]:
    """Return the thought that the server split off before the steps of a path, and those steps.

    A thought inside the text, recognised by its marks, is part of the steps.
    """
    nodes = tree.path_nodes(path)
    thought = "".join(node.text for node in takewhile(lambda node: node.is_thought, nodes))
    if not thought:
        return "", "".join(node.text for node in nodes)
    if is_thinking(thought) or closes_thought(thought) or without_thoughts(thought) != thought:
        thought = ""
    return thought, tree.steps_text(path).removeprefix(thought)


def add_or_merge(tree: ReasoningTree, step: TreeNode) -> tuple[TreeNode, bool]:
    """Add a step to the tree, or count it on a sibling with the same text and the same ending.

    Returns the node and whether it is new. A step that ends a solution is never merged with one
    that continues: samples end at leaves only.
    """
    sibling = _same_sibling(tree, step)
    if sibling is None:
        tree.add(step)
        return step, True
    sibling.count += step.count
    sibling.numbered_to = max(sibling.numbered_to, step.numbered_to)
    for depth, number in step.drawn.items():
        sibling.drawn[depth] = sibling.drawn.get(depth, 0) + number
    return sibling, False


def _same_sibling(tree: ReasoningTree, step: TreeNode) -> TreeNode | None:
    wanted = (step.text, step.terminal, step.truncated, step.is_thought)
    for sibling in tree.children(step.path[:-1]):
        found = (sibling.text, sibling.terminal, sibling.truncated, sibling.is_thought)
        if found == wanted:
            return sibling
    return None


def _new_steps(
    expansion: Expansion,
    completion: Completion,
    written: Sequence[TreeNode],
    config: RolloutWorkerConfig,
    find_answer: Callable[[tuple[str, ...]], int | None],
) -> list[TreeNode]:
    """Return the written steps to keep, with their ending.

    A solution ends with the step that gives its answer, and is truncated at `max_depth`. Thoughts
    do not give answers.
    """
    depth_left = config.max_depth - len(expansion.node)
    said = [number for number, step in enumerate(written[:depth_left]) if not step.is_thought]
    answer_at = find_answer(tuple(written[number].text for number in said)) if said else None
    num_kept = said[answer_at - 1] + 1 if answer_at else len(written[:depth_left])
    is_whole = num_kept == len(written)
    terminal = answer_at is not None or (is_whole and completion.ending is Ending.SOLUTION)
    is_cut = completion.ending is Ending.LIMIT or num_kept == depth_left
    steps = list(written[:num_kept])
    for step in steps:
        step.model = completion.model
        step.seed = expansion.seed
        step.drawn = {expansion.drawn_from: 1}
    if last := steps[-1].kept:
        steps[-1].kept = last.until(len(steps[-1].text))
    steps[-1].terminal = terminal
    steps[-1].truncated = is_cut and not terminal
    steps[-1].finish_reason = completion.finish_reason
    return steps


def written_steps(
    completion: Completion, config: RolloutWorkerConfig, step_rule: StepRule
) -> list[TreeNode]:
    """Return a sample's steps as nodes without paths; `reasoning` decides what becomes of thoughts.

    Raises:
        ConfigError: as `StepRule.split`.
    """
    rule_of_thoughts = step_rule if config.reasoning == "grow" else None
    thought = [(completion.thought, True)] if completion.thought else []
    said = split_thoughts(completion.text, is_inside=completion.begins_in_thought)
    steps = [
        *_nodes(
            split_pieces(thought, step_rule, rule_of_thoughts),
            completion.thought_tokens,
            completion.thought_logprobs,
        ),
        *_nodes(
            split_pieces(said, step_rule, rule_of_thoughts),
            completion.tokens,
            completion.token_logprobs,
        ),
    ]
    if completion.kept:
        parts = completion.kept.split([step.text for step in steps] or [""])
        steps = steps or [TreeNode(path=(), text="", tokens=completion.tokens)]
        for step, part in zip(steps, parts, strict=True):
            step.kept = part
    if steps and steps[-1].is_thought and completion.ending is Ending.STEP:
        # Line breaks after the closing mark arrive with the thought or with the next step. Remove
        # them here, so that equal thoughts merge into one node.
        thought_text = steps[-1].text
        if closes_with_thought(thought_text):
            steps[-1].text = thought_text.rstrip()
    if config.reasoning == "drop":
        steps = [step for step in steps if not step.is_thought]
    return steps or [TreeNode(path=(), text="", tokens=completion.tokens)]


def _nodes(
    steps: Sequence[tuple[str, bool]], tokens: int, logprobs: TokenLogprobs | None
) -> Iterator[TreeNode]:
    """Yield nodes for the steps, and divide the tokens among them."""
    texts = [text for text, _ in steps]
    shares = zip(share_tokens(tokens, texts), share_logprobs(logprobs, texts), strict=True)
    for (text, is_thought), (number, logprob) in zip(steps, shares, strict=True):
        yield TreeNode(path=(), text=text, tokens=number, logprob=logprob, is_thought=is_thought)
