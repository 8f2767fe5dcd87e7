"""Thoughts that the chat template opens: the text shows only their end, and none is graded."""

from typing import Any

import pytest

from forests.models import ModelServer, Node, Tree
from forests.storage.trees import iter_trees
from rollouts.client import failures
from rollouts.client.failures import BackendRefusedError, UnopenedThoughtError
from rollouts.workers.jobs import grow_slice
from tests.openai_server import Fault, OpenAIServer, Writer, write_two_steps, writes
from tests.rollouts.forests import assert_whole, reread, seeded

pytestmark = pytest.mark.django_db(transaction=True)

STEPWISE = ["branching", "math_shepherd", "omega_prm"]
UNOPENED = "Maybe:\n#### 20\nWait, that is twice.\n</think>\n\nSo it is\n#### 14\n"
"""The content of an answer with R1's template. The first answer in it is part of the thought."""
REMEDY = r"ends? .*nothing opened.*reasoning parser.*api='completions'"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)


def cut_in_thought(prefix: str, seed: int) -> str:
    """Write a thought that holds an answer and is longer than any limit."""
    return "Maybe:\n#### 20\n" + "Wait. " * 5000


def answers_of(forest: Any) -> set[str | None]:
    return {
        leaf.answer
        for stored in iter_trees(reread(forest))
        for leaf in stored.tree.leaves()
        if leaf.is_finished
    }


@pytest.mark.parametrize("stop_at_answer", [True, None, False])
@pytest.mark.parametrize("strategy", STEPWISE)
def test_where_steps_are_drawn_a_job_is_refused_before_it_grows(
    model_server: OpenAIServer, strategy: str, stop_at_answer: bool | None
):
    model_server.write = writes(UNOPENED)
    forest = seeded(2, api="chat", strategy=strategy, stop_at_answer=stop_at_answer)

    with pytest.raises(BackendRefusedError, match=REMEDY):
        grow_slice(forest.name, 0, 2)

    assert "nothing opened" in reread(forest).stop_reason
    assert Node.objects.count() == 0
    assert ModelServer.objects.get().abilities["thought"] == "</think>"


def test_what_the_server_did_yesterday_is_not_trusted(model_server: OpenAIServer):
    """The record is kept for 24 hours, but the server may have restarted without its parser."""
    forest = seeded(4, api="chat")
    grow_slice(forest.name, 0, 2)
    model_server.write = writes(UNOPENED)

    with pytest.raises(BackendRefusedError, match=REMEDY):
        grow_slice(forest.name, 2, 4)

    assert "20" not in answers_of(forest)
    assert Tree.objects.filter(status="complete").count() == 2


def test_nor_are_thoughts_in_a_field(model_server: OpenAIServer):
    model_server.thoughts = "reasoning_content"
    thinking = "<think>Hm.</think>\n\nAdd.\n#### 14\n"
    model_server.write = writes(thinking)
    model_server.write_probe = lambda prefix, seed: (
        "2; 49" if prefix.endswith("; 4") else "<think>Hm.</think>7, 14"
    )
    forest = seeded(4, api="chat", branching=[2, 1])
    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}
    model_server.write, model_server.thoughts = writes(UNOPENED), "content"

    with pytest.raises(BackendRefusedError, match=REMEDY):
        grow_slice(forest.name, 2, 4)

    assert answers_of(forest) == {"14"}


def test_a_server_that_is_mended_grows_the_forest(model_server: OpenAIServer):
    model_server.write = writes(UNOPENED)
    forest = seeded(2, api="chat")
    with pytest.raises(BackendRefusedError):
        grow_slice(forest.name, 0, 2)
    model_server.write = write_two_steps

    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}

    assert_whole(forest)


def test_whole_solutions_are_split_into_thought_and_answer(model_server: OpenAIServer):
    """A solution that is cut is a thought as a whole, and an answer in it does not count."""
    model_server.write = lambda prefix, seed: (
        cut_in_thought(prefix, seed) if seed % 3 == 0 else UNOPENED
    )
    forest = seeded(4, api="chat", strategy="sampled", num_rollouts=6, samples_per_request=3)

    assert grow_slice(forest.name, 0, 4) == {"complete": 4, "failed": 0}

    assert answers_of(forest) == {"14", None}
    for stored in iter_trees(reread(forest)):
        for leaf in stored.tree.leaves():
            assert leaf.is_thought is (leaf.answer is None)
            assert stored.tree.path_nodes(leaf.path)[0].is_thought


def test_whole_solutions_of_a_server_that_is_mended_are_no_thoughts(model_server: OpenAIServer):
    model_server.write = writes(UNOPENED)
    forest = seeded(4, api="chat", strategy="sampled", num_rollouts=2)
    grow_slice(forest.name, 0, 2)
    model_server.write = write_two_steps

    grow_slice(forest.name, 2, 4)

    last = [stored.tree for stored in iter_trees(reread(forest), range(2, 4))]
    assert not any(node.is_thought for tree in last for node in tree)


@pytest.mark.parametrize("strategy", [*STEPWISE, "sampled"])
def test_where_every_answer_is_cut_nothing_tells_and_nothing_grows(
    model_server: OpenAIServer, strategy: str
):
    model_server.write = cut_in_thought
    model_server.write_probe = lambda prefix, seed: "and so " * 5000
    forest = seeded(2, api="chat", strategy=strategy)

    with pytest.raises(BackendRefusedError, match=r"wrote 2048 tokens.*max_tokens_per_rollout"):
        grow_slice(forest.name, 0, 2)

    assert Node.objects.count() == 0


def test_an_item_whose_answer_is_cut_does_not_stop_a_model_that_answers_others(
    model_server: OpenAIServer,
):
    model_server.write = cut_in_thought
    forest = seeded(1, api="chat", strategy="sampled", num_rollouts=1)

    assert grow_slice(forest.name, 0, 1) == {"complete": 1, "failed": 0}


class Restarted:
    """Writes as one model, and as another one after `after` answers."""

    def __init__(self, *writers: Writer, after: int) -> None:
        self.before, self.later = writers
        self.left = after

    def __call__(self, prefix: str, seed: int) -> str:
        self.left -= 1
        return (self.before if self.left >= 0 else self.later)(prefix, seed)


@pytest.mark.parametrize("strategy", STEPWISE)
def test_answers_from_before_a_thought_ended_do_not_stand(
    model_server: OpenAIServer, strategy: str
):
    """The first answer shows no thought: the model thinks about some items only."""
    some = "Try.\n#### 20\n"
    model_server.write = Restarted(
        writes(some), writes(some, "Hm.\nNo.\n</think>\n\n#### 14\n"), after=1
    )
    forest = seeded(6, api="chat", strategy=strategy, branching=[3, 1], concurrency=1)

    with pytest.raises(UnopenedThoughtError, match=REMEDY):
        grow_slice(forest.name, 0, 6)

    assert answers_of(forest) <= {None}
    now = reread(forest)
    assert (now.num_nodes, now.num_leaves, now.num_complete, now.num_failed) == (0, 0, 0, 0)
    assert "will grow again from the start" in now.stop_reason
    model_server.write = write_two_steps
    assert grow_slice(forest.name, 0, 6) == {"complete": 6, "failed": 0}
    assert_whole(forest)


def test_trees_of_earlier_jobs_stand(model_server: OpenAIServer):
    forest = seeded(4, api="chat", strategy="math_shepherd")
    grow_slice(forest.name, 0, 2)
    before = answers_of(forest)
    some = "Try.\n#### 20\n"
    model_server.write = Restarted(writes(some), writes(UNOPENED), after=1)

    with pytest.raises(UnopenedThoughtError):
        grow_slice(forest.name, 2, 4)

    assert answers_of(forest) == before
    assert reread(forest).num_complete == 2


def test_a_server_that_was_away_is_asked_again(model_server: OpenAIServer):
    """It restarts with another template. No sample would show that: each ends at its answer."""
    forest = seeded(4, api="chat", concurrency=1)
    down = Fault(drops_connection=True)
    grown: list[bool] = []

    def restart() -> Fault | None:
        grown.append(True)
        if len(grown) != 4:
            return None
        model_server.write = writes(UNOPENED)
        return down

    model_server.misbehave = restart

    with pytest.raises(UnopenedThoughtError, match=REMEDY):
        grow_slice(forest.name, 0, 4)

    assert "20" not in answers_of(forest)


@pytest.mark.parametrize("strategy", ["branching", "sampled"])
def test_a_mark_that_a_model_wrote_by_mistake_stops_no_forest(
    model_server: OpenAIServer, strategy: str
):
    stray = "Try.\n</think>\n#### 1\n"
    model_server.write = lambda prefix, seed: (
        stray[len(prefix.rpartition("Answer:")[2]) :]
        if "</think>" in prefix or (seed % 50 == 0 and seed)
        else write_two_steps(prefix, seed)
    )
    forest = seeded(8, api="chat", strategy=strategy, num_rollouts=8)

    done = grow_slice(forest.name, 0, 8)

    assert isinstance(done, dict)
    assert done["complete"] >= 1
    assert reread(forest).stop_reason == ""
    for stored in iter_trees(reread(forest)):
        assert stored.status == "complete" or len(stored.tree) == 1
