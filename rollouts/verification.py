"""Try a config on a model server, before anything is written."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from experiment_configs.interfaces import (
    ConfigError,
    RolloutConfig,
    RolloutWorkerConfig,
)
from experiment_configs.stop_at_answer import steps_to_answer
from forests.core.tree import ROOT, ReasoningTree, TreeNode
from forests.grading import TreeGrader
from rollouts.client.spending import Spending
from rollouts.config_checks import ShownItem, rough
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.steps.completions import Completion, Ending
from rollouts.steps.rules import StepRule
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Expansion, GrowthStrategy

STEPS_SHOWN = 5
_CHARACTERS_OF_STEP = 100
_CHARACTERS_OF_END = 80
_ROOM = 2
"""Suggested limits are this many times the observed size: solutions differ."""


@dataclass(frozen=True, slots=True)
class TriedGrowth:
    """The first samples of a tree, summarised."""

    detail: str
    warnings: list[tuple[str, str]]
    """Pairs of a setting and what would go wrong with trees because of it."""
    steps: tuple[str, ...]
    """The steps of the first solution."""

    def shown_steps(self) -> list[str]:
        """Return one shortened line for each of the first steps."""
        shown = [
            f"{number} of {len(self.steps)}: {_shortened(step)}"
            for number, step in enumerate(self.steps[:STEPS_SHOWN], start=1)
        ]
        rest = len(self.steps) - len(shown)
        return [*shown, f"… and {rest} more"] if rest else shown


async def try_growth(
    client: CompletionClient, item: ShownItem, config: RolloutConfig
) -> TriedGrowth:
    """Draw an item's first samples, whole and step by step, and return how growth reads them.

    Raises:
        BackendError: the server does not answer, or refuses requests.
        ConfigError: a method of the config failed, or `max_nodes` leaves no room for a rollout.
    """
    trial = _Trial(client, item, config)
    await client.find_abilities(trial.spending, item.prompt)
    plan = trial.strategy.plan(trial.tree)
    if not plan:
        raise ConfigError(
            f"max_nodes {client.config.max_nodes:,} leaves no room for a rollout: raise it"
        )
    planned = plan[0]
    # A strategy that grows step by step draws no whole solution; draw one to see how it ends.
    whole = planned if planned.to_end else replace(planned, to_end=True, num_samples=1)
    completions = await trial.sample(whole)
    lengths = trial.whole_lengths(whole, completions)
    changes = trial.strategy.apply(trial.tree, whole, completions)
    grader = TreeGrader(config, item.label, trial.tree)
    await asyncio.to_thread(grader.grade_new, changes.added.values())
    steps = [] if planned.to_end else await trial.sample(planned)
    # All strategies except `sampled` also continue a prefix.
    second = [] if client.config.strategy == "sampled" else trial.second_steps(planned)
    for expansion in second:
        steps += await trial.sample(expansion)
    leaves = [leaf for leaf in trial.tree.leaves() if leaf.is_finished]
    return TriedGrowth(
        f"{await client.model()} wrote {trial.described(leaves)}; "
        f"prompt {trial.spending.prompt_tokens} tokens, "
        f"completion {trial.spending.completion_tokens}",
        [*trial.warnings(completions, lengths, leaves, [] if planned.to_end else steps)],
        trial.steps_of(leaves),
    )


class _Trial:
    """A tree that grows in memory, only to be shown."""

    def __init__(self, client: CompletionClient, item: ShownItem, config: RolloutConfig) -> None:
        self.client = client
        self.item = item
        self.config = config
        self.worker_config = client.config
        self.tree = ReasoningTree()
        self.spending = Spending()
        self.strategy = self._strategy(client.config)

    def _strategy(self, worker_config: RolloutWorkerConfig) -> GrowthStrategy:
        find_answer = partial(steps_to_answer, self.config)
        rule = StepRule.of(worker_config, self.config)
        return STRATEGIES[worker_config.strategy](worker_config, find_answer, rule)

    async def sample(self, expansion: Expansion) -> list[Completion]:
        request = SampleRequest.of(self.item.prompt, self.tree, expansion)
        return await self.client.sample(request, self.spending)

    def whole_lengths(self, expansion: Expansion, completions: list[Completion]) -> list[int]:
        """Return the number of steps up to the answer of each solution, without `max_depth`."""
        deep = replace(self.worker_config, max_depth=sys.maxsize)
        samples = self._strategy(deep).read_samples(self.tree, expansion, completions)
        return [len(sample) for sample in samples]

    def second_steps(self, planned: Expansion) -> list[Expansion]:
        """Return the expansion of the first unfinished step, if there is one."""
        first = (node for node in self.tree.children(ROOT) if not node.is_finished)
        return [replace(planned, node=node.path) for node in islice(first, 1)]

    def steps_of(self, leaves: list[TreeNode]) -> tuple[str, ...]:
        """Return the steps of the first solution; none if no solution fits in the tree."""
        if not leaves:
            return ()
        leaf = min(leaves, key=lambda leaf: leaf.path)
        return tuple(node.text for node in self.tree.path_nodes(leaf.path))

    def described(self, leaves: list[TreeNode]) -> str:
        if not leaves:
            return "a solution that does not fit in a tree"
        leaf = min(leaves, key=lambda leaf: leaf.path)
        grades: Counter[str] = Counter()
        for one in leaves:
            grades[str(one.grade)] += one.count
        others = ", ".join(f"{number} {grade}" for grade, number in sorted(grades.items()))
        all_samples = f"; of {grades.total()} samples {others}" if grades.total() > 1 else ""
        return f"{leaf.depth} steps, answer {leaf.answer!r} is {leaf.grade}{all_samples}"

    def warnings(
        self,
        completions: list[Completion],
        lengths: list[int],
        leaves: list[TreeNode],
        steps: list[Completion],
    ) -> Iterator[tuple[str, str]]:
        """Yield pairs of a setting and what would go wrong with all trees because of it."""
        worker_config, longest = self.worker_config, max(lengths, default=0)
        if not leaves:
            yield (
                "max_nodes",
                f"no solution fits in a tree: max_nodes is {worker_config.max_nodes:,}, and the "
                f"longest solution has {longest} steps; raise it",
            )
        elif longest > worker_config.max_depth:
            cut = sum(length > worker_config.max_depth for length in lengths)
            yield (
                "max_depth",
                f"{cut} of {len(lengths)} solutions would be cut: max_depth is "
                f"{worker_config.max_depth}, and the longest has {longest} steps; set max_depth "
                f"to about {_ROOM * longest}",
            )
        elif all(leaf.answer is None for leaf in leaves):
            yield "answer", _no_answer(completions[0], self.config)
        elif cut := _num_cut(completions):
            yield (
                "max_tokens_per_rollout",
                f"{cut} of {len(completions)} solutions were cut: max_tokens_per_rollout is "
                f"{worker_config.max_tokens_per_rollout}; set it to about "
                f"{_ROOM * worker_config.max_tokens_per_rollout}",
            )
        if cut := _num_cut(steps):
            yield (
                "max_tokens_per_step",
                f"{cut} of {len(steps)} steps were cut: max_tokens_per_step is "
                f"{worker_config.max_tokens_per_step}; set it to about "
                f"{_ROOM * worker_config.max_tokens_per_step}",
            )
        most = STRATEGIES[worker_config.strategy].most_nodes(
            replace(worker_config, max_depth=_ROOM * longest)
        )
        if most and most > worker_config.max_nodes and longest > worker_config.max_depth:
            yield (
                "max_nodes",
                f"trees that deep may need {rough(most)} nodes, but max_nodes is "
                f"{worker_config.max_nodes:,}: raise it to that number",
            )


def _num_cut(completions: list[Completion]) -> int:
    return sum(one.ending is Ending.LIMIT for one in completions)


def _shortened(step: str) -> str:
    """Return the `repr` of a step, without its middle if it is long."""
    half = _CHARACTERS_OF_STEP // 2
    if len(step) <= _CHARACTERS_OF_STEP:
        return repr(step)
    return f"{step[:half]!r} … {step[-half:]!r}"


def _no_answer(completion: Completion, config: RolloutConfig) -> str:
    """Return why a rollout may have no answer, and what to do about it."""
    end = completion.text.strip()[-_CHARACTERS_OF_END:]
    if completion.ending is Ending.LIMIT:
        limit = config.rollout_worker_config.max_tokens_per_rollout
        return (
            f"the rollout has no answer and was cut, at {end!r}: raise max_tokens_per_rollout, "
            f"now {limit}"
        )
    if type(config).extract_answer is not RolloutConfig.extract_answer:
        return f"extract_answer of the config finds no answer in the rollout, which ends {end!r}"
    return (
        f"there is no answer in the rollout, which ends {end!r}: let the prompt ask for "
        r"`#### x`, `\boxed{x}` or `The answer is x`, or write extract_answer (see docs/answers.md)"
    )
