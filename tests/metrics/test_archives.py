"""An archive gives the numbers of its forest, to the last digit, and needs no database."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from common.directories import MANIFEST
from forests.core.naming import tree_id
from forests.core.tree import TreeNode
from forests.models import Forest, Node, Tree, TreeStatus
from forests.storage.scores import start_scorer, write_scores
from forests.storage.trees import insert_new, node_document
from forests.transfer.archiving import export_forest
from metrics.models import MetricRun
from tests.forests.factories import add_trees, duck_tree, make_forest, open_tree
from tests.metrics.trees import coin_tree

NAME = "ducks-test-first"
ALL = ("--procedures", "beam,dvts,best_of_n", "--aggregation", "mean,min,last")


@pytest.fixture
def forest(db) -> Forest:
    """Complete, growing and failed trees; the first has scores and a torn write."""
    coins = [coin_tree(Random(seed), (4, 2, 2)) for seed in range(40)]
    for number, tree in enumerate(coins):
        for node in tree:
            node.logprob, node.tokens = -1 / (1 + number + len(node.path)), 3
    forest = add_trees(make_forest(NAME), [duck_tree(), *coins, open_tree()])
    forest = add_trees(forest, [open_tree()], status=TreeStatus.GROWING)
    forest = add_trees(forest, [open_tree()], status=TreeStatus.FAILED)
    scorer = start_scorer(forest, "judge", {"kind": "logprobs"})
    scores = {node.path: 0.1 + 0.05 * node.position for node in duck_tree() if node.path}
    write_scores(scorer, {f"{NAME}/0000000": scores})
    insert_new(Node, [node_document(NAME, tree_id(NAME, 0), TreeNode((9, 0)), datetime.now(UTC))])
    return Forest.objects.get(pk=NAME)


@pytest.fixture
def archive(forest: Forest, tmp_path: Path) -> Path:
    export_forest(forest, tmp_path / "first", overwrite=False)
    return tmp_path / "first"


def run(capsys, *arguments: object) -> tuple[str, str]:
    call_command("beam_search", *map(str, arguments))
    return tuple(capsys.readouterr())


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--value_function_option", "labelled_held_out", "--estimator", "child_mean"),
        ("--value_function_option", "logprob", "--ungraded", "exclude"),
        ("--value_function_option", "random", "--seed", "3", "--pass_rate", "0.2,0.8"),
        ("--value_function_option", "prm", "--scorer", "judge"),
    ],
)
def test_the_numbers_are_those_of_the_database(options, forest, archive, capsys):
    stored, _ = run(capsys, "--forest_name", NAME, "--json", "--no-save", *ALL, *options)
    read, _ = run(capsys, "--archive", archive, "--json", *ALL, *options)
    assert json.loads(stored)["trees"]["total"] == forest.num_trees == 44
    assert read == stored


def test_several_processes_without_a_database_print_the_same_and_store_nothing(
    forest, archive, capsys
):
    stored, _ = run(capsys, "--forest_name", NAME, "--no-save", *ALL)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MONGODB_URI", "REDIS_URL", "PRM_DATA_DIR")
    } | {"PRM_ENV_FILE": "", "PRM_DATA_DIR": str(archive.parent / "data")}
    command = [sys.executable, "manage.py", "beam_search", "--archive", str(archive)]
    done = subprocess.run(
        [*command, "--processes", "2", *ALL],
        cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == stored
    assert "the numbers are not stored" in done.stderr
    assert not MetricRun.objects.exists()


def test_models_of_trees_that_an_older_version_grew_are_counted(forest, archive, capsys, tmp_path):
    Tree.objects.filter(forest_id=NAME, index__lt=3).update(nodes_by_model={"old": 1})
    export_forest(forest, tmp_path / "older", overwrite=False)
    stored, _ = run(capsys, "--forest_name", NAME, "--json", "--no-save")
    assert json.loads(stored)["models"]
    assert run(capsys, "--archive", tmp_path / "older", "--json")[0] == stored


def test_an_archive_that_cannot_be_measured_is_refused_in_one_line(archive, tmp_path):
    def refused(directory: Path, *options: str) -> str:
        with pytest.raises(CommandError) as caught:
            call_command("beam_search", "--archive", str(directory), *options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "give a directory that export_forest wrote" in refused(tmp_path / "none")
    assert "no scorer 'other', it has judge" in refused(
        archive, "--value_function_option", "prm", "--scorer", "other"
    )
    with pytest.raises(CommandError, match="not allowed with"):
        call_command("beam_search", "--archive", str(archive), "--forest_name", NAME)
    (archive / "nodes.parquet").write_bytes(b"PAR1")
    assert "not what was exported" in refused(archive)
    (archive / MANIFEST).unlink()
    assert f"has no {MANIFEST}" in refused(archive)
