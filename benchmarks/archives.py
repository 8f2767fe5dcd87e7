"""Speed of measuring and exporting an archive, against the same forest in the database.

The bare baseline only reads the archive's tables with `pyarrow.parquet.read_table`. All three read
the same forest in the same run; each figure is the best of a few. Memory is measured in a process
that does nothing else, with archives up to ten times as large as the largest of these forests.

usage: python benchmarks/archives.py [--quick] [--json]
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.peak_memory import most_mebibytes
from benchmarks.servers import empty_database
from common.directories import MANIFEST, checksums
from common.garbage import rare_searches_for_garbage

GOAL = 0.1
"""Largest share of the time that the database takes."""
MOST_GROWTH = 1.1
"""Largest ratio to the memory for a tenth of the nodes. A larger one is growth, not noise."""
TIMES_LARGER = 10
REPEATS = 3
BEAMS = (1, 5)


@dataclass(frozen=True)
class Result:
    """Seconds for one forest."""

    nodes: int
    archive_bytes: int
    bare: float
    """Reading the tables with pyarrow."""
    reading: float
    """Reading the trees of the archive as trees."""
    archive: float
    """Values and beam search over the archive."""
    database: float
    export_archive: float
    """Export of the labelled steps of the archive."""
    export_database: float


@dataclass(frozen=True)
class Memory:
    """Peak memory in MiB of processes that each do one thing with an archive."""

    nodes: int
    search: float
    export: float


def main() -> None:
    options = argument_parser(__doc__, quick="10^4 nodes, and 10^5 for memory").parse_args()
    sizes = (10_000,) if options.quick else (10_000, 100_000)
    with empty_database():
        import django  # noqa: PLC0415  the settings read the environment

        django.setup()
        with tempfile.TemporaryDirectory() as folder:
            results = [measure(size, Path(folder) / str(size)) for size in sizes]
            memory = measure_memory([Path(folder) / str(size) for size in sizes], results)
    if options.json:
        print_json(
            "archives",
            [*measures(results), *measures_of_memory(memory)],
            results=[asdict(result) for result in results],
            memory=[asdict(one) for one in memory],
        )
        return
    print(
        "    nodes  bytes/node  bare s  reading s  archive s  database s  ratio  "
        "steps: archive s  database s  ratio"
    )
    for r in results:
        print(
            f"{r.nodes:9}  {r.archive_bytes / r.nodes:10.1f}  {r.bare:6.2f}  {r.reading:9.2f}"
            f"  {r.archive:9.2f}  {r.database:10.2f}  {r.archive / r.database:5.2f}"
            f"  {r.export_archive:16.2f}  {r.export_database:10.2f}"
            f"  {r.export_archive / r.export_database:5.2f}"
        )
    print("\n    nodes  search: most MiB  export: most MiB")
    for one in memory:
        print(f"{one.nodes:9}  {one.search:16.1f}  {one.export:16.1f}")


def measures(results: Sequence[Result]) -> list[Measure]:
    cases = (
        ("beam_search", "the same forest in the database", "archive", "database", GOAL),
        ("export of steps", "the same forest in the database", "export_archive",
         "export_database", GOAL),
        ("trees in memory", "merely reading the tables", "reading", "bare", None),
    )  # fmt: skip
    return [
        Measure(
            case=f"{case}, {r.nodes:,} nodes",
            baseline=baseline,
            unit="s",
            figure=getattr(r, seconds),
            baseline_figure=getattr(r, bare),
            at_most=goal,
        )
        for case, baseline, seconds, bare, goal in cases
        for r in results
    ]


def measures_of_memory(memory: Sequence[Memory]) -> list[Measure]:
    tenth, whole = memory[-2:]
    return [
        Measure(
            case=f"memory of {case}, {whole.nodes:,} nodes",
            baseline="an archive of a tenth of them",
            unit="MiB",
            figure=getattr(whole, name),
            baseline_figure=getattr(tenth, name),
            at_most=MOST_GROWTH,
        )
        for case, name in (("beam_search", "search"), ("export of steps", "export"))
    ]


def measure(num_nodes: int, directory: Path) -> Result:
    """Return the costs of one forest of this size, in the database and as an archive."""
    from benchmarks.forest_loading import load_forest  # noqa: PLC0415  after Django's setup
    from forests.storage.reader import DatabaseReader  # noqa: PLC0415
    from forests.transfer.archive_reader import ArchiveReader  # noqa: PLC0415
    from forests.transfer.archiving import export_forest  # noqa: PLC0415

    print(f"{num_nodes} nodes …", file=sys.stderr)
    forest = load_forest(f"benchmark-test-{num_nodes}", num_nodes)
    export_forest(forest, directory, overwrite=False)
    stored, archive = DatabaseReader(forest), ArchiveReader(directory)
    return Result(
        nodes=forest.num_nodes,
        archive_bytes=sum(path.stat().st_size for path in directory.iterdir()),
        bare=_best(lambda: _read_bare(directory)),
        reading=_best(lambda: _read(archive)),
        archive=_best(lambda: _evaluate(archive)),
        database=_best(lambda: _evaluate(stored)),
        export_archive=_best(lambda: _export(archive)),
        export_database=_best(lambda: _export(stored)),
    )


def measure_memory(directories: Sequence[Path], results: Sequence[Result]) -> list[Memory]:
    """Return the memory for each of these archives, and for one `TIMES_LARGER` times the last."""
    print("memory …", file=sys.stderr)
    larger = directories[-1].with_name("larger")
    _enlarge(directories[-1], larger)
    nodes = [*(one.nodes for one in results), results[-1].nodes * TIMES_LARGER]
    return [
        Memory(number, *(_memory_of(directory, what) for what in ("search", "export")))
        for number, directory in zip(nodes, [*directories, larger], strict=True)
    ]


def _enlarge(directory: Path, larger: Path) -> None:
    """Write an archive that repeats the trees of another one: faster than loading as many trees."""
    import pyarrow as pa  # noqa: PLC0415  with the rest
    import pyarrow.compute as pc  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    larger.mkdir()
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    forest = manifest["forest"]
    for path in directory.glob("*.parquet"):
        file = pq.ParquetFile(path)  # type: ignore[no-untyped-call]
        number = file.schema_arrow.get_field_index("index" if path.stem == "trees" else "tree")
        with pq.ParquetWriter(larger / path.name, file.schema_arrow, compression="zstd") as writer:  # type: ignore[no-untyped-call]
            for time_, group in product(range(TIMES_LARGER), range(file.num_row_groups)):
                table = file.read_row_group(group)  # type: ignore[no-untyped-call]
                moved = pc.add(table.column(number), pa.scalar(time_ * forest["num_trees"]))  # type: ignore[attr-defined]
                field = table.schema.field(number)
                writer.write_table(table.set_column(number, field, moved))
    for name in ("num_trees", "num_complete", "num_nodes"):
        forest[name] *= TIMES_LARGER
    manifest["files"] = checksums(larger)
    (larger / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def _memory_of(directory: Path, what: str) -> float:
    """Return the peak memory of a new process that does this with an archive."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_most_memory, directory, what).result()


def _most_memory(directory: Path, what: str) -> float:
    import django  # noqa: PLC0415  the settings read the environment

    django.setup()
    from forests.transfer.archive_reader import ArchiveReader  # noqa: PLC0415

    {"search": _evaluate, "export": _export}[what](ArchiveReader(directory))
    return most_mebibytes()


@rare_searches_for_garbage()
def _read(reader: Any) -> None:
    for _ in reader.trees(range(reader.forest.num_trees)):
        pass


def _read_bare(directory: Path) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415  with the rest

    for path in directory.glob("*.parquet"):
        pq.read_table(path)  # type: ignore[no-untyped-call]


def _evaluate(reader: Any) -> None:
    from metrics.core.evaluation import EvaluationOptions  # noqa: PLC0415
    from metrics.measuring.forests import evaluate_forest  # noqa: PLC0415

    evaluate_forest(reader, EvaluationOptions(num_beam_values=BEAMS), lambda _: None)


def _export(reader: Any) -> None:
    from preferences.export.formats.base import RowOptions  # noqa: PLC0415
    from preferences.export.writing import FORMATS, ExportRequest, export  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        request = ExportRequest(
            reader=reader,
            format=FORMATS["trl_stepwise"],
            containers=("parquet",),
            output=Path(folder) / "out",
            pairs=None,
            options=RowOptions(label_threshold=0.0),
            estimator="leaf_mean",
            ungraded="incorrect",
        )
        export(request, overwrite=False, report=lambda _: None)


def _best(run: Callable[[], object]) -> float:
    """Return the seconds of the fastest run: other work on the machine only makes runs slower."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return round(min(times), 3)


if __name__ == "__main__":
    main()
