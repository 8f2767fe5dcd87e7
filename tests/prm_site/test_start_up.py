"""What processes import before they do anything: each of these libraries takes 0.06 s to 0.7 s."""

import subprocess
import sys

import pytest

HEAVY = (
    "aiohttp", "datasets", "django.contrib.gis", "huggingface_hub", "matplotlib", "openai",
    "pandas", "pyarrow", "pydantic", "sympy", "tokenizers",
)  # fmt: skip
_FOUND = f"import sys; print(*(name for name in {HEAVY!r} if name in sys.modules))"


def _imported_by(code: str) -> set[str]:
    """Return which of the heavy libraries a process has imported that ran some code."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\n{_FOUND}"], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "command",
    [
        "check",  # with all that the addresses of the site lead to
        "recount_forest --help",
        "populate_forest --help",
        "rollout_worker --help",
        "seed_forest --help",
        "extend_forest --help",
        "create_preferences --help",
        "beam_search --help",
    ],
)
def test_a_command_that_needs_no_heavy_library_imports_none(command: str):
    code = (
        "from prm_site.command_line import run\n"
        "try:\n"
        f"    run(['manage.py', *{command.split()!r}])\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code"
    )
    assert _imported_by(code) == set()


def test_a_worker_process_imports_no_more_than_it_asks_the_model_with():
    code = (
        "import django\n"
        "django.setup()\n"
        "import rollouts.workers.child_worker, experiment_configs.rollout.gsm8k_baseline\n"
        "import rollouts.client.backend"
    )
    assert _imported_by(code) == {"aiohttp", "openai", "pydantic"}


def test_a_worker_of_the_queue_imports_that_once_and_not_in_each_fork():
    code = "import django\ndjango.setup()\nimport rollouts.workers.rq_worker"
    assert _imported_by(code) == {"aiohttp", "openai", "pydantic"}
