"""Scores of a served reward model, over real HTTP, in a real database."""

import json

import pytest
from django.core.management import CommandError, call_command

from forests.core.tree import parse_path
from forests.models import Forest, Scorer, TreeScores, TreeStatus
from forests.storage.scores import get_scorer, iter_scored_trees, read_scores
from forests.storage.trees import delete_forest
from tests.forests.factories import add_trees, duck_tree, make_forest, open_tree
from tests.openai_server import Fault
from tests.reward_server import RewardServer, distrust_wrong_sums

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"


@pytest.fixture
def forest(db) -> Forest:
    forest = add_trees(make_forest(NAME), [duck_tree(), duck_tree()])
    return add_trees(forest, [open_tree()], status=TreeStatus.GROWING)


@pytest.fixture
def server():
    with RewardServer() as server:
        yield server


def score(server: RewardServer, *arguments: str) -> None:
    words = ["--forest_name", NAME, "--scorer", "judge", "--base_url", server.url]
    call_command("score_nodes", *words, *arguments)


KINDS = {
    "math_shepherd": (["--kind", "logprobs"], "ки"),
    "chat": (["--layout", "chat", "--step_tag", ""], ""),
    "turns": (["--layout", "turns"], ""),
    "pooling": (["--kind", "pooling"], "<extra_0>"),
    "pooling of texts": (["--kind", "pooling", "--layout", "math_shepherd"], "ки"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_gets_the_score_that_the_model_gives_it(forest, server, kind):
    arguments, server.step_tag = KINDS[kind]
    tree = duck_tree()
    judged = {node.path: node.text for node in tree if node.path}
    if kind == "chat":  # the whole message is judged there
        for path in judged:
            judged[path] = "".join(node.text for node in tree.path_nodes(path))
    score(server, *arguments)
    found = read_scores(forest, "judge", [0, 1, 2])
    assert set(found) == {0, 1}
    expected = {path: distrust_wrong_sums(text) for path, text in judged.items()}
    assert found[0] == pytest.approx(expected)
    scorer = get_scorer(forest, "judge")
    assert (scorer.num_trees, scorer.num_nodes) == (2, 2 * len(expected))


def test_a_score_endpoint_scores_each_prefix(forest, server):
    score(server, "--kind", "score")
    assert read_scores(forest, "judge", [0])[0][0, 0, 0] == 0.9


def test_llama_cpp_lists_probabilities_of_completions_as_of_chats(forest, server):
    server.llama_form = True
    score(server)
    assert read_scores(forest, "judge", [0])[0][parse_path("0.1")] == pytest.approx(0.2)


def test_again_it_scores_only_what_has_no_scores(forest, server, capsys):
    score(server)
    asked = len(server.requests)
    add_trees(forest, [duck_tree()])
    score(server, "--json")
    assert len(server.requests) == asked + len(duck_tree()) - 1
    told = json.loads(capsys.readouterr().out)
    assert (told["trees"], told["trees_scored_before"], told["trees_not_complete"]) == (1, 2, 1)
    assert get_scorer(forest, "judge").num_trees == 3


def test_a_busy_server_is_asked_again_and_a_lost_one_loses_no_finished_tree(
    forest, server, monkeypatch
):
    monkeypatch.setattr("rollouts.client.failures.FIRST_BACKOFF_SECONDS", 0.01)
    server.faults.extend([Fault(503), Fault(drops_connection=True)])
    score(server)
    assert get_scorer(forest, "judge").num_trees == 2

    add_trees(forest, [duck_tree()] * 40)
    asked = len(server.requests)
    server.misbehave = lambda: Fault(503) if len(server.requests) > asked + 440 else None
    with pytest.raises(CommandError, match="answered 503"):
        score(server)
    kept = get_scorer(forest, "judge").num_trees
    assert 2 < kept < 42
    server.misbehave = lambda: None
    score(server)
    assert get_scorer(forest, "judge").num_trees == 42


def test_a_server_with_another_step_tag_is_refused_with_the_setting_named(forest, server):
    server.step_tag = "<other>"
    add_trees(forest, [duck_tree()] * 8)
    with pytest.raises(CommandError, match=r"gave 0 scores for \d steps: .* --step_tag"):
        score(server, "--kind", "pooling")
    assert not TreeScores.objects.exists()


MALFORMED = {
    "logprobs": [
        '{"choices": [null]}',
        '{"choices": []}',
        '{"choices": {}}',
        '{"choices": [{"logprobs": {"content": ["x"]}}]}',
        '{"choices": [{"logprobs": {"content": [{"top_logprobs": [null]}]}}]}',
        '{"choices": [{"logprobs": {"top_logprobs": [{"+": 1e4}]}}]}',
        '{"choices": [{"logprobs": {"top_logprobs": [{"+": NaN, "-": -1}]}}]}',
        '{"choices": [{"logprobs": {"top_logprobs": [{"+": Infinity}]}}]}',
        '{"choices": [{"logprobs": {"top_logprobs": [{"+": "high"}]}}]}',
        '{"choices": [{"logprobs": {"top_logprobs": [{"+": 1e999}]}}]}',
        '{"choices": [{"logprobs": {"top_logprobs": [{"+": -%s}]}}]}' % ("7" * 5000),
        '{"error": "no"}',
        "[]",
        "null",
        "",
        "[" * 5000,
    ],
    "pooling": [
        '{"data": [null]}',
        '{"data": [{"data": null}]}',
        '{"data": [{"data": ["x", [1], [1], [1]]}]}',
        '{"data": [{"data": [[0.5, 0.5]]}]}',
        '{"data": [{"data": []}]}',
        '{"data": [{"data": [[NaN, 1], [0, 1], [0, 1], [0, 1]]}]}',
        '{"data": [{"data": [[-3.5, 4.5], [0, 1], [0, 1], [0, 1]]}]}',
        '{"data": [{"data": [[0.5, 0.5], [0, 1], [0, 1], [0, 1], [0, 1]]}]}',
    ],
    "score": [
        '{"data": [{"score": NaN}]}',
        '{"data": [{"score": null}]}',
        '{"data": [{"score": -Infinity}]}',
        '{"data": [{"score": "0.5"}]}',
        '{"data": [{"score": 1e300}]}',
        '{"data": [{}, {}]}',
        '{"results": []}',
    ],
}


@pytest.mark.parametrize(
    ("kind", "body"), [(kind, body) for kind, bodies in MALFORMED.items() for body in bodies]
)
def test_an_answer_that_is_no_score_is_one_line_and_what_was_scored_stays(
    forest, server, monkeypatch, kind, body
):
    monkeypatch.setattr("rollouts.client.failures.FIRST_BACKOFF_SECONDS", 0.001)
    server.step_tag = {"logprobs": "ки", "pooling": "<extra_0>", "score": ""}[kind]
    score(server, "--kind", kind)
    before = read_scores(forest, "judge", [0, 1, 2, 3])
    assert len(before) == 2
    add_trees(forest, [duck_tree()])
    server.misbehave = lambda: Fault(200, body)

    with pytest.raises(CommandError, match="1 trees have no scores: ") as raised:
        score(server, "--kind", kind)

    assert raised.value.returncode == 3
    assert "\n" not in str(raised.value)
    assert ("127.0.0.1" in str(raised.value)) or "the server gave" in str(raised.value)
    assert read_scores(forest, "judge", [0, 1, 2, 3]) == before


def test_a_tree_that_cannot_be_scored_is_told_and_the_others_are_scored(forest, server):
    server.faults.append(Fault(400, json.dumps({"error": {"message": "too odd"}})))
    with pytest.raises(CommandError, match=r"1 trees have no scores: .*too odd") as raised:
        score(server)
    assert raised.value.returncode == 3
    assert get_scorer(forest, "judge").num_trees == 1


def test_a_model_that_gives_no_verdict_is_told_of(forest, server):
    server.listed = []
    with pytest.raises(CommandError, match=r"no step has a score: .* --good nor --bad") as raised:
        score(server)
    assert raised.value.returncode == 3


def test_a_name_stands_for_one_way_to_ask(forest, server):
    score(server)
    with pytest.raises(CommandError, match=r"step_tag was 'ки', not 'X'.*choose another --scorer"):
        score(server, "--step_tag", "X")
    server.step_tag = "X"
    score(server, "--step_tag", "X", "--replace")
    assert Scorer.objects.get().parameters["step_tag"] == "X"


@pytest.mark.parametrize(
    "arguments", [["--model", "scripted", "--base_url", "http://127.0.0.1:1/v1"], ["--model", "x"]]
)
def test_scores_are_not_deleted_before_the_server_can_give_new_ones(
    forest, server, monkeypatch, arguments
):
    monkeypatch.setattr("rollouts.client.failures.FIRST_BACKOFF_SECONDS", 0.001)
    score(server)
    server.misbehave = lambda: Fault(404)
    with pytest.raises(CommandError):
        score(server, *arguments, "--replace")
    assert get_scorer(forest, "judge").num_trees == TreeScores.objects.count() == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--kind", "pooling", "--layout", "turns"],
            "--layout turns works only with --kind logprobs",
        ),
        (["--good_index", "-1"], "classes are counted from 0"),
        (["--scorer", "My PRM"], "scorer 'My PRM' cannot be part of an address"),
        (["--base_url", "http://127.0.0.1:9/v1"], "check --base_url"),
        (["--base_url", "127.0.0.1:9"], "expected http://HOST:PORT/v1"),
        (
            ["--base_url", "http://u:p@127.0.0.1:9/v1"],
            "HOST:PORT/v1 without a user",
        ),
    ],
)
def test_bad_input_is_one_line_and_stores_nothing(forest, server, arguments, message):
    with pytest.raises(CommandError, match=message):
        score(server, *arguments)
    assert not Scorer.objects.exists()


def test_scores_come_with_their_trees_and_go_with_their_forest(forest, server):
    score(server)
    lengths = [len(scores) for _, scores in iter_scored_trees(forest, "judge")]
    assert lengths == [len(duck_tree()) - 1] * 2 + [0]
    assert [scores for _, scores in iter_scored_trees(forest, "")] == [{}, {}, {}]
    delete_forest(Forest.objects.get(pk=NAME))
    assert not TreeScores.objects.exists()
    assert not Scorer.objects.exists()
