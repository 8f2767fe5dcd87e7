"""Grow a few real trees in memory, to estimate the usage and cost of a whole forest."""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import islice

from experiment_configs.interfaces import ConfigError, RolloutConfig
from experiment_configs.stop_at_answer import steps_to_answer
from forests.core.items import check_whole_item, iterate_items
from forests.core.tree import ReasoningTree
from forests.costs.estimates import FEWEST_TREES, TreeCost
from forests.grading import TreeGrader
from rollouts.client.spending import Spending
from rollouts.config_checks import ShownItem
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.steps.rules import StepRule
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Expansion

TREES_OF_ESTIMATE = 5


def items_of_estimate(config: RolloutConfig, dataset_split: str) -> list[ShownItem]:
    """Return the first items of a split.

    Raises:
        ConfigError: the split has too few items, or one cannot be used.
    """
    items = [
        ShownItem(*check_whole_item(config, item))
        for item in islice(iterate_items(config, dataset_split), TREES_OF_ESTIMATE)
    ]
    if len(items) < FEWEST_TREES:
        raise ConfigError(
            f"split {dataset_split!r} has {len(items)} items, but an estimate needs {FEWEST_TREES}"
        )
    return items


async def try_forest(
    client: CompletionClient, config: RolloutConfig, items: Sequence[ShownItem], num_requests: int
) -> list[TreeCost]:
    """Grow the trees of these items as a worker would, without storing them; return their costs.

    `num_requests` is the number of requests in flight.

    Raises:
        BackendError: the server does not answer, or refuses requests.
        ConfigError: a method of the config failed.
    """
    slots = asyncio.Semaphore(num_requests)
    trees = [_Trial(client, config, item, slots) for item in items]
    growing = [asyncio.create_task(tree.grow()) for tree in trees]
    try:
        await asyncio.gather(*growing)
    finally:
        for task in growing:
            task.cancel()
        await asyncio.gather(*growing, return_exceptions=True)
    return [tree.cost for tree in trees]


class _Trial:
    """A tree that grows in memory and is not stored."""

    def __init__(
        self,
        client: CompletionClient,
        config: RolloutConfig,
        item: ShownItem,
        slots: asyncio.Semaphore,
    ) -> None:
        self.client = client
        self.item = item
        self.tree = ReasoningTree()
        self.spending = Spending()
        self._slots = slots
        self._strategy = STRATEGIES[client.config.strategy](
            client.config, partial(steps_to_answer, config), StepRule.of(client.config, config)
        )
        self._grader = TreeGrader(config, item.label, self.tree)

    @property
    def cost(self) -> TreeCost:
        return TreeCost(self.spending.usage, self.spending.seconds)

    async def grow(self) -> None:
        while expansions := self._strategy.plan(self.tree):
            await asyncio.gather(*map(self._expand, expansions))

    async def _expand(self, expansion: Expansion) -> None:
        request = SampleRequest.of(self.item.prompt, self.tree, expansion)
        async with self._slots:
            completions = await self.client.sample(request, self.spending)
        changes = self._strategy.apply(self.tree, expansion, completions)
        self._grader.grade_new([*changes.added.values(), *changes.changed.values()])
