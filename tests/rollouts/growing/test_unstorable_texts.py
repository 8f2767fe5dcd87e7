"""A text that MongoDB cannot hold fails one tree, which says why; the others of its slice grow."""

from collections import Counter
from pathlib import Path

import pytest

from experiment_configs.loading import load_config
from forests.models import Forest, Node, Tree
from forests.seeding import seed_forest
from forests.storage.counters import recount_forest
from forests.storage.trees import retry_failed
from rollouts.growing import grower as growth
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer, write_two_steps
from tests.rollouts.forests import WORKER_SETTINGS, assert_whole, reread, seeded

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
from experiment_configs.interfaces import ConfigError
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    def extract_answer(self, completion):
        if completion.startswith(" Odd"):
            {body}
        return "1"
"""


def write_one_odd(odd: str):
    """Return a writer of usual solutions, but of `odd` for each fourth seed of the first prompt."""
    first_prompts: list[str] = []

    def write(prefix: str, seed: int) -> str:
        prompt = prefix.rpartition("Answer:")[0]
        if not first_prompts:
            first_prompts.append(prompt)
        return odd if prompt == first_prompts[0] and seed % 4 == 1 else "usual\n"

    return write


def sampled(forest: Forest) -> Forest:
    forest.worker_config |= WORKER_SETTINGS | {
        "strategy": "sampled",
        "num_rollouts": 4,
        "concurrency": 1,
    }
    forest.save()
    return forest


def failed_tree(forest: Forest) -> Tree:
    counts = Counter(Tree.objects.filter(forest_id=forest.name).values_list("status", flat=True))
    assert counts == {"complete": 2, "failed": 1}
    tree = Tree.objects.get(forest_id=forest.name, status="failed")
    assert "\n" not in tree.error
    return tree


def test_a_step_that_no_document_can_hold_fails_its_tree_alone(
    model_server: OpenAIServer, monkeypatch
):
    model_server.write = write_one_odd("x" * 17_000_000)
    forest = sampled(seeded(3))

    assert grow_slice(forest.name, 0, 3) == {"complete": 2, "failed": 1}

    tree = failed_tree(forest)
    assert tree.error.startswith("the model wrote a step of 17,000,000 bytes, and a node holds")
    assert tree.requests == 2  # the first tree also counts the probe of the server
    assert tree.num_nodes == Node.objects.filter(tree_id=tree.id).count() == 1
    assert Node.objects.get(tree_id=tree.id).count == 3  # the other samples are kept
    assert recount_forest(reread(forest)) == {}


def test_after_retry_failed_only_the_sample_that_was_not_stored_is_asked_for(
    model_server: OpenAIServer,
):
    model_server.write = write_one_odd("x" * 17_000_000)
    forest = sampled(seeded(3))
    grow_slice(forest.name, 0, 3)
    model_server.write = write_two_steps
    model_server.requests.clear()
    retry_failed(forest)

    assert grow_slice(forest.name, 0, 3) == {"complete": 1, "failed": 0}

    assert [request["n"] for request in model_server.requests] == [1]
    assert_whole(forest)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (r"return '\ud83d'", "what extract_answer returned holds a lone surrogate"),
        ("return 'x' * 17_000_000", "extract_answer returned a text of 17,000,000 bytes"),
        (r"raise ConfigError('no \ud83d\n\0')", "no �"),
        (r"raise ValueError('x' * 17_000_000)", "extract_answer failed: ValueError: xxx"),
        ("raise ConfigError('x' * 17_000_000)", "xxx"),
    ],
)
def test_an_answer_that_cannot_be_stored_fails_its_tree_and_names_the_method(
    model_server: OpenAIServer, tmp_path: Path, settings, body: str, error: str
):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "odd.py").write_text(CONFIG.format(body=body), encoding="utf-8")
    model_server.write = write_one_odd(" Odd\n")
    forest = sampled(seed_forest(load_config("odd", [tmp_path]), "train", "a", limit=3))

    assert grow_slice(forest.name, 0, 3) == {"complete": 2, "failed": 1}

    tree = failed_tree(forest)
    assert tree.error.startswith(error)
    assert len(tree.error) <= growth.MAX_CHARACTERS_OF_ERROR
    assert Node.objects.filter(tree_id=tree.id).count() == 2  # the samples are kept
    num_asked = len(model_server.requests)
    assert grow_slice(forest.name, 0, 3) == {"complete": 0, "failed": 0}
    assert len(model_server.requests) == num_asked


@pytest.mark.parametrize("text", ["a\0b\n", "a\ud83db\n", "\ufeffa\n", "a\x07\x1b[0m\n"])
def test_odd_characters_of_a_model_are_kept_or_replaced(model_server: OpenAIServer, text: str):
    model_server.write = write_one_odd(text)
    forest = sampled(seeded(3))

    assert grow_slice(forest.name, 0, 3) == {"complete": 3, "failed": 0}

    assert text.replace("\ud83d", "?") in set(Node.objects.values_list("text", flat=True))
    assert_whole(forest)
