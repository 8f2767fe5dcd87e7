"""Forests to grow in tests."""

from collections import Counter
from pathlib import Path

from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.loading import LoadedConfig, load_config
from forests.core.voting import majority_value
from forests.models import COUNTERS, Forest, Tree
from forests.seeding import seed_forest
from forests.storage.counters import recount_forest, sum_of_trees
from forests.storage.trees import iter_trees
from rollouts.strategies import STRATEGIES

WORKER_SETTINGS = {
    "branching": [3, 2],
    "concurrency": 4,
    "max_attempts": 2,
    "request_timeout_seconds": 5.0,
}


def seeded(limit: int = 4, suffix: str = "a", **settings: object) -> Forest:
    """Return a small forest of `demo_arithmetic` with quick settings."""
    return _seeded(load_config("demo_arithmetic"), limit, suffix, settings)


def seeded_of(path: Path, limit: int = 4, suffix: str = "a", **settings: object) -> Forest:
    """Return a small forest of the config in a file, with quick settings."""
    return _seeded(load_config(path.stem, [path.parent]), limit, suffix, settings)


def _seeded(loaded: LoadedConfig, limit: int, suffix: str, settings: dict[str, object]) -> Forest:
    forest = seed_forest(loaded, "train", suffix, limit=limit)
    forest.worker_config |= WORKER_SETTINGS | settings
    forest.save()
    return forest


def reread(forest: Forest) -> Forest:
    return Forest.objects.get(pk=forest.pk)


def statuses(forest: Forest) -> dict[str, int]:
    return dict(Counter(Tree.objects.filter(forest_id=forest.pk).values_list("status", flat=True)))


def assert_whole(forest: Forest) -> None:
    """Check what must hold of a finished forest, whatever happened on the way."""
    forest = reread(forest)
    from_trees = sum_of_trees(forest)
    assert {name: getattr(forest, name) for name in COUNTERS} == {
        name: from_trees[name] for name in COUNTERS
    }
    votes = dict(Tree.objects.filter(forest_id=forest.pk).values_list("index", "majority_value"))
    assert recount_forest(forest) == {}
    for stored in iter_trees(forest):
        assert stored.status == "complete"
        assert votes[stored.index] == majority_value(stored.tree)
        worker_config = RolloutWorkerConfig.from_dict(forest.worker_config)
        strategy = STRATEGIES[worker_config.strategy](worker_config, lambda *_: None)
        assert strategy.plan(stored.tree) == []
        for node in stored.tree:
            children = stored.tree.children(node.path)
            assert sorted(child.position for child in children) == list(range(len(children)))
            assert bool(children) != node.is_finished
            assert (node.grade is not None) == node.is_finished


def shape(forest: Forest) -> list[tuple[object, ...]]:
    """Return what two growths of the same forest must agree on."""
    return [
        (stored.index, node.path, node.text, node.count, node.grade, node.voted_answer)
        for stored in iter_trees(reread(forest))
        for node in sorted(stored.tree, key=lambda node: node.path)
    ]
