"""Long solutions and slow methods of configs: trees grow, and leases are kept."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from experiment_configs.loading import load_config
from forests.models import Forest, Node
from forests.seeding import seed_forest
from forests.storage.trees import collection, tree_ids
from rollouts.growing import grower as growth
from rollouts.growing import leases
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import WORKER_SETTINGS, assert_whole, reread, seeded

pytestmark = pytest.mark.django_db(transaction=True)

NUM_STEPS = 31
OWN_EXTRACTION = """
import time
from pathlib import Path
from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    rollout_worker_config = RolloutWorkerConfig(stop_at_answer=True, strategy="sampled")

    def extract_answer(self, completion):
        with (Path(__file__).parent / "calls").open("a") as calls:
            print(len(completion), file=calls)
        time.sleep({seconds})
        return completion.split("is ")[1] if "is " in completion else None
"""


def write_long(characters: int):
    """Return a writer: first a thought of this length, which tries answers, then an answer."""
    paragraph = f"Maybe it is \\boxed{{4}}, as x^{{2}} = 16{' and so on' * 12}; let us see.\n"

    def write(prefix: str, seed: int) -> str:
        thought = "".join(f"{seed} {paragraph}" for _ in range(characters // len(paragraph)))
        return f"<think>{thought}</think>\nIt is \\boxed{{{seed % 3}}}.\nAnd that is all.\n"

    return write


def write_steps(prefix: str, seed: int) -> str:
    steps = [f"{seed} step {number}\n" for number in range(1, NUM_STEPS)]
    return "".join(steps) + f"It is {seed % 3}\n"


@pytest.fixture
def seeded_with_own_extraction(tmp_path: Path, settings):
    settings.CONFIG_PATH = [tmp_path]

    def seed(limit: int, seconds: float, **worker_settings: object) -> Forest:
        (tmp_path / "slow.py").write_text(OWN_EXTRACTION.format(seconds=seconds), encoding="utf-8")
        forest = seed_forest(load_config("slow", [tmp_path]), "train", "a", limit=limit)
        forest.worker_config |= WORKER_SETTINGS | {"max_depth": 100} | worker_settings
        forest.save()
        return forest

    return seed


def sampled(limit: int) -> Forest:
    return seeded(
        limit,
        strategy="sampled",
        num_rollouts=16,
        max_depth=3_000,
        max_nodes=100_000,
        max_tokens_per_rollout=100_000,
        request_timeout_seconds=60,
    )


def test_the_answer_behind_a_long_thought_is_found(model_server: OpenAIServer):
    model_server.write = write_long(20_000)
    forest = sampled(2)

    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}

    assert_whole(forest)
    grown = reread(forest)
    assert (grown.num_leaves, grown.num_unanswered, grown.num_truncated) == (32, 0, 0)
    leaves = Node.objects.filter(forest_id=forest.name, terminal=True)
    assert {leaf.text for leaf in leaves} == {f"\nIt is \\boxed{{{n}}}.\n" for n in range(3)}


@pytest.mark.slow
def test_long_thoughts_of_many_samples_grow_in_seconds(model_server: OpenAIServer):
    model_server.write = write_long(100_000)
    forest = sampled(6)
    began = time.process_time()  # counts the model server too, but no other process

    assert grow_slice(forest.name, 0, 6) == {"complete": 6, "failed": 0}

    assert time.process_time() - began < 40
    assert len(model_server.requests) == 6
    assert reread(forest).num_leaves == 96


def test_a_slow_rule_is_asked_once_after_each_step(
    model_server: OpenAIServer, seeded_with_own_extraction, tmp_path: Path
):
    model_server.write = write_steps
    forest = seeded_with_own_extraction(2, seconds=0, num_rollouts=16)

    grow_slice(forest.name, 0, 2)

    assert_whole(forest)
    num_asked = len((tmp_path / "calls").read_text().splitlines())
    num_graded = reread(forest).num_leaves
    assert num_asked == 2 * 16 * NUM_STEPS + num_graded


def test_trees_grow_where_looking_for_the_answer_takes_its_time(
    model_server: OpenAIServer, seeded_with_own_extraction, monkeypatch
):
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.1)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr("rollouts.growing.recorder.LEASE_SECONDS", 1.0)
    model_server.write = write_steps
    # The samples of both trees take five times as long as a lease.
    forest = seeded_with_own_extraction(2, seconds=0.01, num_rollouts=8)

    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}

    assert_whole(forest)
    assert len(model_server.requests) == 2


def test_leases_are_renewed_while_the_event_loop_is_held_up(
    model_server: OpenAIServer, monkeypatch
):
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.1)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr("rollouts.growing.recorder.LEASE_SECONDS", 1.0)
    forest = seeded(2)
    held_up: list[set[str]] = []
    show = growth.log.info

    def hold_up(event: str, **details: object) -> None:
        if event == "tree complete" and not held_up:  # logged on the event loop
            time.sleep(2.5)
            with ThreadPoolExecutor(1) as other:
                trees = tree_ids(forest, [0, 1])
                held_up.append(set(other.submit(leases.claim, trees, "elsewhere/1").result()))
        show(event, **details)

    monkeypatch.setattr(growth.log, "info", hold_up)

    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}

    assert held_up == [set()]
    assert_whole(forest)


def test_samples_that_wait_for_a_slow_rule_do_not_hold_up_the_end(
    model_server: OpenAIServer, seeded_with_own_extraction, monkeypatch
):
    monkeypatch.setattr(growth, "SECONDS_FOR_SAMPLES_AT_END", 0.2)
    monkeypatch.setattr(growth, "SECONDS_BETWEEN_LOOKS_AT_FOREST", 0.05)
    model_server.write = write_steps
    forest = seeded_with_own_extraction(4, seconds=0.02, num_rollouts=16)
    collection(Forest).update_one({"_id": forest.name}, {"$set": {"max_requests": 4}})
    began = time.monotonic()

    grow_slice(forest.name, 0, 4)

    assert time.monotonic() - began < 20  # all samples of the four trees take 40 seconds
    assert reread(forest).num_pending > 0
    assert reread(forest).requests == model_server.num_asked == 4
