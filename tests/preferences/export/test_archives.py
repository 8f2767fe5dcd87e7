"""An archive gives the rows of its forest, without the database."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import JUDGE
from forests.core.tree import ReasoningTree
from forests.models import Forest
from forests.storage.scores import start_scorer, write_judged
from forests.transfer.archiving import export_forest
from preferences.core.consensus import MONTE_CARLO
from preferences.models import PreferenceSet
from tests.metrics.trees import coin_tree
from tests.preferences.conftest import MakeForest
from tests.preferences.export.test_export_preferences import refused, run
from tests.preferences.trees import addition_tree

pytestmark = pytest.mark.django_db

OFTEN_CHANGED = ("created_at", "files")


@pytest.fixture
def forest(make_forest: MakeForest) -> Forest:
    """Trees with thoughts and without, one of them judged, and one not complete."""
    coins = [coin_tree(Random(seed), (4, 2, 2)) for seed in range(40)]
    thinking = addition_tree()
    for node in thinking.children(()):
        node.is_thought = True
    for tree in coins:
        for number, node in enumerate(tree):
            node.text = node.text and f"Step {number}.\n"
    trees = [addition_tree(), thinking, *coins, addition_tree()]
    forest = make_forest(trees=trees, incomplete=[len(trees) - 1])
    judge = start_scorer(forest, "judge", {"template": "per_step"}, kind=JUDGE)
    write_judged(judge, {f"{forest.name}/0000000": judged(trees[0])})
    return forest


def judged(tree: ReasoningTree) -> JudgedTree:
    steps = [node.path for node in tree if node.path]
    return JudgedTree(
        scores={path: float(path[-1] % 2) for path in steps},
        rationales={path: f"Step {path}." for path in steps},
        votes=dict.fromkeys(steps, (3, 0, 1)),
    )


@pytest.fixture
def archive(forest: Forest, tmp_path: Path) -> Path:
    export_forest(forest, tmp_path / "first", overwrite=False)
    return tmp_path / "first"


def exported(output: Path) -> tuple[list[dict], dict]:
    """Return the rows and the manifest of a dataset, without what differs between two exports."""
    rows = pq.read_table(output / "parquet" / "train.parquet").to_pylist()
    manifest = json.loads((output / "manifest.json").read_text())
    return rows, {name: value for name, value in manifest.items() if name not in OFTEN_CHANGED}


@pytest.mark.parametrize(
    "options",
    [
        ("--format", "trl_stepwise", "--with_values", "--thoughts", "keep"),
        ("--format", "prm800k", "--estimator", "child_mean", "--pass_rate", "0.2,0.8"),
        ("--format", "trl_stepwise", "--values", "scorer:judge", "--agree", MONTE_CARLO),
        ("--format", "critique_sft", "--critic", "judge"),
    ],
)
def test_steps_are_those_of_the_database(options, forest, archive, tmp_path):
    run("--forest_name", forest.name, *options, "--output", tmp_path / "stored")
    run("--archive", archive, *options, "--output", tmp_path / "read")
    rows, manifest = exported(tmp_path / "stored")
    assert rows
    assert exported(tmp_path / "read") == (rows, manifest)


@pytest.mark.parametrize(
    ("of_pairs", "of_rows"),
    [
        ((), ()),
        (("--pairing", "all_pairs", "--min_confidence", "0"), ("--balance_length",)),
        (("--level", "trajectory", "--max_pairs_per_tree", "2"), ("--pass_rate", "0.2,0.8")),
        (("--values", "scorer:judge", "--min_margin", "0.5"), ("--with_values",)),
        (("--values", "progress", "--min_confidence", "0.6"), ("--thoughts", "drop")),
    ],
)
def test_pairs_are_those_of_create_preferences(of_pairs, of_rows, forest, archive, tmp_path):
    call_command("create_preferences", "--forest_name", forest.name, *of_pairs)
    run("--forest_name", forest.name, *of_rows, "--output", tmp_path / "stored")
    made = PreferenceSet.objects.get()
    run("--archive", archive, *of_pairs, *of_rows, "--output", tmp_path / "read")
    rows, manifest = exported(tmp_path / "stored")
    assert manifest["preference_set"]["name"] == made.name
    assert exported(tmp_path / "read") == (rows, manifest)
    assert PreferenceSet.objects.count() == 1


def test_it_needs_no_database(archive, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "MONGODB_URI"}
    command = [sys.executable, "manage.py", "export_preferences", "--archive", str(archive)]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "out"), "--json"],
        cwd=settings.BASE_DIR,
        env=environment | {"PRM_ENV_FILE": "", "PRM_DATA_DIR": str(tmp_path / "data")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["rows"]["train"] > 0


def test_what_only_one_of_both_has_is_refused(forest, archive, tmp_path):
    output = ("--output", tmp_path / "out")
    of_archive = ("--archive", archive, *output)
    assert "--pairing makes pairs of an --archive" in str(
        refused("--forest_name", forest.name, "--pairing", "all_pairs", *output)
    )
    assert "trl_stepwise has none" in str(
        refused(*of_archive, "--format", "trl_stepwise", "--min_margin", "0.5")
    )
    for option, value in {"forest_name": "x", "set": "x", "reviewed": "accepted"}.items():
        assert f"--{option} is for forests of" in str(refused(*of_archive, f"--{option}", value))
    single = ("--format", "trl_conversational", "--level", "step", "--min_confidence", "0")
    said = str(refused(*of_archive, *single))
    assert "--level step makes single steps" in said
    assert "one step: give --level step_to_end, or" in said
    assert "min_margin must be" in str(refused(*of_archive, "--min_margin", "2"))
    with pytest.raises(CommandError, match="has no scorer 'other', it has judge"):
        run(*of_archive, "--values", "scorer:other")
    assert not (tmp_path / "out").exists()
