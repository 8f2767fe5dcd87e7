"""Score the steps of a forest by rollouts of another model, a prover.

The prover continues each prefix of the policy to the end, and the share of its correct rollouts is
the score of the step: how much the step helps the prover. Setlur et al. (2410.08146) reward a step
with the difference that it makes to this value. The rollouts are graded like those of the forest.
They are not stored: only the policy writes nodes of a tree.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from experiment_configs.interfaces import (
    Api,
    ConfigError,
    Prompt,
    RolloutConfig,
    RolloutWorkerConfig,
)
from experiment_configs.stop_at_answer import steps_to_answer
from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import PROVER
from forests.core.prefix import as_text
from forests.core.tree import NodePath, ReasoningTree, TreeNode
from forests.core.values import Ungraded, leaf_result
from forests.costs.budgets import Usage
from forests.grading import ItemGrader
from forests.models import Forest, Scorer
from forests.storage.scores import write_judged
from forests.storage.trees import StoredTree
from rollouts.client.spending import Spending
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.scoring.budget import ScorerBudget, tokens_of
from rollouts.scoring.score_forest import Ask, run_all
from rollouts.scoring.score_requests import ScoringError
from rollouts.steps.completions import Completion
from rollouts.steps.rules import StepRule
from rollouts.strategies.base import Expansion, requests_from
from rollouts.strategies.math_shepherd import MathShepherd


@dataclass(frozen=True, kw_only=True)
class ProverOptions:
    """How a prover completes prefixes. Two runs under one name must have the same options."""

    kind: str = PROVER
    model: str = ""
    rollouts: int = 8
    """Rollouts from each prefix."""
    api: Api = "completions"
    temperature: float = 0.8
    max_tokens: int = 2048
    """Most tokens of a rollout."""
    ungraded: Ungraded = "incorrect"
    """How to count rollouts that were cut or gave no answer: as for leaves."""
    config_sha256: str = ""
    """SHA-256 of the config that grades. A changed grader needs new rollouts: none are stored."""


@dataclass(slots=True)
class Proving:
    """Counts of one run that only a prover has."""

    prefixes: int = 0
    """Prefixes from which rollouts were drawn, including the prompts themselves."""
    rollouts: int = 0
    cut: int = 0
    """Rollouts that the limit of tokens cut."""
    without_result: int = 0
    """Rollouts that are neither correct nor incorrect."""


def prover_config(forest: Forest, options: ProverOptions) -> RolloutWorkerConfig:
    """Return the forest's settings for rollouts, with the prover in place of the policy.

    The number of steps is not limited, because rollouts are not stored in the tree.
    """
    return replace(
        RolloutWorkerConfig.from_dict(forest.worker_config),
        model=options.model or None,
        base_urls=(),
        api=options.api,
        temperature=options.temperature,
        max_tokens_per_rollout=options.max_tokens,
        keep_tokens=False,  # rollouts are not stored, so the server need not tell their tokens
        # Each strategy needs other abilities of a server. This one draws whole rollouts from
        # prefixes, as a prover does.
        strategy="math_shepherd",
        strategy_package="",
        refinement=None,
        max_depth=sys.maxsize,
    )


def prompt_for(stored: StoredTree, forest: Forest, api: Api) -> Prompt:
    """Return the prompt of a tree as the prover gets it.

    The prompt of a policy over completions may contain the policy's chat template or examples. So a
    prover over chat gets the question instead, and its server applies its own template.
    """
    if api == "chat" and forest.worker_config.get("api") != "chat":
        return stored.question or as_text(stored.prompt)
    prompt: Prompt = stored.prompt
    return prompt


def prefixes_of(tree: ReasoningTree) -> list[TreeNode]:
    """Return the nodes from which a prover draws: the root, and steps that do not end a solution.

    Thoughts and blank steps are left out: they are not steps of the answer.
    """
    return [
        node
        for node in sorted(tree, key=lambda node: node.path)
        if not node.path or (_is_step(node) and not node.is_finished)
    ]


def most_of_proving(
    stored: StoredTree, prompt: Prompt, options: ProverOptions, samples_per_request: int
) -> tuple[int, Usage]:
    """Return the number of prefixes to continue in a tree, and the most that this uses."""
    prefixes, asked = prefixes_of(stored.tree), as_text(prompt)
    requests = -(-options.rollouts // samples_per_request)
    most = Usage()
    for node in prefixes:
        prefix = tokens_of(asked + stored.tree.steps_text(node.path))
        most += Usage(requests, requests * prefix, options.rollouts * options.max_tokens)
    return len(prefixes), most


class Prover:
    """Draws rollouts from the steps of a tree: a `TreeScorer` for `score_trees`."""

    def __init__(
        self,
        forest: Forest,
        config: RolloutConfig,
        scorer: Scorer,
        options: ProverOptions,
        client: CompletionClient,
        budget: ScorerBudget,
    ) -> None:
        self.scorer = scorer
        self.options = options
        self.proving = Proving()
        self._forest = forest
        self._config = config
        self._client = client
        self._budget = budget
        self._strategy = MathShepherd(
            client.config,
            partial(steps_to_answer, config),
            StepRule.of(client.config, config),
        )
        # A single thread, because configs need not be thread-safe.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grading")

    async def score(self, stored: StoredTree, ask: Ask) -> JudgedTree:
        """Return the share of correct rollouts from each step; at the root, from the prompt.

        A step has no score if its rollouts have no result. The last step of a solution has the
        grade of the solution as its score.
        """
        grader = ItemGrader(self._config, stored.label)
        scores: dict[NodePath, float] = {}
        votes: dict[NodePath, tuple[int, int, int]] = {}
        for node in stored.tree:
            result = leaf_result(node, self.options.ungraded)
            if result is not None and not node.is_thought:
                scores[node.path] = float(result)

        async def roll_out(node: TreeNode) -> None:
            results = await self._results_from(stored, node, grader, ask)
            right, wrong = results.count(True), results.count(False)
            votes[node.path] = (right, results.count(None), wrong)
            if right + wrong:
                scores[node.path] = right / (right + wrong)

        await run_all([roll_out(node) for node in prefixes_of(stored.tree)])
        return JudgedTree(scores, votes=votes, num_steps=len(stored.tree) - 1)

    def write(self, tree: str, judged: JudgedTree) -> None:
        """Store the scores of a tree, and what was spent so far."""
        write_judged(self.scorer, {tree: judged})
        self._budget.write()

    def close(self) -> None:
        """End the thread that grades."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _results_from(
        self, stored: StoredTree, node: TreeNode, grader: ItemGrader, ask: Ask
    ) -> list[bool | None]:
        """Return whether each rollout from a node is correct; None for those without a result."""
        results: list[bool | None] = []
        number = 0
        while (missing := self.options.rollouts - len(results)) > 0:
            wanted = requests_from(self._client.config, node, missing, number, to_end=True)
            expansion = next(wanted)
            drawn = await ask(self._sampling(stored, expansion))
            if not drawn:
                raise ScoringError("the prover's server answered without a rollout")
            number += expansion.num_samples  # servers may give fewer: later seeds must differ
            results += await self._in_thread(self._grade, stored, expansion, drawn, grader)
        self.proving.prefixes += 1
        self.proving.rollouts += len(results)
        self.proving.without_result += results.count(None)
        return results

    def _sampling(self, stored: StoredTree, expansion: Expansion) -> Callable[[Spending], Any]:
        prompt = prompt_for(stored, self._forest, self.options.api)
        request = SampleRequest.of(prompt, stored.tree, expansion)
        return partial(self._client.sample, request)

    def _grade(
        self,
        stored: StoredTree,
        expansion: Expansion,
        drawn: list[Completion],
        grader: ItemGrader,
    ) -> list[bool | None]:
        """Return the results of rollouts, read and graded as growth does.

        Raises:
            ScoringError: a method of the config failed.
        """
        before = stored.tree.solution_text(expansion.node)
        results = []
        try:
            for sample in self._strategy.read_samples(stored.tree, expansion, drawn):
                leaf = sample[-1]
                said = "".join(step.text for step in sample if not step.is_thought)
                leaf.answer, leaf.grade = grader.grade_solution(before + said)
                self.proving.cut += leaf.truncated
                results.append(leaf_result(leaf, self.options.ungraded))
        except ConfigError as error:
            raise ScoringError(str(error)) from error
        return results[: expansion.num_samples]

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)


def _is_step(node: TreeNode) -> bool:
    return bool(node.path) and not node.is_thought and bool(node.text.strip())
