"""Speed of values and beam search over a forest, as a ratio to only reading its documents.

Both read the same trees and nodes in batches of the same size from the same database. The same
algorithm on `networkx` graphs is a second baseline.

usage: python benchmarks/metrics.py [--quick] [--json]
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.peak_memory import forget_most_memory, most_mebibytes
from benchmarks.servers import empty_database

GOAL = 2.0
BEAMS = (1, 5)
PROCESSES = 2
MAX_FOR_SLOW_LOOKS = 100_000


@dataclass(frozen=True)
class Result:
    """Seconds for one forest, and the peak memory of the process."""

    nodes: int
    reading: float
    metrics: float
    ratio: float
    nodes_per_second: int
    processes: float
    """Seconds with `PROCESSES` processes."""
    networkx: float | None
    """None: left out, because it takes too long."""
    most_mebibytes: float


def main() -> None:
    options = argument_parser(__doc__, quick="10^4 nodes only").parse_args()
    sizes = (10_000,) if options.quick else (10_000, 100_000, 1_000_000)
    with empty_database():
        import django  # noqa: PLC0415  the settings read the environment

        django.setup()
        results = [measure(size) for size in sizes]
    if options.json:
        print_json("metrics", measures(results), results=[asdict(result) for result in results])
        return
    print("    nodes  reading s  metrics s  ratio  2 processes s  nodes/s  networkx s  most MiB")
    for r in results:
        networkx = "-" if r.networkx is None else f"{r.networkx:.2f}"
        print(
            f"{r.nodes:9}  {r.reading:9.2f}  {r.metrics:9.2f}  {r.ratio:5.2f}  {r.processes:13.2f}"
            f"  {r.nodes_per_second:7}  {networkx:>10}  {r.most_mebibytes:8.1f}"
        )


def measures(results: Sequence[Result]) -> list[Measure]:
    baselines = (
        ("merely reading the documents", "reading", GOAL),
        ("the same with networkx", "networkx", None),
    )
    return [
        Measure(
            case=f"{r.nodes:,} nodes",
            baseline=words,
            unit="s",
            figure=r.metrics,
            baseline_figure=getattr(r, seconds),
            at_most=goal,
        )
        for words, seconds, goal in baselines
        for r in results
        if getattr(r, seconds) is not None
    ]


def measure(num_nodes: int) -> Result:
    """Return the costs of one forest of this size."""
    from benchmarks.forest_loading import load_forest  # noqa: PLC0415  after Django's setup
    from forests.storage.reader import DatabaseReader  # noqa: PLC0415
    from metrics.core.evaluation import EvaluationOptions  # noqa: PLC0415
    from metrics.measuring.forests import evaluate_forest  # noqa: PLC0415

    print(f"{num_nodes} nodes …", file=sys.stderr)
    forest = load_forest(f"benchmark-test-{num_nodes}", num_nodes)
    options = EvaluationOptions(num_beam_values=BEAMS)
    reading = _seconds(lambda: read_all(forest))
    forget_most_memory()
    reader = DatabaseReader(forest)
    metrics = _seconds(lambda: evaluate_forest(reader, options, lambda _: None))
    most = most_mebibytes()
    processes = _seconds(lambda: evaluate_forest(reader, options, lambda _: None, PROCESSES))
    is_small = num_nodes <= MAX_FOR_SLOW_LOOKS
    networkx = _seconds(lambda: search_graphs(forest)) if is_small else None
    return Result(
        nodes=forest.num_nodes,
        reading=round(reading, 3),
        metrics=round(metrics, 3),
        ratio=round(metrics / reading, 3),
        processes=round(processes, 3),
        nodes_per_second=round(forest.num_nodes / metrics),
        networkx=None if networkx is None else round(networkx, 3),
        most_mebibytes=most,
    )


def read_all(forest: Any) -> int:
    """Read every document of a forest without using it; return the number of documents."""
    from forests.models import Node, Tree  # noqa: PLC0415
    from forests.storage.trees import TREES_PER_READ, collection, tree_ids  # noqa: PLC0415

    number = 0
    for start in range(0, forest.num_trees, TREES_PER_READ):
        indexes = range(start, min(start + TREES_PER_READ, forest.num_trees))
        ids = tree_ids(forest, indexes)
        number += len(list(collection(Tree).find({"_id": {"$in": ids}})))
        number += len(list(collection(Node).find({"tree_id": {"$in": ids}})))
    return number


def search_graphs(forest: Any) -> int:
    """Do the same with networkx: values, then beams by mean. Return how many ends are correct."""
    import networkx as nx  # type: ignore[import-untyped]  # noqa: PLC0415  for this comparison only

    from forests.storage.trees import iter_trees  # noqa: PLC0415

    right = 0
    for stored in iter_trees(forest):
        graph = nx.DiGraph()
        for node in stored.tree:
            graph.add_node(node.path, grade=node.grade, count=node.count)
            if node.path:
                graph.add_edge(node.path[:-1], node.path)
        leaves: dict[Any, tuple[int, int]] = {}
        for path in nx.dfs_postorder_nodes(graph, ()):
            below = [leaves[child] for child in graph.successors(path)]
            data = graph.nodes[path]
            leaves[path] = (
                (sum(c for c, _ in below), sum(n for _, n in below))
                if below
                else (data["count"] * (data["grade"] == "correct"), data["count"])
            )
        sums = {(): (0.0, 0)}
        for parent, path in nx.bfs_edges(graph, ()):
            total, depth = sums[parent]
            sums[path] = (total + leaves[path][0] / leaves[path][1], depth + 1)
        for beams in BEAMS:
            live = [()]
            while any(graph.out_degree(path) for path in live):
                candidates = [
                    end for path in live for end in (list(graph.successors(path)) or [path])
                ]
                live = sorted(candidates, key=lambda path: -sums[path][0] / sums[path][1])[:beams]
            right += graph.nodes[live[0]]["grade"] == "correct"
    return right


def _seconds(run: Any) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
