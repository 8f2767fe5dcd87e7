"""Which heavy libraries processes import at their start: each library takes 0.06 s to 0.7 s."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    "aiohttp", "datasets", "django.contrib.gis", "huggingface_hub", "matplotlib", "numpy",
    "openai", "pandas", "pyarrow", "pydantic", "sympy", "tokenizers",
)  # fmt: skip
COMMANDS: dict[str, set[str]] = {
    "check": set(),  # loads all views of the site
    "recount_forest --help": set(),
    "populate_forest --help": set(),
    "rollout_worker --help": set(),
    "seed_forest --help": set(),
    "extend_forest --help": set(),
    "beam_search --help": set(),
    "create_preferences --help": {"numpy"},
    "export_preferences --help": {"huggingface_hub", "numpy", "pyarrow", "tokenizers"},
}
"""Commands with the heavy libraries that they load before they look at their arguments."""
WORKER_PROCESS = """
import rollouts.workers.child_worker, experiment_configs.rollout.gsm8k_baseline
import rollouts.client.backend
"""
QUEUE_WORKER = "import rollouts.workers.rq_worker"

_IN_FORKS = f"""
import json, os, sys
from io import StringIO
import django
from prm_site.command_line import run

django.setup()
for code in json.load(sys.stdin):
    if not os.fork():
        told, sys.stdout = sys.stdout, StringIO()
        try:
            exec(code)
        except SystemExit as end:
            assert not end.code, end.code
        found = [name for name in {HEAVY!r} if name in sys.modules]
        told.write(json.dumps([code, found]) + "\\n")
        told.flush()
        os._exit(0)
    assert os.wait()[1] == 0, code
"""
"""Runs each code in a fork of one process that has loaded Django."""


@pytest.fixture(scope="module")
def imported_by() -> dict[str, set[str]]:
    """The heavy libraries that each command or code imports."""
    codes = [f"run(['manage.py', *{one.split()!r}])" for one in COMMANDS]
    ran = subprocess.run(
        [sys.executable, "-c", _IN_FORKS],
        input=json.dumps([*codes, WORKER_PROCESS, QUEUE_WORKER]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    names = dict(zip(codes, COMMANDS, strict=True))
    found = map(json.loads, ran.stdout.splitlines())
    return {names.get(code, code): set(libraries) for code, libraries in found}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_loads_no_heavy_library_but_those_it_names(command: str, imported_by):
    assert imported_by[command] == COMMANDS[command]


def test_a_worker_process_imports_no_more_than_it_asks_the_model_with(imported_by):
    assert imported_by[WORKER_PROCESS] == {"aiohttp", "openai", "pydantic"}


def test_a_worker_of_the_queue_imports_that_once_and_not_in_each_fork(imported_by):
    assert imported_by[QUEUE_WORKER] == {"aiohttp", "openai", "pydantic"}
