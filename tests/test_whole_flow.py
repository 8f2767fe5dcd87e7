"""The user's whole flow, from a config of their own to a dataset."""

import io
import json
from pathlib import Path

import pytest
from datasets import load_dataset, load_from_disk
from django.core.management import call_command
from django.test import Client

from forests.models import Activity, Forest, Node, Tree
from metrics.models import MetricRun
from preferences.models import Preference, PreferenceSet
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer

pytestmark = pytest.mark.django_db(transaction=True)

YES_OR_NO = '''
import json
import re
from pathlib import Path

from experiment_configs.interfaces import RolloutConfig, RolloutWorkerConfig


class Config(RolloutConfig):
    """Yes/no questions in chat."""

    rollout_worker_config = RolloutWorkerConfig(
        api="chat", branching=(6, 3), max_depth=4, stop_at_answer=True, concurrency=4
    )

    def get_dataset_iterator(self, dataset_split):
        yield from json.loads((Path(__file__).parent / f"{dataset_split}.json").read_text())

    def get_root_prompt(self, item):
        return [{"role": "user", "content": f"{item['question']} Answer:"}]

    def get_label(self, item):
        return "yes" if item["answer"] else "no"

    def extract_answer(self, completion):
        found = re.findall(r"So (yes|no)", completion)
        return found[-1] if found else None
'''


def write_reasons(prefix: str, seed: int) -> str:
    reason = f" Reason {seed % 3} für é.\n" if prefix.endswith("Answer:") else ""
    return f"{reason}So {'yes' if seed % 5 < 3 else 'no'}\n"


def run(name: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(name, *arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


@pytest.fixture
def forest(tmp_path: Path, settings, model_server: OpenAIServer) -> Forest:
    """A grown forest of a config of the user's own."""
    settings.CONFIG_PATH = [tmp_path]
    model_server.write = write_reasons
    (tmp_path / "yes_or_no.py").write_text(YES_OR_NO)
    items = [{"question": f"Is {n} even?", "answer": n % 2 == 0} for n in range(4)]
    (tmp_path / "dev.json").write_text(json.dumps(items))
    source = ("--config_name", "yes_or_no", "--dataset_split", "dev")
    assert "FAIL" not in run("verify_config", *source, "--with_backend")
    name = run(
        "seed_forest", "--dataset_config_name", *source[1:], "--forest_name_suffix", "a"
    ).split()[-1]
    grow_slice(name, 0, 4)
    return Forest.objects.get(pk=name)


def test_a_new_dataset_becomes_a_preference_dataset(forest: Forest, tmp_path: Path, admin_client):
    found = json.loads(
        run("beam_search", "--forest_name", forest.name, "--num_beam_values", "1,5", "--json")
    )
    assert found["rows"]
    pairs = json.loads(
        run("create_preferences", "--min_confidence", "0", "--forest_name", forest.name, "--json")
    )
    assert pairs["num_pairs"] > 0

    output = tmp_path / "out"
    run(
        "export_preferences", "--forest_name", forest.name, "--format", "trl_conversational",
        "--container", "jsonl,parquet,dataset", "--output", str(output),
    )  # fmt: skip

    rows = list(load_dataset(str(output), split="train", cache_dir=str(tmp_path / "cache")))
    assert rows == list(load_from_disk(str(output / "dataset"))["train"])
    assert len(rows) == pairs["num_pairs"]
    texts = {node.text for node in Node.objects.all()}
    for row in rows:
        assert row["prompt"][0]["content"].startswith("Is ")
        assert row["chosen"][0]["content"].endswith(tuple(texts))
        assert row["chosen"] != row["rejected"]


def test_every_page_of_the_forest_shows_it(forest: Forest, admin_client: Client):
    run("beam_search", "--forest_name", forest.name, "--num_beam_values", "1")
    run("create_preferences", "--min_confidence", "0", "--forest_name", forest.name)

    for page in ("", "trees/0/", "metrics/", "preferences/"):
        response = admin_client.get(f"/{forest.name}/{page}")
        assert response.status_code == 200
        assert forest.name in response.text


def test_a_deleted_forest_leaves_nothing(forest: Forest):
    run("beam_search", "--forest_name", forest.name, "--num_beam_values", "1")
    run("create_preferences", "--min_confidence", "0", "--forest_name", forest.name)

    run("delete_forest", "--forest_name", forest.name, "--yes")

    for model in (Forest, Tree, Node, Activity, MetricRun, PreferenceSet, Preference):
        assert model.objects.count() == 0
