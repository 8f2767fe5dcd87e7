"""Speed of measuring and exporting an archive, against the same forest in the database.

The bare baseline is `pyarrow.parquet.read_table` of the archive's tables, whose rows nobody looks
at. All three read the same forest in the same run; each figure is the best of a few.

usage: python benchmarks/archives.py [--quick] [--json]
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.peak_memory import forget_most_memory, most_mebibytes
from benchmarks.servers import empty_database

GOAL = 0.1
"""Of the time that the database takes."""
REPEATS = 3
BEAMS = (1, 5)


@dataclass(frozen=True)
class Result:
    """Seconds for one forest, and the peak memory of the process while it measures the archive."""

    nodes: int
    archive_bytes: int
    bare: float
    """Only reading the tables."""
    reading: float
    """Reading the trees of the archive as trees."""
    archive: float
    """Values and beam search over the archive."""
    database: float
    export_archive: float
    """Export of the labelled steps of the archive."""
    export_database: float
    most_mebibytes: float


def main() -> None:
    options = argument_parser(__doc__, quick="10^4 nodes only").parse_args()
    sizes = (10_000,) if options.quick else (10_000, 100_000)
    with empty_database():
        import django  # noqa: PLC0415  the settings read the environment

        django.setup()
        results = [measure(size) for size in sizes]
    if options.json:
        print_json("archives", measures(results), results=[asdict(result) for result in results])
        return
    print(
        "    nodes  bytes/node  bare s  reading s  archive s  database s  ratio  "
        "steps: archive s  database s  ratio  most MiB"
    )
    for r in results:
        print(
            f"{r.nodes:9}  {r.archive_bytes / r.nodes:10.1f}  {r.bare:6.2f}  {r.reading:9.2f}"
            f"  {r.archive:9.2f}  {r.database:10.2f}  {r.archive / r.database:5.2f}"
            f"  {r.export_archive:16.2f}  {r.export_database:10.2f}"
            f"  {r.export_archive / r.export_database:5.2f}  {r.most_mebibytes:8.1f}"
        )


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


def measure(num_nodes: int) -> Result:
    """Return the costs of one forest of this size, in the database and as an archive."""
    from benchmarks.forest_loading import load_forest  # noqa: PLC0415  after Django's setup
    from forests.storage.reader import DatabaseReader  # noqa: PLC0415
    from forests.transfer.archive_reader import ArchiveReader  # noqa: PLC0415
    from forests.transfer.archiving import export_forest  # noqa: PLC0415

    print(f"{num_nodes} nodes …", file=sys.stderr)
    forest = load_forest(f"benchmark-test-{num_nodes}", num_nodes)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "archive"
        export_forest(forest, directory, overwrite=False)
        stored, archive = DatabaseReader(forest), ArchiveReader(directory)
        everything = range(forest.num_trees)
        forget_most_memory()
        of_archive = _best(lambda: _evaluate(archive))
        most = most_mebibytes()
        return Result(
            nodes=forest.num_nodes,
            archive_bytes=sum(path.stat().st_size for path in directory.iterdir()),
            bare=_best(lambda: _read_bare(directory)),
            reading=_best(lambda: sum(1 for _ in archive.trees(everything))),
            archive=of_archive,
            database=_best(lambda: _evaluate(stored)),
            export_archive=_best(lambda: _export(archive)),
            export_database=_best(lambda: _export(stored)),
            most_mebibytes=most,
        )


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
    """Return the seconds of the fastest run: what else the machine does only makes it slower."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return round(min(times), 3)


if __name__ == "__main__":
    main()
