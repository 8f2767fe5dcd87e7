"""Refine a forest: let complete trees grow where a step is still undecided.

Trees are reopened as `extend_forest` does it. A tree keeps the list of the steps to decide, because
the steps of the added rollouts are not to be decided themselves.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pymongo import UpdateOne

from experiment_configs.interfaces import ConfigError, RolloutWorkerConfig
from experiment_configs.refinements import Refinement
from forests.core.estimators import IMPORTED, own_estimator
from forests.core.standings import Standing, own_rollouts, standings, steps_to_decide
from forests.core.tree import NodePath, ReasoningTree, format_path, parse_path
from forests.core.values import root_value
from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import StoredTree, collection, in_batches, iter_trees
from rollouts.growing import leases
from rollouts.maintenance.extending import reopen, require_finished_growth
from rollouts.maintenance.larger_settings import num_lacking
from rollouts.strategies.refining import Refining


@dataclass(slots=True)
class Outlook:
    """What is decided in a forest, and what a refinement would draw."""

    standings: Counter[Standing] = field(default_factory=Counter)
    """Steps of the complete trees by what is known of their labels."""
    num_trees: int = 0
    """Complete trees with undecided steps that can be drawn from."""
    num_unfinished: int = 0
    """Trees that an earlier refinement has reopened, and that are not finished."""
    most_rollouts: int = 0
    """The most rollouts that it can need. It stops earlier where it can."""
    most_tokens: int = 0
    """Completion tokens of these rollouts, if they are as long as the solutions that are there."""

    @property
    def num_steps(self) -> int:
        return self.standings.total()

    @property
    def num_decided(self) -> int:
        return self.num_steps - self.standings[Standing.OPEN] - self.standings[Standing.UNKNOWN]


@dataclass(slots=True)
class _Found:
    outlook: Outlook = field(default_factory=Outlook)
    steps: dict[str, list[str]] = field(default_factory=dict)
    """Steps to decide of the trees to reopen, by tree."""
    root_values: dict[str, float | None] = field(default_factory=dict)


def refine_forest(
    forest: Forest,
    refinement: Refinement,
    *,
    max_tokens: int | None = None,
    is_dry_run: bool = False,
    report: Callable[[int], None] = lambda _: None,
) -> Outlook:
    """Make complete trees pending that have undecided steps, so that workers draw from these.

    `max_tokens`: new limit of the forest's tokens in total; None: the limit stays.

    A dry run changes nothing. Calls `report` with the number of trees checked. After an
    interruption, the same call finishes the rest. If every step is decided, it changes nothing.

    Raises:
        ConfigError: the forest does not take rollouts, is unfinished or growing, or was refined in
            another way.
    """
    _require_refinable(forest, refinement)
    known = RolloutWorkerConfig.from_dict(forest.worker_config)
    found = _look(forest, replace(known, refinement=refinement.as_dict()), refinement, report)
    if found.steps and not is_dry_run:
        _write_to_trees(found)
        limits = {"max_tokens_total": max_tokens} if max_tokens else {}
        settings = {"refinement": refinement.as_dict()}
        reopen(forest, list(found.steps), settings, others=limits)
    return found.outlook


def _require_refinable(forest: Forest, refinement: Refinement) -> None:
    if forest.strategy == IMPORTED:
        raise ConfigError(
            f"forest {forest.name!r} was {forest.strategy} and takes no rollouts: seed a forest "
            "from its items to grow one"
        )
    require_finished_growth(forest)
    ungrown = {"forest_id": forest.name, "status": {"$in": leases.UNFINISHED}}
    unfinished = collection(Tree).count_documents({**ungrown, "refined_steps": None})
    if unfinished or not forest.is_seeded:
        raise ConfigError(
            f"forest {forest.name!r} is not finished, {unfinished} trees still grow: run "
            f"rollout_worker --forest_name {forest.name} first"
        )
    before = forest.worker_config.get("refinement")
    if before is None:
        return
    old = Refinement.from_dict(before)
    if refinement.most_rollouts < old.most_rollouts:
        raise ConfigError(
            f"--max_rollouts was {old.most_rollouts} and can only become larger: drawn samples stay"
        )


def _look(
    forest: Forest,
    config: RolloutWorkerConfig,
    refinement: Refinement,
    report: Callable[[int], None],
) -> _Found:
    found = _Found()
    estimator = own_estimator(forest.strategy, refinement.goal)
    for done, stored in enumerate(iter_trees(forest), start=1):
        if stored.is_unfinished:
            found.outlook.num_unfinished += 1
        elif stored.status == TreeStatus.COMPLETE:
            steps = _steps_of(forest, stored)
            found.root_values[stored.id] = root_value(stored.tree, estimator)
            known = standings(stored.tree, steps, refinement)
            found.outlook.standings.update(known.values())
            strategy = Refining(config, lambda *_: None, steps=steps)
            if num_lacking(strategy, stored.tree):
                found.steps[stored.id] = [format_path(step) for step in steps]
                found.outlook.num_trees += 1
                _add_most(found.outlook, stored.tree, known, refinement)
        report(done)
    return found


def _steps_of(forest: Forest, stored: StoredTree) -> list[NodePath]:
    # Without settings, an interrupted call left the list, and the tree may have grown since.
    if stored.refined_steps is None or not forest.refined_for:
        return steps_to_decide(forest.strategy, stored.tree)
    return [parse_path(step) for step in stored.refined_steps]


def _add_most(
    outlook: Outlook,
    tree: ReasoningTree,
    known: Mapping[NodePath, Standing],
    refinement: Refinement,
) -> None:
    drawn, _ = own_rollouts(tree)
    for step, standing in known.items():
        if standing is Standing.OPEN:
            missing = refinement.most_rollouts - drawn[step]
            outlook.most_rollouts += missing
            outlook.most_tokens += missing * _tokens_after(tree, step)


def _tokens_after(tree: ReasoningTree, step: NodePath) -> int:
    """Return the tokens of the first solution after a step."""
    tokens = 0
    while not tree.is_leaf(step):
        step = (*step, 0)
        tokens += tree.nodes[step].tokens
    return tokens


def _write_to_trees(found: _Found) -> None:
    """Write steps to decide, and the root values of the estimator that the forest has from now."""
    for batch in in_batches(list(found.root_values)):
        collection(Tree).bulk_write([_update(found, tree) for tree in batch])


def _update(found: _Found, tree: str) -> UpdateOne:
    fields: dict[str, float | Sequence[str] | None] = {"root_value": found.root_values[tree]}
    if tree in found.steps:
        fields["refined_steps"] = found.steps[tree]
    return UpdateOne({"_id": tree, "status": str(TreeStatus.COMPLETE)}, {"$set": fields})
