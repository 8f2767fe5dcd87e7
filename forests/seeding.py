"""Turn a dataset split into a forest of root prompts."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from experiment_configs.interfaces import (
    SAMPLE_FREE_SETTINGS,
    ConfigError,
    Prompt,
    RolloutConfig,
    RolloutWorkerConfig,
)
from experiment_configs.loading import LoadedConfig
from forests.core.items import (
    check_item,
    check_storable,
    check_whole_item,
    iterate_items,
    name_of_forest,
)
from forests.models import Forest, Tree
from forests.storage.trees import (
    TREES_PER_WRITE,
    Document,
    collection,
    delete_forest,
    in_batches,
    insert_trees,
    tree_document,
    tree_ids,
)

ITEMS_COMPARED = 256
"""Items, spread over the dataset, that are compared with their trees before seeding continues.

More of them take longer: each needs one tree read and one prompt built.
"""


def seed_forest(
    loaded: LoadedConfig,
    dataset_split: str,
    suffix: str,
    *,
    limit: int | None = None,
    report: Callable[[int], None] = lambda _: None,
) -> Forest:
    """Return the forest, with one tree per item; `report` gets the number of trees so far.

    An existing forest continues where its seeding stopped, so a repeated call is safe, and a larger
    limit adds trees. A new forest that turns out to be unusable is deleted again.

    Raises:
        ConfigError: the name or an item is not usable, the split is empty, or the forest was
            seeded from something else. The message says what differs.
    """
    name = name_of_forest(loaded.name, dataset_split, suffix)
    if loaded.config.rollout_worker_config.refinement is not None:
        raise ConfigError("rollout_worker_config.refinement: only refine_forest sets it, remove it")
    if problems := loaded.config.rollout_worker_config.problems():
        raise ConfigError("; ".join(problems))
    check_storable(loaded)
    items = _first_items(loaded.config, dataset_split, limit)
    forest, is_new = _get_or_create(name, loaded, dataset_split)
    try:
        all_items = itertools.chain(*items)
        unseeded = (
            enumerate(all_items)
            if is_new
            else _unseeded_items(forest, loaded.config, all_items, limit)
        )
        _insert_trees(forest, loaded.config, unseeded, report)
    except ConfigError:
        if is_new:
            delete_forest(Forest.objects.get(pk=name))
        raise
    # A limit below the number of written trees says nothing about the other items.
    if limit is None or limit >= forest.num_trees:
        collection(Forest).update_one({"_id": name}, {"$set": {"is_seeded": True}})
    return Forest.objects.get(pk=name)


def _first_items(
    config: RolloutConfig, split: str, limit: int | None
) -> tuple[list[Any], Iterator[Any]]:
    """Return the first item and an iterator of the others, so that an empty split fails early."""
    items = iterate_items(config, split)
    limited = itertools.islice(items, limit)
    first = list(itertools.islice(limited, 1))
    if not first:
        raise ConfigError(f"split {split!r} has no items")
    return first, limited


def _get_or_create(name: str, loaded: LoadedConfig, split: str) -> tuple[Forest, bool]:
    forest = Forest(
        name=name,
        config_name=loaded.name,
        config_source=loaded.source,
        config_sha256=loaded.sha256,
        config_git_commit=loaded.git_commit,
        config_git_branch=loaded.git_branch,
        dataset_split=split,
        dataset_source=loaded.config.source,
        dataset_licence=loaded.config.licence,
        worker_config=loaded.config.rollout_worker_config.as_dict(),
        created_at=datetime.now(UTC),
    )
    if existing := Forest.objects.filter(pk=name).first():
        if existing.importer:
            raise ConfigError(
                f"forest {name!r} is only partly imported: run the same {existing.importer} "
                "command again, or use another --forest_name_suffix"
            )
        if existing.dataset_split != split:
            raise ConfigError(
                f"forest {name!r} holds the dataset split {existing.dataset_split!r}, not "
                f"{split!r}: use another --forest_name_suffix"
            )
        if differences := _differences(existing, forest, loaded):
            raise ConfigError(
                f"forest {name!r} was seeded from another config: {'; '.join(differences)}. "
                "Use another --forest_name_suffix, or restore the config"
            )
        return existing, False
    delete_forest(forest)  # remains of a deletion that was interrupted, or raced a worker
    forest.save(force_insert=True)
    return forest, True


_CHANGED_DEFAULTS = {"max_nodes": (500, 10_000)}
"""Defaults before and after a change: a forest keeps the one that it was seeded with."""


def _differences(old: Forest, new: Forest, loaded: LoadedConfig) -> list[str]:
    # A setting that is newer than the forest counts as its default.
    worker_config = RolloutWorkerConfig.from_dict(old.seeded_settings).as_dict()
    found = [
        f"{setting} was {worker_config[setting]!r} and is {value!r}"
        for setting, value in new.worker_config.items()
        if worker_config[setting] != value
        and setting not in SAMPLE_FREE_SETTINGS
        and (worker_config[setting], value) != _CHANGED_DEFAULTS.get(setting)
    ]
    if not loaded.is_same(old.config_sha256):
        changed = ", ".join(loaded.changed_files(old.config_source))
        found.append(
            f"the source had SHA-256 {old.config_sha256[:12]} and has {new.config_sha256[:12]}: "
            f"{changed} changed"
        )
    return found


def _unseeded_items(
    forest: Forest, config: RolloutConfig, items: Iterator[Any], limit: int | None
) -> Iterator[tuple[int, Any]]:
    """Return the items that `num_trees` does not count yet, with their indexes.

    Raises:
        ConfigError: an item differs from its tree, or is missing: the dataset has changed.
    """
    seeded = _seeded_prompts(forest)
    num_seeded = max(seeded, default=-1) + 1
    numbered, uncounted = enumerate(items), list[tuple[int, Any]]()
    num_items = 0
    for index, item in itertools.islice(numbered, num_seeded):
        num_items = index + 1
        if index in seeded and _checked_item(config, index, item)[:2] != seeded[index]:
            raise _other_data(forest, f"item {index} differs from its tree")
        if index >= forest.num_trees:
            uncounted.append((index, item))
    if num_items < num_seeded and (limit is None or num_items < limit):
        raise _other_data(forest, f"the split has {num_items} items, the forest {num_seeded} trees")
    return itertools.chain(uncounted, numbered)


def _seeded_prompts(forest: Forest) -> dict[int, tuple[Prompt, str]]:
    """Return prompt and label of trees by index: the first, the last, and some in between.

    Includes all trees that an interrupted seeding wrote but did not count.
    """
    counted = range(forest.num_trees)
    spread = set(counted[:: -(-forest.num_trees // ITEMS_COMPARED) or 1]) | set(counted[-1:])
    uncounted = range(forest.num_trees, forest.num_trees + TREES_PER_WRITE)
    found: dict[int, tuple[Prompt, str]] = {}
    for batch in in_batches([*sorted(spread), *uncounted]):
        trees = collection(Tree).find(
            {"_id": {"$in": tree_ids(forest, batch)}}, {"index": 1, "prompt": 1, "label": 1}
        )
        found |= {tree["index"]: (tree["prompt"], tree["label"]) for tree in trees}
    return found


def _other_data(forest: Forest, difference: str) -> ConfigError:
    return ConfigError(
        f"forest {forest.name!r} was seeded from other data: {difference}. Use another "
        "--forest_name_suffix, or restore the data"
    )


def _insert_trees(
    forest: Forest,
    config: RolloutConfig,
    items: Iterator[tuple[int, Any]],
    report: Callable[[int], None],
) -> None:
    """Insert trees in batches; `num_trees` counts a batch after it is written."""
    while batch := list(itertools.islice(items, TREES_PER_WRITE)):
        documents = [_tree_document(forest, config, index, item) for index, item in batch]
        insert_trees(documents, roots_only=True)
        num_trees = batch[-1][0] + 1
        collection(Forest).update_one(
            {"_id": forest.name},
            {"$set": {"num_trees": num_trees, "is_seeded": False, "growth_finished_at": None}},
        )
        report(num_trees)


def _checked_item(config: RolloutConfig, index: int, item: Any) -> tuple[Prompt, str, str]:
    try:
        return check_item(config, item)
    except ConfigError as error:
        raise ConfigError(f"item {index}: {error}") from error


def _tree_document(forest: Forest, config: RolloutConfig, index: int, item: Any) -> Document:
    try:
        prompt, label, serialized, question = check_whole_item(config, item)
    except ConfigError as error:
        raise ConfigError(f"item {index}: {error}") from error
    document = tree_document(
        forest.name, index, item=serialized, label=label, prompt=prompt, now=datetime.now(UTC)
    )
    return {**document, "question": question}
