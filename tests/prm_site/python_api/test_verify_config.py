"""A program checks a config without a database, as the command does."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from prm_site import verify_config

UNUSABLE = """
from experiment_configs.interfaces import RolloutConfig, RolloutWorkerConfig

class Config(RolloutConfig):
    rollout_worker_config = RolloutWorkerConfig(model="small", max_depth=0)

    def get_dataset_iterator(self, dataset_split):
        yield {"question": "2 + 3?", "answer": ""}
    def get_root_prompt(self, item):
        return item["question"]
    def get_label(self, item):
        return item["answer"]
    def serialize_dataset_item(self, item):
        return item["question"]
"""


def told_by_command(*arguments: str) -> list[tuple[str, bool, str]]:
    out = StringIO()
    call_command("verify_config", *arguments, "--json", stdout=out)
    checks = json.loads(out.getvalue())["checks"]
    return [(one["name"], one["is_ok"], one["detail"]) for one in checks]


def test_the_checks_are_those_of_the_command():
    found = verify_config("demo_arithmetic", "test")

    assert found.failures == 0
    assert len(found.items) == 3
    assert [(one.name, one.is_ok, one.detail) for one in found.checks] == told_by_command(
        "--config_name", "demo_arithmetic", "--dataset_split", "test"
    )


@pytest.mark.parametrize("is_named", [True, False])
def test_what_cannot_be_used_is_told_and_not_raised(is_named, tmp_path: Path, monkeypatch):
    (tmp_path / "unusable.py").write_text(UNUSABLE)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("PRM_CONFIG_PATH", f"~/{tmp_path.name}")

    found = verify_config("unusable", "test", [tmp_path] if is_named else None)

    failed = [str(one) for one in found.checks if not one.is_ok]
    assert found.failures == len(failed) == 2
    assert failed[0].startswith("FAIL worker config: rollout_worker_config.max_depth is 0")
    assert "FAIL item 0: get_label returned an empty label" in failed


def test_a_config_or_a_split_that_is_not_there_is_told():
    [check] = verify_config("nothing", "test").checks
    assert str(check).startswith("FAIL loads: ")
    assert verify_config("demo_arithmetic", "nothing").failures


def test_neither_django_nor_a_client_of_model_servers_is_loaded():
    program = (
        "import sys\n"
        "from prm_site import verify_config\n"
        "assert verify_config('demo_arithmetic', 'test').failures == 0\n"
        "print(*{'django', 'pymongo', 'openai', 'httpx'} & set(sys.modules))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "\n"
