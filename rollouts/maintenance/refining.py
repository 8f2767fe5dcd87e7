"""Refine a forest: let complete trees grow where a step is still undecided.

Trees are reopened as `extend_forest` does it. A tree keeps the list of the steps to decide, because
the steps of the added rollouts are not to be decided themselves.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pymongo import UpdateOne

from experiment_configs.interfaces import ConfigError, RolloutWorkerConfig
from experiment_configs.refinements import Refinement
from forests.core.contests import ContestStanding, contests, steps_to_rank
from forests.core.estimators import FOR_PAIRS, IMPORTED, own_estimator
from forests.core.sibling_prior import PriorEstimator
from forests.core.standings import Standing, own_rollouts, standings, steps_to_decide
from forests.core.tree import NodePath, ReasoningTree, format_path, parse_path
from forests.core.values import estimate_values, root_value
from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import StoredTree, collection, in_batches, iter_trees
from rollouts.growing import leases
from rollouts.maintenance.extending import reopen, require_finished_growth
from rollouts.maintenance.larger_settings import num_lacking
from rollouts.strategies import STRATEGIES
from rollouts.strategies.refining import refining_or

DEEPEST_IN_PRIOR = 6
"""Depth up to which the settings keep what was learnt for each depth: they stay below 50 KB."""


@dataclass(slots=True)
class Outlook:
    """What is decided in a forest, and what a refinement would draw."""

    refinement: Refinement
    standings: Counter[str] = field(default_factory=Counter)
    """Steps (goal `labels`) or pairs of the complete trees by what is known of them."""
    num_trees: int = 0
    """Complete trees with something undecided that can be drawn from."""
    num_unfinished: int = 0
    """Trees that an earlier refinement has reopened, and that are not finished."""
    most_rollouts: int = 0
    """The most rollouts that it can need. It stops earlier where it can."""
    most_tokens: int = 0
    """Completion tokens of these rollouts, if they are as long as the solutions that are there."""

    @property
    def num_cases(self) -> int:
        """Steps, or pairs, of the complete trees."""
        return self.standings.total()

    @property
    def num_decided(self) -> int:
        if self.refinement.goal == FOR_PAIRS:
            return self.standings[ContestStanding.DECIDED]
        return self.num_cases - self.standings[Standing.OPEN] - self.standings[Standing.UNKNOWN]


@dataclass(slots=True)
class _Found:
    outlook: Outlook
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
    if refinement.goal == FOR_PAIRS:
        refinement = replace(refinement, prior=_prior_of(forest))
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
    survey = _survey_pairs if refinement.goal == FOR_PAIRS else _survey_labels
    for done, stored in enumerate(iter_trees(forest), start=1):
        if stored.is_unfinished:
            found.outlook.num_unfinished += 1
        elif stored.status == TreeStatus.COMPLETE:
            steps = _steps_of(forest, stored, refinement)
            found.root_values[stored.id] = root_value(stored.tree, estimator)
            survey_ = survey(stored.tree, steps, refinement)
            found.outlook.standings.update(survey_.standings)
            names = [format_path(step) for step in steps]
            if num_lacking(refining_or(strategy, names), stored.tree):
                found.steps[stored.id] = names
                found.outlook.num_trees += 1
                for step, missing in survey_.missing.items():
                    found.outlook.most_rollouts += missing
                    found.outlook.most_tokens += missing * _tokens_after(stored.tree, step)
        report(done)
    return found


def _steps_of(forest: Forest, stored: StoredTree, refinement: Refinement) -> list[NodePath]:
    # Without settings, an interrupted call left the list, and the tree may have grown since.
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


def _write_to_trees(found: _Found) -> None:
    """Write steps to decide, and the root values of the estimator that the forest has from now."""
    for batch in in_batches(list(found.root_values)):
        collection(Tree).bulk_write([_update(found, tree) for tree in batch])


def _update(found: _Found, tree: str) -> UpdateOne:
    fields: dict[str, float | Sequence[str] | None] = {"root_value": found.root_values[tree]}
    if tree in found.steps:
        fields["refined_steps"] = found.steps[tree]
    return UpdateOne({"_id": tree, "status": str(TreeStatus.COMPLETE)}, {"$set": fields})
