"""Results of single items: of a stored run, and of the samples of a forest."""

from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import Document, collection, in_batches, tree_ids
from metrics.core.comparing.item_results import DIGEST_BYTES, ItemResults, item_digest
from metrics.core.evaluation import RowKey
from metrics.models import MetricRun, RunItems

PASS_AT_1 = RowKey(None, "pass", None, 1)
ANY_CORRECT = RowKey(None, "any_correct", None, 0)

_NUMBERS_PER_PART = 500_000  # 2 MB: MongoDB takes documents of up to 16 MB
_READ = ("status", "index", "item", "label", "num_leaves", "num_correct")


def store_items(run: MetricRun, results: ItemResults[RowKey]) -> None:
    """Store the results of a run for each item. `forget_older_items` deletes the earlier ones."""
    rows = [results.numbers.get(key, array("f")) for key in map(key_of, run.rows)]
    size = max(1, _NUMBERS_PER_PART // max(1, len(rows)))
    for part, start in enumerate(range(0, len(results.items), size)):
        stop = min(start + size, len(results.items))
        document = {
            "_id": f"{_run_at(run)}/{part}",
            "forest_id": run.forest_id,
            "run_at": _run_at(run),
            "part": part,
            "items": b"".join(results.items[start:stop]),
            "trees": list(results.trees[start:stop]),
            "numbers": b"".join(numbers[start:stop].tobytes() for numbers in rows),
        }
        collection(RunItems).replace_one({"_id": document["_id"]}, document, upsert=True)


def forget_older_items(run: MetricRun) -> None:
    """Delete the results of earlier runs with the same parameters."""
    beginning = f"{run.id}@"
    earlier = {"$gte": beginning, "$lt": f"{run.id}A", "$ne": _run_at(run)}  # "A" follows "@"
    collection(RunItems).delete_many({"run_at": earlier})


def read_items(run: MetricRun, most: int | None = None) -> ItemResults[RowKey] | None:
    """Return the results of a run for its items, or for about the first `most`.

    None: an older version made the run, and stored no results of items.
    """
    if not run.num_trees_used:
        return ItemResults()
    found: ItemResults[RowKey] = ItemResults()
    keys = [key_of(row) for row in run.rows]
    parts = collection(RunItems).find({"run_at": _run_at(run)}).sort("part", 1)
    for part in parts:
        found.merge(_results_of(part, keys))
        if most is not None and len(found.items) >= most:
            break
    return found if found.items else None


def sample_results(forest: Forest, most: int | None = None) -> ItemResults[RowKey]:
    """Return the results of the samples of each complete tree, among the first `most` trees."""
    results: ItemResults[RowKey] = ItemResults()
    number = forest.num_trees if most is None else min(most, forest.num_trees)
    for tree in _read_trees(forest, number):
        leaves, correct = tree["num_leaves"], tree["num_correct"]
        if tree["status"] == TreeStatus.COMPLETE:
            results.add_item(item_digest(tree["item"], tree["label"]), tree["index"])
            results.add_number(PASS_AT_1, correct / leaves if leaves else None)
            results.add_number(ANY_CORRECT, float(correct > 0) if leaves else None)
    return results


def key_of(row: Mapping[str, Any]) -> RowKey:
    """Return the fields that identify the number in a row of a run."""
    return RowKey(row["procedure"], row["metric"], row["aggregation"], row["k"])


def _results_of(part: Document, keys: list[RowKey]) -> ItemResults[RowKey]:
    size = len(part["trees"])
    numbers = array("f", part["numbers"])
    return ItemResults(
        items=[
            bytes(part["items"][start : start + DIGEST_BYTES])
            for start in range(0, size * DIGEST_BYTES, DIGEST_BYTES)
        ],
        trees=array("L", part["trees"]),
        numbers={key: numbers[place * size : (place + 1) * size] for place, key in enumerate(keys)},
    )


def _read_trees(forest: Forest, number: int) -> Iterator[Document]:
    for batch in in_batches(range(number)):
        query = {"_id": {"$in": tree_ids(forest, batch)}}
        found = collection(Tree).find(query, dict.fromkeys(_READ, 1))
        yield from sorted(found, key=lambda tree: tree["index"])


def _run_at(run: MetricRun) -> str:
    return f"{run.id}@{round(run.created_at.timestamp() * 1000)}"
