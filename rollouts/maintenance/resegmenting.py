"""Make a new forest from the solutions of another one, cut into other steps."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from experiment_configs.interfaces import ConfigError, RolloutWorkerConfig
from forests.core.estimators import RESEGMENTED, own_estimator
from forests.core.naming import ForestNameError, forest_name, tree_id
from forests.core.tree import ReasoningTree, TreeNode
from forests.models import Forest, Tree, TreeStatus
from forests.storage.counters import counted, sum_of_trees, write_sums
from forests.storage.trees import (
    Document,
    StoredTree,
    collection,
    delete_forest,
    in_batches,
    insert_nodes,
    insert_trees,
    is_held,
    node_document,
    read_trees,
    tree_ids,
)
from forests.transfer.resuming import import_refusal
from rollouts.steps.recutting import RESEGMENTABLE, ResegmentingError, resegment
from rollouts.steps.rules import StepRule
from rollouts.strategies import STRATEGIES

IMPORTER = "resegment_forest"

_OF_ITSELF: Document = {
    "is_seeded": False,
    "is_paused": False,
    "extended_at": None,
    "replaced_settings": {},
    "max_requests": None,
    "max_tokens_total": None,
    "max_cost": None,
    "allowed_models": [],
    "ledger": None,
    "reservations": {},
    "backend_message": "",
    "stop_reason": "",
    "worker_message": "",
    "worker_message_at": None,
    "worked_at": None,
}
"""Fields that a new forest does not copy from the old one."""


@dataclass(frozen=True, slots=True)
class NewSteps:
    """The rule for steps of the new forest, with the settings to store."""

    rule: StepRule
    settings: RolloutWorkerConfig
    """Settings that describe the rule, as far as settings can."""
    splitter: str = ""
    """The config that has `split_steps`, with its SHA-256; empty if settings describe the rule."""

    def stored(self) -> Document:
        """Return the settings of the new forest that describe its steps."""
        told = self.settings.as_dict()
        delimiter = {"split_steps": self.splitter} if self.splitter else told["step_delimiter"]
        return {"step_delimiter": delimiter, "keep_blocks": told["keep_blocks"]}


@dataclass(slots=True)
class Resegmentation:
    """The result of `resegment_forest`."""

    forest_name: str
    trees: int = 0
    """Complete trees, whose solutions were cut."""
    failed: int = 0
    """Failed trees, which have no nodes in the new forest."""
    samples: int = 0
    left_out: int = 0
    """Rollouts drawn from inner nodes: they belong to steps that the new forest does not have."""
    nodes_before: int = 0
    nodes: int = 0


def resegment_forest(
    forest: Forest, suffix: str, steps: NewSteps, report: Callable[[int], None] = lambda _: None
) -> Resegmentation:
    """Write the solutions of a finished forest, cut by a rule, into a new one.

    Checks all trees before it writes anything. After an interruption, the same call continues.

    Raises:
        ConfigError: the name is taken or unusable, the forest is growing or unfinished, its
            solutions cannot be cut again, or the rule failed.
    """
    name = _new_name(forest, suffix)
    _require_finished(forest)
    for batch in in_batches(range(forest.num_trees)):
        for stored in read_trees(forest, batch):
            _resegmented(stored, steps.rule, forest)
    new = _start_forest(forest, name, steps)
    done = Resegmentation(name)
    for batch in in_batches(range(forest.num_trees)):
        _write(forest, new, read_trees(forest, batch), steps.rule, done)
        report(batch[-1] + 1)
    write_sums(new, sum_of_trees(new))
    whole = {"is_seeded": True, "importer": "", "import_sha256": ""}
    collection(Forest).update_one({"_id": name}, {"$set": whole})
    return done


def _new_name(forest: Forest, suffix: str) -> str:
    try:
        return forest_name(forest.config_name, forest.dataset_split, suffix)
    except ForestNameError as error:
        raise ConfigError(str(error)) from error


def _require_finished(forest: Forest) -> None:
    if forest.strategy not in RESEGMENTABLE:
        raise ConfigError(
            f"{forest.strategy} draws forest {forest.name!r} step by step, so its solutions are "
            "not independent samples and values of other steps would be biased: resegment a "
            f"forest with strategy {', '.join(RESEGMENTABLE)}"
        )
    if is_held(forest):
        raise ConfigError(f"forest {forest.name!r} is growing: stop its workers or pause it first")
    if forest.num_pending:
        raise ConfigError(
            f"{forest.num_pending} trees of forest {forest.name!r} are unfinished: run "
            f"rollout_worker --forest_name {forest.name} first"
        )


def _resegmented(
    stored: StoredTree, rule: StepRule, forest: Forest
) -> tuple[ReasoningTree, int, int]:
    """Return the new tree, and the numbers of samples kept and rollouts left out.

    For a failed tree: an empty tree, 0 and 0.
    """
    if stored.status != TreeStatus.COMPLETE:
        return ReasoningTree(), 0, 0
    rule_of_thoughts = rule if forest.worker_config.get("reasoning") == "grow" else None
    try:
        found = resegment(
            stored.tree,
            rule,
            forest.strategy,
            rule_of_thoughts,
            is_refined=bool(forest.refined_for),
        )
    except (ConfigError, ResegmentingError) as error:
        raise ConfigError(f"tree {stored.id} cannot be cut again: {error}") from error
    return found.tree, found.samples, found.left_out


def _start_forest(forest: Forest, name: str, steps: NewSteps) -> Forest:
    digest = _digest(forest, steps)
    if known := Forest.objects.filter(pk=name).first():
        if refusal := import_refusal(known, IMPORTER, digest, forest.dataset_split):
            raise ConfigError(refusal)
        return known
    new = Forest.objects.get(pk=forest.name)
    new.name = name
    new.worker_config = (
        forest.worker_config
        | steps.stored()
        | {
            "strategy": RESEGMENTED,
            "refinement": None,
            "keep_tokens": False,  # kept tokens belong to the old steps
        }
    )
    new.importer, new.import_sha256 = IMPORTER, digest
    new.created_at = datetime.now(UTC)
    for field, value in _OF_ITSELF.items():
        setattr(new, field, value)
    delete_forest(Forest(name=name))  # an interrupted deletion may have left trees and nodes
    new.save(force_insert=True)
    return new


def _digest(forest: Forest, steps: NewSteps) -> str:
    """Return a digest that identifies this resegmentation."""
    told = [
        forest.name, str(forest.created_at), str(forest.graded_at), forest.num_trees, steps.stored()
    ]  # fmt: skip
    if forest.extended_at:
        told.append(str(forest.extended_at))
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _lacks_solutions(tree: ReasoningTree, forest: Forest) -> bool:
    """Return whether a tree that reached `max_nodes` lacks solutions drawn from the root.

    It may only lack rollouts from inner steps, which the new forest leaves out.
    """
    if forest.strategy not in STRATEGIES:  # another program grew it, or it was cut before
        return True
    config = RolloutWorkerConfig.from_dict(forest.worker_config)
    strategy = STRATEGIES[config.strategy](config, lambda *_: None)
    return any(expansion.drawn_from == 0 for expansion in strategy.wanted(tree))


def _write(
    forest: Forest, new: Forest, batch: list[StoredTree], rule: StepRule, done: Resegmentation
) -> None:
    now = datetime.now(UTC)
    ids = tree_ids(forest, [stored.index for stored in batch])
    documents = {
        one["_id"]: one for one in collection(Tree).find({"_id": {"$in": ids}}, {"kept_tokens": 0})
    }
    trees: list[Document] = []
    nodes: list[tuple[str, TreeNode]] = []
    for stored in batch:
        tree, samples, left_out = _resegmented(stored, rule, forest)
        id_ = tree_id(new.name, stored.index)
        trees.append(
            {
                **documents[stored.id],
                "_id": id_,
                "forest_id": new.name,
                **counted(tree, own_estimator(RESEGMENTED)),
                "lease_holder": "",
                "lease_expires_at": None,
                "disagreement": None,
                "disagreements": [],
                "refined_steps": None,
                "hit_max_nodes": stored.hit_max_nodes and _lacks_solutions(stored.tree, forest),
                "created_at": now,
            }
        )
        nodes += [(id_, node) for node in tree if node.path]
        is_complete = stored.status == TreeStatus.COMPLETE
        done.trees += is_complete
        done.failed += not is_complete
        done.samples += samples
        done.left_out += left_out
        done.nodes += len(tree) - 1
        done.nodes_before += (len(stored.tree) - 1) * is_complete
    begun = insert_trees(trees)
    insert_nodes([node_document(new.name, id_, node, now, begun[id_]) for id_, node in nodes])
