"""Leaves with answers that nobody can compare: grown, measured, reported, and graded again."""

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from experiment_configs.loading import load_config
from forests.core.tree import Grade, TreeNode
from forests.models import Forest, Node, Tree
from forests.seeding import seed_forest
from forests.storage.trees import iter_trees
from rollouts.strategies import STRATEGIES
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import WORKER_SETTINGS, assert_whole, reread, shape

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
from experiment_configs.answers import NotComparedError
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    def get_label(self, item):
        return "1"

    def is_correct(self, answer, label):
        {body}
"""
UNSURE_OF_2 = """
        if "2" in answer + label:
            raise NotComparedError("out of time")
        return float(answer) == float(label)
"""
SURE = "return float(answer) == float(label)"


def write_spellings(prefix: str, seed: int) -> str:
    """Write one of two first steps and one of six answers, of which some mean the same."""
    written = prefix.rpartition("Answer:")[2]
    answer = ("1", "1.0", "3", "3.0", "2", "2.00")[seed // 2 % 6]
    first = "" if written else f" Try {seed % 2}.\n"
    return f"{first}#### {answer}\n"


@pytest.fixture
def config_with(tmp_path: Path, settings):
    settings.CONFIG_PATH = [tmp_path]

    def write(body: str) -> None:
        (tmp_path / "spelled.py").write_text(CONFIG.format(body=body), encoding="utf-8")

    return write


def seeded(tmp_path: Path, suffix: str = "a", **settings: object) -> Forest:
    forest = seed_forest(load_config("spelled", [tmp_path]), "train", suffix, limit=3)
    forest.worker_config |= WORKER_SETTINGS | {"branching": [4, 6, 2]} | settings
    forest.save()
    return forest


def run(name: str, forest: Forest, *options: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(name, "--forest_name", forest.name, *options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def grown_leaves(forest: Forest) -> list[TreeNode]:
    return [leaf for stored in iter_trees(forest) for leaf in stored.tree.leaves()]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_growth_goes_on_and_nothing_counts_such_a_leaf(
    config_with, tmp_path, model_server: OpenAIServer, strategy: str
):
    config_with(UNSURE_OF_2)
    model_server.write = write_spellings
    forest = seeded(tmp_path, strategy=strategy, num_rollouts=24, rollouts_per_state=12)

    assert grow_slice(forest.name, 0, 3) == {"complete": 3, "failed": 0}

    assert_whole(forest)
    numbers: Counter[str] = Counter()
    for leaf in grown_leaves(forest):
        expected = {"1": Grade.CORRECT, "3": Grade.INCORRECT, "2": Grade.UNCOMPARED}
        assert leaf.grade is expected[str(leaf.answer)[0]]
        numbers[str(leaf.grade)] += leaf.count
    found = reread(forest)
    assert found.num_uncompared == numbers["uncompared"] > 0
    assert found.num_leaves == numbers["correct"] + numbers["incorrect"]
    for tree in Tree.objects.all():
        assert tree.root_value == tree.num_correct / tree.num_leaves


def test_answers_that_mean_the_same_have_one_voted_answer(
    config_with, tmp_path, model_server: OpenAIServer
):
    config_with(UNSURE_OF_2)
    model_server.write = write_spellings
    forest = seeded(tmp_path)
    grow_slice(forest.name, 0, 3)

    for stored in iter_trees(forest):
        voted = {(str(leaf.answer), leaf.voted_answer) for leaf in stored.tree.leaves()}
        groups = {kind: {one for answer, one in voted if answer[0] == kind} for kind in "123"}
        assert len(groups["1"]) == len(groups["3"]) == 1
        assert {answer for answer, one in voted if answer == one} >= groups["1"] | groups["3"]
        assert all(answer == one for answer, one in voted if answer[0] == "2")


def test_growth_that_was_interrupted_goes_on_with_the_same_groups(
    config_with, tmp_path, model_server: OpenAIServer
):
    config_with(SURE)
    model_server.write = write_spellings
    whole, torn = (seeded(tmp_path, name, concurrency=1) for name in ("whole", "torn"))
    for forest in (whole, torn):
        grow_slice(forest.name, 0, 3)
    for tree in Tree.objects.filter(forest_id=torn.name):
        Node.objects.filter(parent_id=f"{tree.id}/0.1").delete()
    Tree.objects.filter(forest_id=torn.name).update(status="pending")

    grow_slice(torn.name, 0, 3)

    assert shape(torn) == shape(whole)
    assert len({leaf.voted_answer for leaf in grown_leaves(torn)}) < len(
        {leaf.answer for leaf in grown_leaves(torn)}
    )


def test_commands_say_how_many_there_are_and_what_to_run(
    config_with, tmp_path, queue, model_server: OpenAIServer
):
    config_with(UNSURE_OF_2)
    model_server.write = write_spellings
    forest = seeded(tmp_path)
    grow_slice(forest.name, 0, 3)
    number = reread(forest).num_uncompared
    words = (
        f"{number} samples have no result, as nobody could compare their answers with the label: "
        f"regrade_forest --forest_name {forest.name} tries again"
    )

    for name in ("rollout_worker", "beam_search", "create_preferences"):
        assert words in run(name, forest)[1]
    assert json.loads(run("beam_search", forest, "--json")[0])["samples"] == {
        "uncompared": number,
        "ungrouped": 0,
    }


def test_regrading_tries_such_leaves_again_and_says_what_became_of_them(
    config_with, tmp_path, model_server: OpenAIServer
):
    config_with(UNSURE_OF_2)
    model_server.write = write_spellings
    forest = seeded(tmp_path)
    grow_slice(forest.name, 0, 3)
    odd = [leaf for leaf in grown_leaves(forest) if leaf.grade is Grade.UNCOMPARED]

    out, err = run("regrade_forest", forest, "--json")
    told = json.loads(out)
    assert (told["uncompared"], told["grades_changed"]) == (len(odd), [])
    assert f"{len(odd)} leaves have no result, because their answers could not be compared" in err

    config_with(SURE)
    told = json.loads(run("regrade_forest", forest, "--json")[0])
    assert told["grades_changed"] == [{"old": "uncompared", "new": "incorrect", "leaves": len(odd)}]
    assert told["uncompared"] == reread(forest).num_uncompared == 0
    assert {leaf.voted_answer for leaf in grown_leaves(forest) if "2" in str(leaf.answer)} <= {
        "2", "2.00",
    }  # fmt: skip
    for stored in iter_trees(forest):
        assert len({leaf.voted_answer for leaf in stored.tree.leaves()}) == 3
    assert_whole(forest)

    config_with(UNSURE_OF_2)
    out, _ = run("regrade_forest", forest)
    assert ["incorrect", "uncompared", str(len(odd))] in [
        line.replace("│", " ").split() for line in out.splitlines()
    ]
    assert reread(forest).num_uncompared == sum(leaf.count for leaf in odd)
    assert_whole(forest)


def test_what_an_older_version_graded_is_said_and_mended_by_regrading(
    config_with, tmp_path, model_server: OpenAIServer
):
    config_with(SURE)
    model_server.write = write_spellings
    forest = seeded(tmp_path)
    grow_slice(forest.name, 0, 3)
    before = shape(forest)
    Node.objects.update(voted_answer=None)
    number = reread(forest).num_leaves
    words = f"{number} samples were graded by an older version"

    assert words in run("beam_search", forest)[1]
    assert words in run("create_preferences", forest, "--drop_same_answer")[1]
    assert "older version" not in run("create_preferences", forest)[1]

    out, _ = run("regrade_forest", forest, "--json")
    told = json.loads(out)
    assert (told["voted_answers_changed"], told["grades_changed"]) == (told["leaves"], [])
    assert "older version" not in run("beam_search", forest)[1]
    assert (
        "older version"
        not in run("create_preferences", forest, "--drop_same_answer", "--replace")[1]
    )
    assert [row[:5] for row in shape(forest)] == [row[:5] for row in before]


def test_a_label_that_cannot_be_compared_with_itself_is_a_problem_of_the_config(config_with):
    config_with('raise NotComparedError("out of time")')
    out, err = io.StringIO(), io.StringIO()

    with pytest.raises(CommandError, match="3 checks failed"):
        call_command(
            "verify_config", "--config_name", "spelled", "--dataset_split", "train",
            stdout=out, stderr=err,
        )  # fmt: skip

    assert out.getvalue().count("FAIL label") == 3
    assert "is_correct cannot compare '1' with '1': the label is too hard" in out.getvalue()


def test_a_config_whose_other_methods_say_so_fails_its_tree_in_one_line(
    tmp_path, settings, model_server: OpenAIServer
):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "spelled.py").write_text(
        CONFIG.format(body="return True")
        + "\n    def extract_answer(self, completion):\n        raise NotComparedError('x')\n"
    )
    forest = seeded(tmp_path)

    assert grow_slice(forest.name, 0, 3) == {"complete": 0, "failed": 3}
    assert "extract_answer raised NotComparedError" in Tree.objects.all()[0].error
