"""Refine a forest: let complete trees grow where a step is still undecided.

Reopens trees as `extend_forest` does. A tree stores the list of the steps to decide, because the
steps of the added rollouts must not be decided too.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pymongo import UpdateOne

from experiment_configs.interfaces import ConfigError, RolloutWorkerConfig
from experiment_configs.refinements import Refinement
from forests.core.certainty.contests import ContestStanding, contests, steps_to_rank
from forests.core.certainty.sibling_prior import PriorEstimator
from forests.core.certainty.standings import Standing, own_rollouts, standings, steps_to_decide
from forests.core.estimators import FOR_PAIRS, IMPORTED, own_estimator
from forests.core.tree import NodePath, ReasoningTree, format_path, parse_path
from forests.core.values import estimate_values, root_value
from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import StoredTree, collection, in_batches, iter_trees
from rollouts.growing import leases
from rollouts.maintenance.configuring import set_settings
from rollouts.maintenance.extending import reopen, require_finished_growth
from rollouts.maintenance.larger_settings import num_lacking
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import GrowthStrategy
from rollouts.strategies.refining import refining_or

DEEPEST_IN_PRIOR = 6
"""Depth up to which the stored prior keeps a distribution for each depth: it is below 50 KB."""


@dataclass(slots=True)
class Outlook:
    """What is decided in a forest, and what a refinement would draw."""

    refinement: Refinement
    standings: Counter[str] = field(default_factory=Counter)
    """Number of steps (goal `labels`) or pairs in the complete trees, by standing."""
    num_trees: int = 0
    """Complete trees with something undecided that can be drawn from."""
    num_unfinished: int = 0
    """Unfinished trees that an earlier refinement reopened."""
    most_rollouts: int = 0
    """The most rollouts that the refinement can need. Drawing stops earlier where it can."""
    most_tokens: int = 0
    """Completion tokens of these rollouts, if they are as long as the existing solutions."""

    @property
    def num_cases(self) -> int:
        """Steps, or pairs, of the complete trees."""
        return self.standings.total()

    @property
    def num_decided(self) -> int:
        if self.refinement.goal == FOR_PAIRS:
            return self.standings[ContestStanding.DECIDED]
        return self.num_cases - self.standings[Standing.OPEN] - self.standings[Standing.UNKNOWN]


@dataclass(frozen=True, slots=True)
class _RootValue:
    """The value of a tree's root prompt, for the estimator of refined trees."""

    value: float | None
    generation: int
    """The generation of the tree when the value was computed."""


@dataclass(slots=True)
class _Found:
    """Trees by their ids."""

    outlook: Outlook
    lacking: list[str] = field(default_factory=list)
    """Complete trees to reopen."""
    unfinished: list[str] = field(default_factory=list)
    steps: dict[str, list[str] | None] = field(default_factory=dict)
    """The steps to decide that each tree must store; None removes them."""
    root_values: dict[str, _RootValue] = field(default_factory=dict)


def refine_forest(
    forest: Forest,
    refinement: Refinement,
    *,
    max_tokens: int | None = None,
    is_dry_run: bool = False,
    report: Callable[[int], None] = lambda _: None,
) -> Outlook:
    """Make complete trees with undecided steps pending, so that workers draw from these steps.

    `max_tokens`: new limit of the forest's tokens in total; None: the limit stays.

    A dry run changes nothing. Calls `report` with the number of trees checked. After an
    interruption, the same call finishes the rest. A forest that was never refined does not change
    if nothing is undecided. A refined forest gets the new settings in any case, because its exports
    follow them.

    Raises:
        ConfigError: the forest does not take rollouts, is unfinished or growing, or was refined in
            another way.
    """
    _require_refinable(forest, refinement)
    if refinement.goal == FOR_PAIRS:
        refinement = replace(refinement, prior=_prior_of(forest))
    known = RolloutWorkerConfig.from_dict(forest.worker_config)
    found = _look(forest, replace(known, refinement=refinement.as_dict()), refinement, report)
    if not is_dry_run:
        _write_settings(forest, refinement, max_tokens, found)
        if forest.refined_for:
            _write_root_values(found)
    return found.outlook


def _write_settings(
    forest: Forest, refinement: Refinement, max_tokens: int | None, found: _Found
) -> None:
    """Write what workers need to refine the forest, unless the forest has it already."""
    settings = {"refinement": refinement.as_dict()}
    limits = {"max_tokens_total": max_tokens} if max_tokens else {}
    is_known = _asks_for_the_same(forest, refinement) and max_tokens in (
        None,
        forest.max_tokens_total,
    )
    if found.lacking or (found.unfinished and not is_known):
        _write_steps(found)
        reopen(forest, found.lacking, settings, found.unfinished, limits)
    elif forest.refined_for and not is_known:
        set_settings(forest, settings, limits)
        forest.refresh_from_db()


def _asks_for_the_same(forest: Forest, refinement: Refinement) -> bool:
    """Return whether the forest is already refined like this, whatever its prior."""
    stored = forest.worker_config.get("refinement")
    if stored is None:
        return False
    return replace(Refinement.from_dict(stored), prior=None) == replace(refinement, prior=None)


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
        raise _unfinished(forest, unfinished)
    before = forest.worker_config.get("refinement")
    if before is None:
        return
    old = Refinement.from_dict(before)
    if refinement.goal != old.goal:
        raise ConfigError(
            f"forest {forest.name!r} was refined for {old.goal}: its values would mean neither if "
            f"it were also refined for {refinement.goal}; seed a forest with another "
            "--forest_name_suffix for that"
        )
    if refinement.most_rollouts < old.most_rollouts:
        raise ConfigError(
            f"--max_rollouts was {old.most_rollouts} and can only become larger: drawn samples stay"
        )


def _unfinished(forest: Forest, number: int) -> ConfigError:
    return ConfigError(
        f"forest {forest.name!r} is not finished, {number} trees still grow: run "
        f"rollout_worker --forest_name {forest.name} first"
    )


def _prior_of(forest: Forest) -> dict[str, Any]:
    """Return how much siblings differ in a forest, by all rollouts drawn so far."""
    estimating = PriorEstimator("through_rollouts")
    for stored in iter_trees(forest):
        if stored.is_unfinished or stored.status == TreeStatus.COMPLETE:
            estimating.add(stored.tree, estimate_values(stored.tree, estimating.estimator))
    return estimating.prior().as_dict(DEEPEST_IN_PRIOR)


def _look(
    forest: Forest,
    config: RolloutWorkerConfig,
    refinement: Refinement,
    report: Callable[[int], None],
) -> _Found:
    found = _Found(Outlook(refinement))
    estimator = own_estimator(forest.strategy, refinement.goal)
    strategy = STRATEGIES[config.strategy](config, lambda *_: None)
    for done, stored in enumerate(iter_trees(forest), start=1):
        value = root_value(stored.tree, estimator)
        found.root_values[stored.id] = _RootValue(value, stored.generation)
        if stored.is_unfinished:
            _look_at_unfinished(forest, stored, strategy, found)
        elif stored.status == TreeStatus.COMPLETE:
            _look_at_complete(forest, stored, strategy, found)
        report(done)
    return found


def _look_at_unfinished(
    forest: Forest, stored: StoredTree, strategy: GrowthStrategy, found: _Found
) -> None:
    found.unfinished.append(stored.id)
    found.outlook.num_unfinished += 1
    if forest.refined_for:
        return
    if num_lacking(strategy, stored.tree):
        raise _unfinished(forest, 1)
    found.steps[stored.id] = _named(_steps_of(forest, stored, found.outlook.refinement))


def _look_at_complete(
    forest: Forest, stored: StoredTree, strategy: GrowthStrategy, found: _Found
) -> None:
    refinement = found.outlook.refinement
    steps = _steps_of(forest, stored, refinement)
    survey = _survey_pairs if refinement.goal == FOR_PAIRS else _survey_labels
    surveyed = survey(stored.tree, steps, refinement)
    found.outlook.standings.update(surveyed.standings)
    if num_lacking(refining_or(strategy, _named(steps)), stored.tree):
        found.lacking.append(stored.id)
        found.steps[stored.id] = _named(steps)
        found.outlook.num_trees += 1
        for step, missing in surveyed.missing.items():
            found.outlook.most_rollouts += missing
            found.outlook.most_tokens += missing * _tokens_after(stored.tree, step)
    elif not forest.refined_for:
        found.steps[stored.id] = None  # an interrupted call may have stored steps


def _named(steps: Sequence[NodePath]) -> list[str]:
    return [format_path(step) for step in steps]


def _steps_of(forest: Forest, stored: StoredTree, refinement: Refinement) -> list[NodePath]:
    # If the forest has no settings for it, an interrupted call left the list, and the tree may have
    # grown since.
    if stored.refined_steps is None or not forest.refined_for:
        if refinement.goal == FOR_PAIRS:
            return steps_to_rank(stored.tree)
        return steps_to_decide(forest.strategy, stored.tree)
    return [parse_path(step) for step in stored.refined_steps]


@dataclass(frozen=True, slots=True)
class _Survey:
    """What is known in one tree."""

    standings: Counter[str]
    missing: Mapping[NodePath, int]
    """The most rollouts that each undecided step can need."""


def _survey_labels(
    tree: ReasoningTree, steps: Collection[NodePath], refinement: Refinement
) -> _Survey:
    known = standings(tree, steps, refinement)
    drawn, _ = own_rollouts(tree)
    return _Survey(
        Counter(known.values()),
        {
            step: refinement.most_rollouts - drawn[step]
            for step, standing in known.items()
            if standing is Standing.OPEN
        },
    )


def _survey_pairs(
    tree: ReasoningTree, steps: Collection[NodePath], refinement: Refinement
) -> _Survey:
    found = list(contests(tree, steps, refinement))
    missing = {step: number for one in found for step, number in one.missing.items()}
    return _Survey(Counter(one.standing for one in found), missing)


def _tokens_after(tree: ReasoningTree, step: NodePath) -> int:
    """Return the tokens of the first solution after a step."""
    tokens = 0
    while not tree.is_leaf(step):
        step = (*step, 0)
        tokens += tree.nodes[step].tokens
    return tokens


def _write_steps(found: _Found) -> None:
    for batch in in_batches(list(found.steps)):
        collection(Tree).bulk_write(
            [
                UpdateOne({"_id": tree}, {"$set": {"refined_steps": found.steps[tree]}})
                for tree in batch
            ]
        )


def _write_root_values(found: _Found) -> None:
    """Write the root values that belong to the forest's new estimator.

    Call this after the settings have changed: before that, these values would be wrong. Workers
    write the values of the trees that they claim.
    """
    for batch in in_batches(list(found.root_values)):
        collection(Tree).bulk_write([_update(tree, found.root_values[tree]) for tree in batch])


def _update(tree: str, root: _RootValue) -> UpdateOne:
    was_not_claimed = {"_id": tree, "generation": {"$not": {"$gt": root.generation}}}
    return UpdateOne(was_not_claimed, {"$set": {"root_value": root.value}})
