"""How an operator draws more rollouts from a step: the commands, and what they change."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.places import to_type
from experiment_configs.refinements import Refinement
from forests.core.certainty.standings import Standing, own_rollouts, standings, steps_to_decide
from forests.core.estimators import FOR_LABELS, FOR_PAIRS, IMPORTED, RESEGMENTED
from forests.core.tree import NodePath, parse_path
from forests.models import Forest
from forests.progress.states import NextCommand
from forests.storage.trees import StoredTree

USUAL_ROLLOUTS = {FOR_LABELS: 16, FOR_PAIRS: 32}
"""Most rollouts from one step that the commands ask for at first."""


@dataclass(frozen=True, slots=True)
class MoreRollouts:
    """What was drawn from a step, and how to draw more."""

    num_drawn: int
    """Finished rollouts drawn from the step itself."""
    most: int
    """Most rollouts that the commands ask for."""
    is_asked_for: bool
    """Whether refinement decides this step. It does not decide steps of rollouts that it added."""
    is_decided: bool
    """Whether a right sample has decided its hard label, so that the goal needs no more samples."""
    goal: str
    """What the commands decide: `FOR_LABELS` or `FOR_PAIRS`."""
    changes_values: bool
    """Whether they change the estimator of the whole forest."""
    next_commands: Sequence[NextCommand]


def more_rollouts(forest: Forest, stored: StoredTree, path: NodePath) -> MoreRollouts | None:
    """Return how to draw more rollouts from a step; None if none can be drawn from it."""
    node = stored.tree.nodes[path]
    if not path or node.is_finished or forest.strategy in (IMPORTED, RESEGMENTED):
        return None
    drawn, _ = own_rollouts(stored.tree)
    known = forest.worker_config.get("refinement") or {}
    any_number = Refinement(goal="labels", most_rollouts=1)
    is_right = standings(stored.tree, [path], any_number).get(path) is Standing.RIGHT
    goal = forest.refined_for or (FOR_PAIRS if is_right else FOR_LABELS)
    most = max(USUAL_ROLLOUTS[goal], known.get("most_rollouts", 0), 2 * drawn[path])
    return MoreRollouts(
        num_drawn=drawn[path],
        most=most,
        is_asked_for=path in _steps(forest, stored),
        is_decided=is_right and goal == FOR_LABELS,
        goal=goal,
        changes_values=not forest.refined_for,
        next_commands=_commands(
            forest.name, goal, most, " --later_steps infer" if known.get("infers_later") else ""
        ),
    )


def _steps(forest: Forest, stored: StoredTree) -> Sequence[NodePath]:
    """Return the steps that a refinement decides in a tree."""
    if forest.refined_for and stored.refined_steps is not None:
        return [parse_path(step) for step in stored.refined_steps]
    return steps_to_decide(forest.strategy, stored.tree)


def _commands(name: str, goal: str, most: int, options: str) -> list[NextCommand]:
    refine = f"refine_forest --forest_name {name} --goal {goal} --max_rollouts {most}{options}"
    return [
        NextCommand("See what it would draw, and change nothing", to_type(f"{refine} --dry_run")),
        NextCommand("Let the trees grow further", to_type(refine)),
        NextCommand("Draw the rollouts", to_type(f"rollout_worker --forest_name {name}")),
    ]
