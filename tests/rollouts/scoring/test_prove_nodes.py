"""A prover that completes the prefixes of a policy, over real HTTP, in a real database."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from forests.core.tree import ROOT, Grade, NodePath
from forests.models import Forest, ModelServer, Node, Scorer
from forests.storage.scores import get_scorer, read_judged
from forests.storage.trees import iter_trees, read_tree
from rollouts.growing.growing_process import load_frozen_config
from rollouts.workers.jobs import grow_slice
from tests.openai_server import Fault, OpenAIServer
from tests.rollouts.forests import reread, seeded, shape

pytestmark = pytest.mark.django_db(transaction=True)

NUM_TREES = 2


def right_answer(prompt: str) -> int:
    has, gets, loses = map(int, re.findall(r"\d+", prompt.rpartition("Question:")[2])[:3])
    return has + gets - loses


def write_policy(prefix: str, seed: int) -> str:
    """Write one of two first steps, then an answer that is right for half of the seeds."""
    written = prefix.rpartition("Answer:")[2]
    first = "" if written else f" Try {seed % 2}.\n"
    return f"{first}#### {right_answer(prefix) + seed // 2 % 2}\n"


def write_prover(prefix: str, seed: int) -> str:
    """Be right after `Try 0`, wrong after `Try 1`, and else right half of the time."""
    answer = right_answer(prefix)
    if "Try 0." in prefix:
        return f"#### {answer}\n"
    return f"#### {answer + 1}\n" if "Try 1." in prefix else f" So\n#### {answer + seed % 2}\n"


@pytest.fixture
def forest(model_server: OpenAIServer) -> Forest:
    model_server.write = write_policy
    forest = seeded(NUM_TREES, branching=[4, 2])
    grow_slice(forest.name, 0, NUM_TREES)
    return reread(forest)


@pytest.fixture
def server():
    with OpenAIServer(write_prover) as server:
        server.models = ["prover-model"]
        yield server


def prove(server: OpenAIServer, forest: Forest, *options: str) -> dict[str, Any]:
    out = io.StringIO()
    words = ["--forest_name", forest.name, "--scorer", "helper", "--kind", "prover", "--json"]
    address = ["--base_url", server.url]
    call_command("score_nodes", *words, *address, *options, stdout=out, stderr=io.StringIO())
    told: dict[str, Any] = json.loads(out.getvalue())
    return told


def step_of(forest: Forest, start: str) -> NodePath:
    stored = read_tree(forest, 0)
    assert stored is not None
    return next(node.path for node in stored.tree if node.text.startswith(start))


def test_the_score_of_a_step_is_the_share_of_correct_rollouts_of_the_prover(forest, server):
    before = shape(forest)
    told = prove(server, forest, "--rollouts", "4")
    _, judged = read_judged(forest, 0)["helper"]
    assert judged.scores[step_of(forest, " Try 0")] == 1.0
    assert judged.scores[step_of(forest, " Try 1")] == 0.0
    assert judged.votes[step_of(forest, " Try 1")] == [0, 0, 4]
    assert 0 <= judged.scores[ROOT] <= 1
    assert sum(judged.votes[ROOT]) == 4
    assert (told["prefixes"], told["rollouts"], told["cut"]) == (6, 24, 0)
    scorer = get_scorer(forest, "helper")
    assert (scorer.kind, scorer.num_trees) == ("prover", NUM_TREES)
    assert scorer.parameters["model"] == "prover-model"
    assert scorer.num_nodes == reread(forest).num_nodes
    assert shape(forest) == before
    assert set(reread(forest).nodes_by_model) == set(forest.nodes_by_model)
    assert not Node.objects.filter(model="prover-model").exists()


def test_the_end_of_a_solution_has_its_grade_and_draws_nothing(forest, server):
    prove(server, forest)
    for stored in iter_trees(forest):
        _, judged = read_judged(forest, stored.index)["helper"]
        for node in stored.tree:
            if node.is_finished:
                assert judged.scores[node.path] == (node.grade is Grade.CORRECT)
                assert node.path not in judged.votes


def test_a_prefix_is_asked_once_however_many_samples_share_it(forest, server):
    stored = read_tree(forest, 0)
    assert stored is not None
    assert max(node.count for node in stored.tree) > 1
    prove(server, forest)
    asked = [body["prompt"] for body in server.requests]
    assert len(asked) == len(set(asked)) == 6
    assert {body["n"] for body in server.requests} == {8}


def test_a_server_that_gives_fewer_samples_is_asked_again_with_other_seeds(forest, server):
    server.most_samples = 3
    told = prove(server, forest)
    assert told["rollouts"] == 6 * 8
    seeds = {(body["prompt"], body["seed"]) for body in server.requests}
    assert len(seeds) == len(server.requests) == 6 * 3


def test_a_cut_rollout_counts_as_incorrect_or_has_no_result(forest, server):
    server.write = lambda *_: "and so on " * 50
    told = prove(server, forest, "--rollouts", "2", "--max_tokens", "5")
    assert (told["cut"], told["without_result"]) == (12, 0)
    assert read_judged(forest, 0)["helper"][1].scores[ROOT] == 0.0
    excluded = ["--rollouts", "2", "--max_tokens", "5", "--ungraded", "exclude", "--replace"]
    with pytest.raises(CommandError, match="no rollout has a result") as raised:
        prove(server, forest, *excluded)
    assert raised.value.returncode == 3
    _, judged = read_judged(forest, 0)["helper"]
    assert ROOT not in judged.scores
    assert judged.votes[ROOT] == [0, 2, 0]


def test_a_run_that_broke_off_continues_with_the_trees_that_are_missing(
    forest, server, monkeypatch
):
    monkeypatch.setattr("rollouts.client.failures.FIRST_BACKOFF_SECONDS", 0.001)
    # The first tree is graded and written while the next tree waits for its answer.
    away = Fault(503, hangs_seconds=0.5)
    server.misbehave = lambda: away if len(server.requests) > 3 else None
    with pytest.raises(CommandError, match="503"):
        prove(server, forest, "--concurrency", "1")
    assert get_scorer(forest, "helper").num_trees == 1
    server.misbehave = lambda: None
    asked = len(server.requests)
    assert prove(server, forest)["trees"] == 1
    assert len(server.requests) == asked + 3


def test_a_spent_limit_stops_and_a_larger_one_continues(forest, server):
    with pytest.raises(
        CommandError, match=r"5 of 5 requests are spent, and the next request needs 1: raise"
    ):
        prove(server, forest, "--max_requests", "5", "--concurrency", "1")
    assert server.num_asked == 5 == get_scorer(forest, "helper").spent["requests"]
    told = prove(server, forest, "--max_requests", "500")
    assert get_scorer(forest, "helper").num_trees == NUM_TREES
    assert told["spent"]["requests"] == server.num_asked


def test_probes_before_scores_are_replaced_count_for_the_limit_too(forest, server):
    prove(server, forest)
    ModelServer.objects.all().delete()  # so that the server is probed again
    asked = server.num_asked

    told = prove(server, forest, "--replace", "--max_requests", "7")

    assert len(server.probes) == 2
    assert server.num_asked - asked == 7
    assert told["spent"]["requests"] == told["spending"]["requests"] == 7
    assert get_scorer(forest, "helper").spent["requests"] == 7


@pytest.mark.parametrize(
    ("limit", "message", "probes"),
    [
        (["--max_requests", "1"], "1 of 1 requests are spent", 1),
        (["--max_tokens_total", "1"], "0 of 1 tokens are spent, and the next request may need", 0),
    ],
)
def test_a_limit_that_has_room_for_probes_alone_replaces_nothing(
    forest, server, limit, message, probes
):
    prove(server, forest)
    ModelServer.objects.all().delete()
    server.probes.clear()
    asked, before = len(server.requests), read_judged(forest, 0)

    with pytest.raises(CommandError, match=f"{message}.*: raise the limit"):
        prove(server, forest, "--replace", *limit)

    assert (len(server.probes), len(server.requests)) == (probes, asked)
    assert read_judged(forest, 0) == before
    assert get_scorer(forest, "helper").num_trees == NUM_TREES


def test_an_estimate_asks_nothing_and_stores_nothing(forest, server):
    told = prove(server, forest, "--estimate", "--rollouts", "4", "--max_tokens", "50")
    assert (told["trees"], told["prefixes"], told["requests"]) == (NUM_TREES, 6, 6)
    assert told["completion_tokens"] == 6 * 4 * 50
    assert not server.num_asked
    assert not Scorer.objects.exists()


def test_a_prover_over_chat_gets_the_question_and_continues_the_steps(forest, server):
    server.write = lambda prefix, seed: write_prover(f"Question: {prefix}", seed)
    prove(server, forest, "--api", "chat")
    stored = read_tree(forest, 0)
    assert stored is not None
    messages = [body["messages"] for body in server.requests]
    assert [{"role": "user", "content": stored.question}] in messages
    ended = [one[-1]["content"] for one in messages if one[-1]["role"] == "assistant"]
    assert set(ended) == {" Try 0.", " Try 1."}
    assert read_judged(forest, 0)["helper"][1].scores[step_of(forest, " Try 0")] == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "0"], "at temperature 0 draw the same rollout 8 times"),
        (["--votes", "2"], "--votes has no meaning with --kind prover"),
        (["--layout", "chat"], "--layout has no meaning with --kind prover"),
        (["--kind", "judge", "--rollouts", "2"], "--rollouts has no meaning with --kind judge"),
        (["--kind", "score", "--estimate"], "leave it out, or give --kind judge or prover"),
        (["--max_cost", "1"], "the price of 'prover-model' is not known"),
    ],
)
def test_bad_input_is_one_line_and_stores_nothing(forest, server, options, message):
    with pytest.raises(CommandError, match=message):
        prove(server, forest, *options)
    assert not Scorer.objects.exists()


def test_scores_of_a_changed_grader_do_not_mix_with_earlier_ones(forest, server, monkeypatch):
    prove(server, forest)
    changed = reread(forest)
    changed.config_sha256 = "0" * 64
    changed.save()
    loaded = load_frozen_config(forest)
    monkeypatch.setattr(
        "rollouts.scoring_commands.prover_command.load_frozen_config", lambda _: loaded
    )
    asked = server.num_asked
    with pytest.raises(CommandError, match=r"config_sha256 was .* or --replace its scores"):
        prove(server, forest)
    assert server.num_asked == asked


def test_chats_cannot_be_sent_as_completions(forest, server):
    chats = reread(forest)
    chats.worker_config |= {"api": "chat"}
    chats.save()
    with pytest.raises(CommandError, match="are chats, which --api completions cannot send"):
        prove(server, forest, "--api", "completions")


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("imported", "come from another program, and no config of it grades rollouts"),
        ("resegmented", "takes no rollouts"),
    ],
)
def test_a_forest_that_takes_no_rollouts_takes_no_prover(forest, server, strategy, message):
    other = reread(forest)
    other.worker_config |= {"strategy": strategy}
    other.save()
    with pytest.raises(CommandError, match=message):
        prove(server, forest)
    assert not server.num_asked


def test_archives_and_pages_have_what_a_prover_said(
    forest, server, tmp_path: Path, admin_client: Client
):
    prove(server, forest, "--rollouts", "4")
    out = tmp_path / "archive"
    quiet: dict[str, Any] = {"stdout": io.StringIO(), "stderr": io.StringIO()}
    call_command("export_forest", "--forest_name", forest.name, "--output", str(out), **quiet)
    call_command("import_forest", str(out), "--forest_name_suffix", "copy", **quiet)
    copy = Forest.objects.exclude(pk=forest.name).get()
    kind, judged = read_judged(copy, 0)["helper"]
    assert (kind, judged) == ("prover", read_judged(forest, 0)["helper"][1])

    page = admin_client.get(reverse("node", args=[forest.name, 0, (0,)])).content.decode()
    assert "(4 rollouts correct, 0 without a result, 0 incorrect)" in page or (
        "(0 rollouts correct, 0 without a result, 4 incorrect)" in page
    )
