"""A program reads the same from a forest in the database and from its archive."""

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import call_command

from common.directories import checksum
from forests.core.reading import COMPLETE, COUNTS, SPENT
from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import collection
from preferences.core.pairing import PairingOptions
from preferences.models import Preference
from prm_site import OpenForest, ReadError, open_forest
from prm_site.python_api.frames import COLUMNS, node_row, pair_row, tree_row
from prm_site.python_api.pairs import PairingArguments
from tests.forests.factories import add_trees, duck_tree, make_forest, open_tree
from tests.prm_site.python_api.conftest import NAME

OPTIONS = [
    {},
    {"pairing": "all_pairs", "min_margin": 0.3},
    {"level": "trajectory", "max_pairs_per_tree": 2, "seed": 7},
    {"level": "step_to_end", "drop_same_answer": True},
]


def everything(forest: OpenForest) -> list[object]:
    return [
        (
            tree.index, tree.item, tree.label, tree.prompt, tree.question, tree.status, tree.error,
            tree.hit_max_nodes, tree.spent, tree.tree, tree.values, tree.pairs(),
        )
        for tree in forest.trees()
    ]  # fmt: skip


def test_the_archive_of_a_forest_reads_as_the_forest(forest: Forest, archive: Path):
    stored, exported = open_forest(NAME), open_forest(archive)

    assert everything(exported) == everything(stored)
    assert exported.summary == stored.summary
    assert (len(exported), exported.counts["num_nodes"]) == (5, forest.num_nodes)
    assert exported.strategy == "branching"
    assert exported.scorers == ("judge",)


@pytest.mark.parametrize(
    "values", [{"estimator": "child_mean"}, {"ungraded": "exclude"}, {"scorer": "judge"}]
)
def test_other_values_are_the_same_in_both(values, forest: Forest, archive: Path):
    stored, exported = open_forest(NAME, **values), open_forest(archive, **values)

    assert everything(exported) == everything(stored)
    assert everything(exported) != everything(open_forest(archive))


@pytest.mark.parametrize("options", OPTIONS)
def test_the_pairs_are_those_of_the_command(options, forest: Forest, archive: Path):
    command = [
        part
        for name, value in options.items()
        for part in ([f"--{name}"] if value is True else [f"--{name}", str(value)])
    ]
    call_command("create_preferences", "--min_confidence", "0", "--forest_name", NAME, *command)
    made = Preference.objects.order_by("tree_index", "id")
    expected = [
        (one.tree_index, one.prefix, one.chosen, one.rejected, one.chosen_value, one.chosen_leaves,
         one.confidence)
        for one in sorted(made, key=lambda one: (one.tree_index, one.number))
    ]  # fmt: skip

    for forest_read in (open_forest(NAME), open_forest(archive)):
        assert [
            (one.tree_index, one.prefix_text, one.chosen.text, one.rejected.text,
             one.chosen.value, one.chosen.leaves, one.confidence)
            for one in forest_read.pairs(**options)
        ] == expected  # fmt: skip
    assert expected
    assert all(confidence is not None for *_, confidence in expected)


def test_an_archive_is_read_without_django_or_settings(archive: Path, tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path.cwd())!r})\n"
        "from prm_site import open_forest\n"
        "forest = open_forest(sys.argv[1])\n"
        "print(len(list(forest.trees())), len(list(forest.pairs())), len(forest.to_pandas()))\n"
        "loaded = {'django', 'pymongo', 'openai', 'rq', 'redis'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "MONGODB_URI": "mongodb://nowhere.invalid"}

    done = subprocess.run(
        [sys.executable, str(program), str(archive)],
        capture_output=True, text=True, check=False, env=environment, cwd=tmp_path,
    )  # fmt: skip

    trees = open_forest(NAME)
    pairs = len(list(trees.pairs()))
    nodes = sum(len(tree) for tree in trees.trees())
    assert (done.stderr, done.stdout.split()) == ("", ["5", str(pairs), str(nodes)])


def test_a_program_without_settings_opens_a_forest_of_the_database(
    forest: Forest, settings, tmp_path: Path
):
    program = (
        "import asyncio\n"
        "from prm_site import open_forest\n"
        "async def cell():\n"
        f"    print(len(list(open_forest({NAME!r}).trees())))\n"
        "asyncio.run(cell())\n"
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "PRM_ENV_FILE": "",
        "PRM_DATA_DIR": str(tmp_path),
        "PRM_DATABASE_NAME": settings.DATABASES["default"]["NAME"],
        "MONGODB_URI": settings.MONGODB_URI,
    }
    run = [sys.executable, "-c", program]

    done = subprocess.run(run, capture_output=True, text=True, check=False, env=environment)
    assert (done.stderr, done.stdout) == ("", "5\n")

    environment |= {"MONGODB_URI": ""}
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "ReadError: no database: set MONGODB_URI" in done.stderr.splitlines()[-1]


def test_nodes_have_values_and_the_samples_behind_them(archive: Path):
    tree = open_forest(archive).tree(0)

    assert (tree.root.value, tree.root.num_leaves, tree.pass_rate) == (4 / 10, 10, 4 / 10)
    step = tree.node("0.0")
    assert (step.path, step.name, step.depth) == ((0,), "0.0", 1)
    assert (step.value, step.num_leaves) == (4 / 5, 5)
    assert step.text.startswith("She uses")
    assert [one.name for one in tree.children("0.0")] == ["0.0.0", "0.0.1"]
    assert [one.name for one in tree.steps_to((0, 1, 1))] == ["0.0", "0.0.1", "0.0.1.1"]
    assert tree.node("0.0.1.1").answer == "19"
    assert {one.name for one in tree.leaves()} >= {"0.1.1", "0.0.1.1"}
    assert [(one.answer, one.samples) for one in tree.answers][:2] == [("18", 4), ("26", 3)]
    assert len(list(tree)) == len(tree) == tree.counts["num_nodes"]


def test_trees_are_found_by_how_often_and_how_they_are_solved(archive: Path):
    forest = open_forest(archive)

    middling = [t.index for t in forest.trees() if t.pass_rate and 0.2 <= t.pass_rate <= 0.8]
    outvoted = [t.index for t in forest.trees() if t.pass_rate and t.majority_vote == 0]

    assert middling == [0, 1]
    assert outvoted == [1]
    assert [t.pass_rate for t in forest.trees()][2:] == [None, None, 1.0]
    assert [t.is_complete for t in forest.trees()] == [True, True, False, False, True]


def test_some_trees_are_read_without_the_others(archive: Path):
    forest = open_forest(archive)

    assert [tree.index for tree in forest.trees(3)] == [3, 4]
    assert [tree.index for tree in forest.trees(1, 3)] == [1, 2]
    assert [tree.index for tree in forest.trees(-1)] == [4]
    assert list(forest.trees(4, 2)) == []


def test_tables_have_a_row_for_each_tree_node_and_pair(archive: Path):
    forest = open_forest(archive)

    trees, nodes = forest.to_pandas("trees"), forest.to_pandas()
    pairs = forest.to_pandas("pairs", pairing="all_pairs")

    assert trees["tree"].tolist() == [0, 1, 2, 3, 4]
    assert trees["value"].tolist()[:2] == [4 / 10, 1 / 4]
    assert trees["majority_vote"].tolist()[:2] == [1.0, 0.0]
    assert nodes.groupby("tree").size().to_dict() == {0: 12, 1: 3, 2: 2, 4: 1}
    assert nodes.set_index(["tree", "path"]).loc[(0, "0.0"), "value"] == 4 / 5
    assert set(nodes["grade"].dropna()) == {"correct", "incorrect", "unanswered"}
    assert (pairs["margin"] > 0).all()
    assert len(pairs) == len(list(forest.pairs(pairing="all_pairs"))) > 0


def test_tables_without_results_or_rows_can_be_filtered_all_the_same(db):
    add_trees(make_forest("ducks-test-open"), [open_tree()])
    make_forest("ducks-test-none")

    for name in ("ducks-test-open", "ducks-test-none"):
        forest = open_forest(name)
        trees, nodes = forest.to_pandas("trees"), forest.to_pandas("nodes")
        pairs = forest.to_pandas("pairs")
        assert len(trees[trees.pass_rate.between(0, 1) | (trees.majority_vote == 0)]) == 0
        assert len(nodes[(nodes.value >= 0) & (nodes.value_leaves >= 1)]) == 0
        assert len(pairs[pairs.margin > 0]) == 0
        assert (len(trees), len(nodes)) == ((1, 2) if name == "ducks-test-open" else (0, 0))


def test_every_row_has_the_columns_of_its_table(archive: Path):
    forest = open_forest(archive)
    tree, pair = forest.tree(0), next(forest.pairs())

    assert tuple(tree_row(tree)) == COLUMNS["trees"]
    assert tuple(node_row(tree, tree.node("0.0"))) == COLUMNS["nodes"]
    assert tuple(pair_row(pair)) == COLUMNS["pairs"]


def test_a_forest_is_opened_from_a_cell_of_a_notebook(archive: Path):
    async def cell() -> int:
        return len(list(open_forest(archive).trees()))

    assert asyncio.run(cell()) == 5


def refused(*arguments, **options) -> str:
    with pytest.raises(ReadError) as caught:
        list(open_forest(*arguments, **options).trees())
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_cannot_be_opened_is_refused_in_one_line(archive: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert "has no manifest.json" in refused(tmp_path / "empty")
    assert "no directory" in refused(tmp_path / "nowhere")
    assert "no directory" in refused("backups/first")
    assert f"it has {NAME}" in refused("ducks-test-second")
    assert "no scorer 'other', it has judge" in refused(archive, scorer="other")
    assert "leave out scorer" in refused(archive, scorer="judge", estimator="any")
    assert "estimator own_rollouts has no meaning" in refused(archive, estimator="own_rollouts")
    assert "choose one of incorrect, exclude" in refused(archive, ungraded="include")


def test_a_damaged_archive_is_refused(archive: Path):
    nodes = archive / "nodes.parquet"
    content = nodes.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], b""):
        nodes.write_bytes(damaged)
        assert "is missing or not what was exported" in refused(archive)
        refused(archive, check_files=False)
    nodes.unlink()
    assert "is missing" in refused(archive)
    assert "cannot be read" in refused(archive, check_files=False)


@pytest.mark.parametrize(
    ("column", "value"),
    [("drawn", "[]"), ("drawn", "{"), ("grade", "good"), ("path", "0.x"), ("count", 0)],
)
def test_an_archive_that_another_program_changed_is_refused(column, value, archive: Path):
    path = archive / "nodes.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    kind = table.schema.field(place)
    values = pa.array([value, *table.column(column).to_pylist()[1:]], kind.type)
    pq.write_table(table.set_column(place, kind, values), path)
    manifest = json.loads((archive / "manifest.json").read_text())
    manifest["files"][path.name] = checksum(path)
    (archive / "manifest.json").write_text(json.dumps(manifest))

    assert "is not what export_forest writes" in refused(archive)


def test_a_forest_that_is_not_whole_is_refused(forest: Forest):
    collection(Forest).update_one({"_id": NAME}, {"$set": {"is_graded": False}})
    assert "regrade_forest" in refused(NAME)
    collection(Forest).update_one({"_id": NAME}, {"$set": {"is_graded": True, "is_seeded": False}})
    assert "the same seed_forest command" in refused(NAME)


def test_what_a_forest_does_not_have_is_refused(archive: Path):
    forest: Any = open_forest(archive)
    for ask, said in (
        (lambda: forest.tree(5), "has 5 trees"),
        (lambda: forest.tree(-1), "has 5 trees"),
        (lambda: forest.tree(0).node("0.9"), "no node"),
        (lambda: forest.tree(0).node("first"), "no node"),
        (lambda: forest.pairs(margin=1), "no option 'margin'"),
        (lambda: forest.pairs(min_margin=2), "min_margin must be"),
        (lambda: forest.pairs(min_margin="high"), "cannot be made"),
        (lambda: forest.to_pandas("leaves"), "trees, nodes, pairs"),
        (lambda: forest.to_pandas("trees", min_margin=0.1), "no options"),
    ):
        with pytest.raises(ReadError, match=said):
            ask()


def test_a_forest_of_many_trees_is_read_in_bounded_memory(db, tmp_path: Path):
    text = "x" * 20_000
    make_forest("big-test-first")
    for _ in range(8):
        trees = []
        for _ in range(40):
            tree = duck_tree()
            for node in tree:
                node.text = text if node.path else ""
            trees.append(tree)
        add_trees(Forest.objects.get(pk="big-test-first"), trees)
    output = tmp_path / "big"
    call_command("export_forest", "--forest_name", "big-test-first", "--output", str(output))
    program = (
        "import resource, sys\n"
        "from prm_site import open_forest\n"
        "forest = open_forest(sys.argv[1])\n"
        "next(forest.trees())\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "characters = sum(len(node.text) for tree in forest.trees() for node in tree)\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(characters, (after - before) * 1024)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(output)], capture_output=True, text=True, check=True
    )

    characters, grown = map(int, done.stdout.split())
    assert characters == 320 * 12 * len(text)  # 77 MB
    assert grown < characters / 2


def test_the_names_of_what_is_counted_are_those_of_the_database():
    forest_fields = {field.name for field in Forest._meta.concrete_fields}
    tree_fields = {field.name for field in Tree._meta.concrete_fields}

    assert forest_fields >= set(COUNTS)
    assert tree_fields >= set(SPENT)
    assert TreeStatus.COMPLETE == COMPLETE
    assert set(PairingArguments.__annotations__) == {one.name for one in fields(PairingOptions)}


def test_what_the_documents_show_runs(archive: Path, tmp_path: Path):
    document = Path("docs/python-api.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    (tmp_path / "backups").mkdir()
    archive.rename(tmp_path / "backups" / "first")
    columns = (
        "for table in ('trees', 'nodes', 'pairs'):\n"
        "    print('COLUMNS', table, *forest.to_pandas(table).columns)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*blocks, columns])],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert len(blocks) > 5
    for line in done.stdout.splitlines():
        if line.startswith("COLUMNS"):
            _, table, *names = line.split()
            told = ", ".join(f"`{name}`" for name in names)
            assert f"| `{table}` | {told} |" in document
