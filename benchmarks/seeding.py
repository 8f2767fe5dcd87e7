"""Speed of seeding a forest, as a ratio to a bare `insert_many` of the same documents.

Seeding asks the config for each item's prompt, label and text, checks them, and counts the trees in
the forest after every write. The baseline is pymongo's `insert_many` of documents in memory, in
batches of the same size, into the same server and a collection with the same index.

usage: python benchmarks/seeding.py [--quick] [--json]
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.servers import empty_database

GOAL = 0.5
SIZES = (1_000, 10_000, 100_000)
MIN_TO_JUDGE = 10_000
"""With fewer trees the fixed cost of a forest, some tenths of a second, dominates."""


@dataclass(frozen=True)
class Result:
    """Seconds for one forest."""

    trees: int
    seeding: float
    inserting: float
    ratio: float
    """Trees per second of seeding divided by those of the bare inserts."""
    trees_per_second: int


def main() -> None:
    options = argument_parser(__doc__, quick="10^3 and 10^4 trees only").parse_args()
    with empty_database():
        import django  # noqa: PLC0415  the settings read the environment

        django.setup()
        measure(10)  # the first seeding of a process imports, connects and reads indexes
        results = [measure(size) for size in SIZES[: 2 if options.quick else None]]
    if options.json:
        print_json("seeding", measures(results), results=[asdict(result) for result in results])
        return
    print("  trees  seeding s  inserting s  ratio  trees/s")
    for r in results:
        print(
            f"{r.trees:7}  {r.seeding:9.2f}  {r.inserting:11.2f}  {r.ratio:5.2f}"
            f"  {r.trees_per_second:7}"
        )


def measures(results: Sequence[Result]) -> list[Measure]:
    return [
        Measure(
            case=f"{r.trees:,} trees",
            baseline="bare insert_many of the same documents",
            unit="trees/s",
            figure=r.trees_per_second,
            baseline_figure=round(r.trees / r.inserting),
            at_least=GOAL if r.trees >= MIN_TO_JUDGE else None,
        )
        for r in results
    ]


def measure(num_trees: int) -> Result:
    """Return the costs of seeding a forest of this size."""
    from benchmarks.populating import seed_share  # noqa: PLC0415  after Django's setup

    print(f"{num_trees} trees …", file=sys.stderr)
    began = time.perf_counter()
    forest = seed_share(str(num_trees), num_trees)
    seeding = time.perf_counter() - began
    inserting = insert_bare(forest)
    return Result(
        trees=num_trees,
        seeding=round(seeding, 3),
        inserting=round(inserting, 3),
        ratio=round(inserting / seeding, 3),
        trees_per_second=round(num_trees / seeding),
    )


def insert_bare(forest: Any) -> float:
    """Return the seconds of inserting a forest's trees again, into another collection."""
    from forests.models import Tree  # noqa: PLC0415
    from forests.storage.trees import TREES_PER_WRITE, collection  # noqa: PLC0415

    trees = collection(Tree)
    documents = list(trees.find({"forest_id": forest.name}))
    if len(documents) != forest.num_trees:
        raise RuntimeError(f"{len(documents)} of {forest.num_trees} trees were seeded")
    bare = trees.database["bare_trees"]
    for name, index in trees.index_information().items():
        if name != "_id_":
            bare.create_index(index["key"], name=name)
    began = time.perf_counter()
    for start in range(0, len(documents), TREES_PER_WRITE):
        bare.insert_many(documents[start : start + TREES_PER_WRITE])
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
