"""Memory of one worker process on a large forest: it should not grow with the finished trees.

usage: python benchmarks/memory.py [--quick] [--json]
"""

import os
import resource
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.servers import empty_database, simulator

SECONDS_BETWEEN_LOOKS = 0.5
CONCURRENCY = 64
GOAL = 1.1
"""A larger ratio is growth, not noise of the allocator."""


@dataclass(frozen=True)
class Memory:
    """Resident memory in MiB after this many trees."""

    trees: int
    mebibytes: float


def main() -> None:
    options = argument_parser(__doc__, quick="5,000 trees instead of 100,000").parse_args()
    num_trees = 5_000 if options.quick else 100_000
    with (
        empty_database(),
        simulator(0.05) as url,
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
    ):
        looks = pool.submit(grow, url, num_trees).result()
    if options.json:
        print_json("memory", measures(looks), looks=[asdict(one) for one in looks])
        return
    print("trees done  MiB")
    for one in looks:
        print(f"{one.trees:10}  {one.mebibytes:5.1f}")
    growth = looks[-1].mebibytes / looks[0].mebibytes
    print(f"from a tenth of the trees to all: {growth:.2f} times")


def measures(looks: Sequence[Memory]) -> list[Measure]:
    return [
        Measure(
            case=f"after {looks[-1].trees:,} trees",
            baseline="the same process after a tenth of them",
            unit="MiB",
            figure=looks[-1].mebibytes,
            baseline_figure=looks[0].mebibytes,
            at_most=GOAL,
        )
    ]


def grow(url: str, num_trees: int) -> list[Memory]:
    """Grow a forest in one job; return the memory after each tenth of its trees."""
    os.environ["OPENAI_BASE_URL"] = f"{url}/v1"
    import django  # noqa: PLC0415  the settings read the environment

    django.setup()
    from benchmarks.populating import grow_share, seed_share  # noqa: PLC0415
    from forests.models import Forest  # noqa: PLC0415

    forest = seed_share(
        "memory", num_trees, concurrency=CONCURRENCY, strategy="sampled", num_rollouts=2
    )
    looks: list[Memory] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(SECONDS_BETWEEN_LOOKS):
            done = Forest.objects.get(pk=forest.name).num_complete
            if done >= num_trees * (len(looks) + 1) / 10:
                looks.append(Memory(done, _resident_mebibytes()))
                print(looks[-1], file=sys.stderr)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        grow_share(forest)
    finally:
        is_over.set()
        looking.join()
    looks.append(Memory(num_trees, _resident_mebibytes()))
    return looks


def _resident_mebibytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


if __name__ == "__main__":
    main()
