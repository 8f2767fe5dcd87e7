"""verifiers v1 reads exported trees back with its own classes.

`INTEROP_VERIFIERS` names the Python of an environment with verifiers 0.4.0; elsewhere this is
skipped.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest
from django.core.management import call_command

from forests.core.tokens.branches import ids_to
from forests.storage.trees import iter_trees
from rollouts.workers.jobs import grow_slice
from tests.rollouts.forests import seeded

PYTHON = os.environ.get("INTEROP_VERIFIERS", "")

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not PYTHON, reason="needs verifiers: name its Python in INTEROP_VERIFIERS"),
]


def test_the_branches_of_a_trace_are_the_solutions_of_the_tree(model_server, tmp_path):
    model_server.tells_ids = True
    forest = seeded(2, keep_tokens=True)
    grow_slice(forest.name, 0, 2)
    call_command(
        "export_preferences", "--forest_name", forest.name, "--format", "verifiers",
        "--container", "jsonl", "--output", str(tmp_path / "out"),
    )  # fmt: skip
    script = Path(__file__).with_name("read_traces.py")
    traces = tmp_path / "out" / "jsonl" / "train.jsonl"
    command = [PYTHON, str(script), str(traces)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    branches = json.loads(run.stdout)
    solutions = [
        list(ids_to(stored.tree, leaf.path) or ())
        for stored in iter_trees(forest)
        for leaf in stored.tree.leaves()
    ]
    assert sorted(branch["ids"] for branch in branches) == sorted(solutions)
