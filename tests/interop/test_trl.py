"""TRL's own trainers take what is exported, without any mapping.

`make test-interop` makes their environment and names its Python; elsewhere this is skipped.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from django.core.management import call_command

from forests.models import Forest
from tests.forests.factories import add_trees, make_forest
from tests.preferences.trees import addition_tree

PYTHON = os.environ.get("INTEROP_PYTHON", "")
OLDER_TRL = os.environ.get("INTEROP_OLDER_TRL", "")
"""Folder of the last TRL with PRMTrainer: 1.14 took it out."""

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not PYTHON, reason="needs TRL: run make test-interop"),
]

TRAIN = Path(__file__).with_name("train.py")
CONTAINERS = ("parquet", "jsonl", "dataset")
TRAINED = [
    *(
        ("dpo", name, container)
        for name in ("trl", "trl_conversational")
        for container in CONTAINERS
    ),
    *(
        ("reward", name, container)
        for name in ("trl", "trl_conversational")
        for container in CONTAINERS
    ),
    *(("kto", "trl_unpaired", container) for container in CONTAINERS),
    *(("prm", "trl_stepwise", container) for container in CONTAINERS),
]


@pytest.fixture
def forest(db) -> Forest:
    forest = add_trees(make_forest("additions-test-first"), [addition_tree() for _ in range(6)])
    call_command(
        "create_preferences",
        "--min_confidence",
        "0",
        "--forest_name",
        forest.name,
        "--set_name",
        "all",
    )
    return forest


@pytest.fixture
def chats(db) -> Forest:
    """Return a forest whose prompts are chats."""
    worker_config = {**make_forest("x-test-first").worker_config, "api": "chat"}
    forest = make_forest("chats-test-first", worker_config=worker_config)
    prompt = [{"role": "system", "content": "Add."}, {"role": "user", "content": "2 + 3?"}]
    forest = add_trees(forest, [addition_tree() for _ in range(6)], prompt=prompt)
    call_command(
        "create_preferences",
        "--min_confidence",
        "0",
        "--forest_name",
        forest.name,
        "--set_name",
        "all",
    )
    return forest


def train(trainer: str, forest: Forest, name: str, container: str, output: Path) -> dict:
    words = ["--forest_name", forest.name, "--format", name, "--container", container]
    call_command("export_preferences", *words, "--output", str(output))
    done = subprocess.run(
        [PYTHON, str(TRAIN), trainer, str(output), container],
        env=os.environ
        | {
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(output / "home"),
            "PYTHONPATH": OLDER_TRL if trainer == "prm" else "",
        },
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_trained(found: dict) -> None:
    assert found["rows"] > 0
    assert found["steps"] == 2
    assert len(found["losses"]) == 2
    assert found["finite"]
    assert found["changed"]


@pytest.mark.parametrize(("trainer", "name", "container"), TRAINED)
def test_a_trainer_takes_two_steps_on_the_files_as_they_are(
    forest, tmp_path, trainer, name, container
):
    assert_trained(train(trainer, forest, name, container, tmp_path / "out"))


@pytest.mark.parametrize(
    ("trainer", "name"),
    [("dpo", "trl_conversational"), ("reward", "trl_conversational"), ("kto", "trl_unpaired")],
)
def test_a_trainer_takes_two_steps_on_chats(chats, tmp_path, trainer, name):
    assert_trained(train(trainer, chats, name, "parquet", tmp_path / "out"))
