"""Speed of exporting pairs, as a ratio to bare reading and writing of the same rows.

Bare reading is pymongo's cursor over the same documents in the same batches. Bare writing is
pyarrow (Parquet), `json` (JSON lines) or `datasets` (a dataset directory) on rows in memory. An
export does both, finds the prompts, computes statistics and hashes the files. Each export runs in
its own process, so that its memory can be measured.

usage: python benchmarks/export.py [--quick] [--json]
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.peak_memory import most_mebibytes
from benchmarks.servers import empty_database

GOAL = 0.5
SIZES = (10_000, 100_000, 1_000_000)
BRANCHING = (16,)
PAIRS_PER_TREE = 62  # on average: half of 16 leaves against the other half


@dataclass(frozen=True)
class Result:
    """Seconds for one container, and the peak memory of the process while exporting."""

    pairs: int
    container: str
    export: float
    reading: float
    writing: float
    ratio: float
    """Rows per second of the export divided by those of bare reading and then writing."""
    rows_per_second: int
    most_mebibytes: float


def main() -> None:
    parser = argument_parser(__doc__, quick="10^4 pairs only")
    parser.add_argument("--pairs", type=int, help="this many pairs only")
    options = parser.parse_args()
    sizes = (options.pairs,) if options.pairs else SIZES[: 1 if options.quick else None]
    with empty_database():
        import django  # noqa: PLC0415  the settings read the environment

        django.setup()
        results = [result for size in sizes for result in measure(size)]
    if options.json:
        print_json("export", measures(results), results=[asdict(result) for result in results])
        return
    print("   pairs  container  export s  reading s  writing s  ratio   rows/s  most MiB")
    for r in results:
        print(
            f"{r.pairs:8}  {r.container:>9}  {r.export:8.2f}  {r.reading:9.2f}  {r.writing:9.2f}"
            f"  {r.ratio:5.2f}  {r.rows_per_second:7}  {r.most_mebibytes:8.1f}"
        )


def measures(results: Sequence[Result]) -> list[Measure]:
    return [
        Measure(
            case=f"{r.pairs:,} pairs, {r.container}",
            baseline="bare reading, then bare writing",
            unit="rows/s",
            figure=r.rows_per_second,
            baseline_figure=round(r.pairs / (r.reading + r.writing)),
            at_least=GOAL,
        )
        for r in results
    ]


def measure(num_pairs: int) -> list[Result]:
    """Return the costs of exporting a set of this size, one for each container."""
    from benchmarks.forest_loading import (  # noqa: PLC0415  after Django's setup
        add_trees,
        empty_forest,
        simulated_tree,
    )
    from preferences.core.pairing import PairingOptions  # noqa: PLC0415
    from preferences.export.containers import CONTAINERS  # noqa: PLC0415
    from preferences.sets.creation import SetParameters, create_preferences  # noqa: PLC0415

    print(f"{num_pairs} pairs …", file=sys.stderr)
    shapes = (
        simulated_tree(random.Random(number), BRANCHING)
        for number in range(max(1, num_pairs // PAIRS_PER_TREE))
    )
    forest = add_trees(empty_forest(f"benchmark-test-{num_pairs}"), shapes)
    parameters = SetParameters(PairingOptions(pairing="all_pairs"))
    made = create_preferences(forest, "all", parameters, lambda _: None)
    reading, rows = _read_bare(made)
    results = []
    for name in CONTAINERS:
        writing = _write_bare(name, rows)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            export, most = pool.submit(export_set, made.id, name).result()
        results.append(
            Result(
                pairs=made.num_pairs,
                container=name,
                export=round(export, 3),
                reading=round(reading, 3),
                writing=round(writing, 3),
                ratio=round((reading + writing) / export, 3),
                rows_per_second=round(made.num_pairs / export),
                most_mebibytes=most,
            )
        )
    return results


def _read_bare(made: Any) -> tuple[float, list[dict[str, str]]]:
    from forests.models import Tree  # noqa: PLC0415
    from forests.storage.trees import collection, in_batches, tree_ids  # noqa: PLC0415
    from preferences.models import Preference, tree_key  # noqa: PLC0415

    began = time.perf_counter()
    rows = []
    for indexes in in_batches(range(made.forest.num_trees)):
        keys = [tree_key(made.id, index) for index in indexes]
        trees = collection(Tree).find({"_id": {"$in": tree_ids(made.forest, indexes)}})
        prompts = {tree["index"]: tree["prompt"] for tree in trees}
        rows += [
            {
                "prompt": prompts[found["tree_index"]] + found["prefix"],
                "chosen": found["chosen"],
                "rejected": found["rejected"],
            }
            for found in collection(Preference).find({"tree_key": {"$in": keys}})
        ]
    return time.perf_counter() - began, rows


def _write_bare(container: str, rows: list[dict[str, str]]) -> float:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415
    from datasets import Dataset, disable_progress_bars  # noqa: PLC0415

    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        began = time.perf_counter()
        if container == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)  # type: ignore[no-untyped-call]
        elif container == "jsonl":
            with path.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            Dataset.from_list(rows).save_to_disk(str(path))
        return time.perf_counter() - began


def export_set(set_id: str, container: str) -> tuple[float, float]:
    """Return the seconds of an export, and the peak memory of this process in MiB."""
    import django  # noqa: PLC0415  the settings read the environment

    django.setup()
    import datasets  # noqa: F401, PLC0415  it loads for a second, as the bare loop has loaded it
    import matplotlib.figure  # noqa: F401, PLC0415  the same

    from forests.storage.reader import DatabaseReader  # noqa: PLC0415
    from preferences.export.formats.base import RowOptions  # noqa: PLC0415
    from preferences.export.writing import FORMATS, ExportRequest, export  # noqa: PLC0415
    from preferences.models import PreferenceSet  # noqa: PLC0415

    made = PreferenceSet.objects.get(pk=set_id)
    with tempfile.TemporaryDirectory() as folder:
        request = ExportRequest(
            reader=DatabaseReader(made.forest),
            format=FORMATS["trl"],
            containers=(container,),
            output=Path(folder) / "out",
            pairs=made,
            options=RowOptions(label_threshold=0.0),
            estimator="leaf_mean",
            ungraded="incorrect",
        )
        began = time.perf_counter()
        export(request, overwrite=False, report=lambda _: None)
        seconds = time.perf_counter() - began
    return seconds, most_mebibytes()


if __name__ == "__main__":
    main()
