"""Hostile archives are refused in one line, in bounded time and memory."""

import json
import resource
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from common.directories import checksum
from forests.models import Forest, Node, Scorer, Tree, TreeScores
from forests.storage.scores import start_scorer, write_scores
from forests.storage.trees import collection, delete_forest, iter_trees
from forests.transfer import archive_format as archives
from forests.transfer import archiving as transfer
from forests.transfer import part_writer
from forests.transfer.archive_format import SCHEMAS
from tests.forests.factories import add_trees, duck_tree, leaf, make_forest, step, tree_of

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"
GIB = 2**30
STATUS = Path("/proc/self/status")


@pytest.fixture
def out(db, tmp_path: Path) -> Path:
    """An export of two trees; the forest itself is deleted."""
    forest = make_forest(NAME)
    add_trees(forest, [duck_tree(), duck_tree()])
    forest = Forest.objects.get(pk=NAME)
    scorer = start_scorer(forest, "judge", {})
    write_scores(scorer, {f"{NAME}/0000000": {(0,): 0.5}})
    export(forest, tmp_path / "out")
    delete_forest(forest)
    return tmp_path / "out"


def export(forest: Forest, output: Path) -> None:
    call_command("export_forest", "--forest_name", forest.name, "--output", str(output))


def read(out: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / f"{name}.parquet").to_pylist()
    return rows


def replace(out: Path, name: str, table: pa.Table, **options: Any) -> None:
    """Write a table, and its checksum into the manifest."""
    path = out / f"{name}.parquet"
    pq.write_table(table, path, **options)
    change(out, files={path.name: checksum(path)})


def replace_rows(out: Path, name: str, rows: list[dict[str, Any]]) -> None:
    replace(out, name, pa.Table.from_pylist(rows, schema=SCHEMAS[name]))


def change(out: Path, **parts: dict[str, Any]) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    for part, changes in parts.items():
        manifest[part] |= changes
    (out / "manifest.json").write_text(json.dumps(manifest))


def refused(out: Path, message: str) -> None:
    """Check that an import is refused in one line, quickly, and leaves nothing behind."""
    limits, began = resource.getrlimit(resource.RLIMIT_AS), time.monotonic()
    with pytest.raises(CommandError, match=message) as caught:
        call_command("import_forest", str(out))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 20
    assert resource.getrlimit(resource.RLIMIT_AS) == limits
    for model in (Forest, Tree, Node, Scorer, TreeScores):
        assert not collection(model).count_documents({})


def bomb(row: dict[str, Any], schema: pa.Schema, column: str, text: str, number: int) -> pa.Table:
    """Return rows that all hold the same text, which the table stores only once."""
    indices = pa.array([0] * number, pa.int32())
    columns = [
        pa.DictionaryArray.from_arrays(indices, pa.array([text]))
        if field.name == column
        else pa.array([row[field.name]], field.type).take(indices)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema.names)


def peak_kilobytes() -> int:
    """Return the most memory that this process has held."""
    (line,) = (one for one in STATUS.read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1])


@pytest.mark.skipif(not STATUS.exists(), reason="only Linux tells the peak of a process")
def test_a_text_that_thousands_of_rows_share_is_not_unpacked_without_bound(
    out: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(transfer, "MAX_MEMORY", GIB)
    (row, _) = read(out, "trees")
    table = bomb(row, SCHEMAS["trees"], "item", "x" * 2_600_000, 2000)
    replace(out, "trees", table, compression="zstd", store_schema=False, use_dictionary=["item"])
    change(out, forest={"num_trees": 2000})
    assert (out / "trees.parquet").stat().st_size < 50_000
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of earlier tests
    before = peak_kilobytes()
    refused(out, "takes more than 1 GiB of memory when it is unpacked")
    assert peak_kilobytes() - before < 1.1 * GIB // 1024


def test_a_part_that_says_that_it_is_huge_is_not_unpacked_at_all(
    out: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archives, "MAX_BYTES_AT_ONCE", 2**20)
    rows = read(out, "nodes")
    replace_rows(out, "nodes", [*rows[:-1], rows[-1] | {"text": "x" * 2**21}])
    monkeypatch.setattr(transfer, "insert_new", lambda *_: pytest.fail("something was written"))
    refused(out, r"nodes.parquet is not .*a part of it has 2,\d+,\d+ bytes when it is unpacked")


def test_one_node_a_million_times_is_refused_at_the_second(out: Path):
    (row, *_) = read(out, "nodes")
    table = bomb(row, SCHEMAS["nodes"], "text", "a step", 1_000_000)
    replace(out, "nodes", table, compression="zstd", store_schema=False)
    refused(out, r"node \[0\] of tree 0 appears twice, or out of order")


def test_one_tree_many_times_is_refused_at_the_second(out: Path):
    (row, _) = read(out, "trees")
    table = bomb(row, SCHEMAS["trees"], "item", "an item", 100_000)
    replace(out, "trees", table, compression="zstd", store_schema=False)
    change(out, forest={"num_trees": 100_000})
    refused(out, "found tree 0 in the place of tree 1")


def test_scores_of_more_trees_than_there_are_are_refused(out: Path):
    (row,) = read(out, "scores")
    replace_rows(out, "scores", [row] * 3)
    refused(out, "has more than 2 scores of trees")


@pytest.mark.parametrize("num_trees", [10**6, 10**9, 2**31 - 1])
def test_a_number_of_trees_that_is_not_there_costs_nothing(out: Path, num_trees: int):
    change(out, forest={"num_trees": num_trees})
    began = time.monotonic()
    refused(out, f"it does not have {num_trees} trees")
    assert time.monotonic() - began < 5


def test_a_forest_that_claims_a_billion_trees_is_deleted_by_what_is_there(db):
    forest = make_forest(NAME, num_trees=10**9)
    add_trees(forest, [duck_tree()])
    Forest.objects.filter(pk=NAME).update(num_trees=10**9)
    began = time.monotonic()
    gone = delete_forest(Forest.objects.get(pk=NAME))
    assert time.monotonic() - began < 5
    assert gone == {"nodes": len(duck_tree()) - 1, "trees": 1, "forests": 1}


def test_nodes_whose_trees_are_gone_go_with_a_forest_and_no_neighbour_s(db):
    kept, gone = make_forest("ducks-test-firs"), make_forest(NAME)
    longer = make_forest(NAME + "0")
    for forest in (kept, gone, longer):
        add_trees(forest, [duck_tree()])
    Tree.objects.filter(forest_id=NAME).delete()
    Node.objects.filter(forest_id=NAME).update(tree_id=f"{NAME}/9999999")
    delete_forest(gone)
    assert {one.forest_id for one in Node.objects.all()} == {kept.name, longer.name}


def long_tree(depth: int) -> Any:
    path = ["0" + ".0" * number for number in range(1, depth + 1)]
    return tree_of(*(step(one, "A step.\n") for one in path[:-1]), leaf(path[-1], "5", None))


@pytest.mark.parametrize("depth", [2001, 10_000])
def test_a_path_that_no_page_can_show_is_refused(out: Path, depth: int):
    (row, *_) = read(out, "nodes")
    rows = [row | {"path": "0" + ".0" * number} for number in range(1, depth + 1)]
    replace_rows(out, "nodes", rows)
    refused(out, "tree 0 has more than 2000 steps on a path")


def test_a_tree_of_a_thousand_steps_as_reasoning_models_write_it_comes_back(db, tmp_path: Path):
    forest = make_forest(NAME)
    add_trees(forest, [long_tree(1000)])
    [before] = [one.tree for one in iter_trees(Forest.objects.get(pk=NAME))]
    export(forest, tmp_path / "out")
    delete_forest(Forest.objects.get(pk=NAME))
    call_command("import_forest", str(tmp_path / "out"))
    [after] = [one.tree for one in iter_trees(Forest.objects.get(pk=NAME))]
    assert after == before


@pytest.mark.parametrize("counts", [[2**31 - 1], [600_000, 600_000]])
def test_more_samples_than_metrics_can_look_at_are_refused(out: Path, counts: list[int]):
    rows = read(out, "nodes")
    rows = [
        row | {"count": number, "drawn": "{}"} for row, number in zip(rows, counts, strict=False)
    ]
    replace_rows(out, "nodes", rows)
    refused(out, "tree 0 has more than 100000 nodes, or more than 1000000 samples")


def test_a_tree_of_more_nodes_than_a_page_reads_is_refused(
    out: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archives, "MAX_NODES", 11)
    refused(out, "tree 0 has more than 11 nodes")


def test_a_step_that_no_sample_gave_is_refused(out: Path):
    rows = read(out, "nodes")
    replace_rows(out, "nodes", [rows[0] | {"count": 0}, *rows[1:]])
    refused(out, "count 0, tokens")


def test_a_manifest_without_bound_is_not_read(out: Path):
    with (out / "manifest.json").open("ab") as file:
        file.truncate(2**27)
    refused(out, "manifest.json is not .*it has more than 67,108,864 bytes")


def test_long_texts_are_written_in_small_parts_and_read_a_few_at_a_time(
    db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(part_writer, "BYTES_PER_PART", 50_000)
    monkeypatch.setattr(transfer, "BYTES_PER_READ", 20_000)
    forest = make_forest(NAME)
    texts = [chr(97 + number) * 10_000 for number in range(20)]
    add_trees(forest, [tree_of(*(leaf(f"0.{n}", text, None) for n, text in enumerate(texts)))])
    export(forest, tmp_path / "out")
    metadata = pq.read_metadata(tmp_path / "out" / "nodes.parquet")
    assert metadata.num_row_groups == 5
    delete_forest(Forest.objects.get(pk=NAME))
    sizes: list[int] = []
    real = transfer.insert_nodes

    def noted(documents: list[dict[str, Any]]) -> None:
        sizes.append(len(documents))
        real(documents)

    monkeypatch.setattr(transfer, "insert_nodes", noted)
    call_command("import_forest", str(tmp_path / "out"))
    assert sum(sizes) == 20
    assert max(sizes) < 20
    assert [one["text"] for one in collection(Node).find({}).sort("position")] == texts
