"""Apply a changed grader to a forest, without new samples."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pymongo import UpdateOne

from experiment_configs.interfaces import ConfigError, RolloutConfig
from experiment_configs.loading import LoadedConfig
from forests.core.counting import count_tree
from forests.core.estimators import require_own_estimator
from forests.core.naming import node_id
from forests.core.tree import Grade, TreeNode
from forests.core.values import Estimator, root_value
from forests.core.voting import majority_value
from forests.grading import TreeGrader
from forests.labels.disagreeing import update_disagreements
from forests.models import Forest, Node, Tree
from forests.storage.counters import sum_of_trees, write_sums
from forests.storage.trees import StoredTree, collection, is_held, iter_trees, wait_for_workers
from rollouts.growing.fencing import take_over_unfinished

_UNGRADED = "not graded"


@dataclass(slots=True)
class Regrading:
    """Numbers of leaves and trees that a changed grader affects."""

    leaves: int = 0
    answers_changed: int = 0
    voted_answers_changed: int = 0
    """Leaves whose votes now count under a different answer."""
    uncompared: int = 0
    """Leaves that still have no result, because their answers could not be compared."""
    grades: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Leaves whose grade changed, by old and new grade."""
    trees_changed: int = 0
    """Trees with a leaf whose answer, grade or voted answer changed."""

    def note(self, before: TreeNode, leaf: TreeNode) -> bool:
        """Count the old and new state of a leaf; return whether anything changed."""
        old = _UNGRADED if before.grade is None else str(before.grade)
        self.leaves += 1
        self.answers_changed += before.answer != leaf.answer
        self.voted_answers_changed += before.voted_answer != leaf.voted_answer
        self.uncompared += leaf.is_uncompared
        if before.grade != leaf.grade:
            self.grades[old, str(leaf.grade)] += 1
        return _verdict(before) != _verdict(leaf)


def regrade_forest(
    forest: Forest,
    loaded: LoadedConfig,
    *,
    is_dry_run: bool = False,
    report: Callable[[int], None] = lambda _: None,
) -> Regrading:
    """Grade all finished leaves with the given config, and return what changed.

    Regroups equal answers from scratch, in the order of the paths. Afterwards the forest belongs to
    that config. After an interruption the call must be repeated before the forest can grow or be
    measured. A dry run writes nothing. Calls `report` with the number of trees done.

    Raises:
        ConfigError: the forest is growing, or a method of the config failed for a leaf.
        EstimatorError: the package of the forest's strategy, which names its estimator, is missing.
    """
    require_own_estimator(forest.strategy)
    if is_held(forest):
        raise ConfigError(f"forest {forest.name!r} is growing: stop its workers or pause it first")
    if not is_dry_run:
        collection(Forest).update_one({"_id": forest.name}, {"$set": {"is_graded": False}})
        wait_for_workers(forest)  # a worker may have just started; it stops within a second
        take_over_unfinished(forest)
    regrading = Regrading()
    for done, stored in enumerate(iter_trees(forest), start=1):
        changed = _regrade_tree(stored, loaded.config, regrading)
        if changed and not is_dry_run:
            _write(stored, changed, forest.estimator)
        report(done)
    if not is_dry_run:
        write_sums(forest, sum_of_trees(forest))
        update_disagreements(forest)
        collection(Forest).update_one({"_id": forest.name}, {"$set": _graded_with(loaded)})
    return regrading


def _regrade_tree(
    stored: StoredTree, config: RolloutConfig, regrading: Regrading
) -> list[TreeNode]:
    """Set answers, grades and voted answers of a tree's leaves; return the changed leaves."""
    changed = []
    grader = TreeGrader(config, stored.label, stored.tree)
    for leaf in sorted(stored.tree.leaves(), key=lambda leaf: leaf.path):
        if not leaf.is_finished:
            continue
        before = replace(leaf)
        try:
            grader.grade(leaf)
        except ConfigError as error:
            raise ConfigError(
                f"{error} for node {node_id(stored.id, leaf.path)}: fix the config and run "
                "regrade_forest again"
            ) from error
        if regrading.note(before, leaf):
            changed.append(leaf)
    regrading.trees_changed += bool(changed)
    return changed


def _verdict(leaf: TreeNode) -> tuple[str | None, Grade | None, str | None]:
    return leaf.answer, leaf.grade, leaf.voted_answer


def _write(stored: StoredTree, leaves: list[TreeNode], estimator: Estimator) -> None:
    collection(Node).bulk_write(
        [
            UpdateOne(
                {"_id": node_id(stored.id, leaf.path)},
                {
                    "$set": {
                        "answer": leaf.answer,
                        "grade": str(leaf.grade),
                        "voted_answer": leaf.voted_answer,
                    }
                },
            )
            for leaf in leaves
        ]
    )
    counters = count_tree(stored.tree)
    values = {
        "root_value": root_value(stored.tree, estimator),
        "majority_value": majority_value(stored.tree),
    }
    collection(Tree).update_one({"_id": stored.id}, {"$set": {**counters, **values}})


def _graded_with(loaded: LoadedConfig) -> dict[str, Any]:
    return {
        "is_graded": True,
        "graded_at": datetime.now(UTC),
        "config_source": loaded.source,
        "config_sha256": loaded.sha256,
        "config_git_commit": loaded.git_commit,
        "config_git_branch": loaded.git_branch,
    }
