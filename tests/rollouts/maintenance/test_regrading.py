"""A changed grader on a forest that was grown with another."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from forests.core.tree import Grade
from forests.models import Forest, Node, Tree, TreeStatus
from forests.storage.trees import iter_trees
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import assert_whole, reread, seeded

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    def is_correct(self, answer, label):
        {body}
"""


@pytest.fixture
def forest(model_server: OpenAIServer) -> Forest:
    """A forest with answers 0 and 1, each tree graded by its own label."""
    forest = seeded(3)
    grow_slice(forest.name, 0, 3)
    return reread(forest)


@pytest.fixture
def change_grader(tmp_path: Path, settings):
    def change(body: str) -> None:
        settings.CONFIG_PATH = [tmp_path]
        (tmp_path / "demo_arithmetic.py").write_text(CONFIG.format(body=body), encoding="utf-8")

    return change


def regrade(forest: Forest, *options: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("regrade_forest", "--forest_name", forest.name, *options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def grades(forest: Forest) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for stored in iter_trees(forest):
        for leaf in stored.tree.leaves():
            found.setdefault(str(leaf.answer), set()).add(str(leaf.grade))
    return found


def test_all_leaves_counters_and_values_follow_the_new_grader(
    forest: Forest, change_grader, model_server: OpenAIServer
):
    asked = len(model_server.requests)
    wrong_ones = Node.objects.filter(answer="1", grade="incorrect").count()
    assert wrong_ones > 0
    change_grader("return answer == '1'")

    out, err = regrade(forest, "--json")

    assert grades(forest) == {"0": {"incorrect"}, "1": {"correct"}}
    assert_whole(forest)
    for stored, tree in zip(iter_trees(forest), Tree.objects.order_by("index"), strict=True):
        leaves = [leaf for leaf in stored.tree.leaves() for _ in range(leaf.count)]
        correct = sum(leaf.grade is Grade.CORRECT for leaf in leaves)
        assert tree.root_value == correct / len(leaves)
    told = json.loads(out)
    assert told["grades_changed"] == [{"old": "incorrect", "new": "correct", "leaves": wrong_ones}]
    assert told["answers_changed"] == 0
    assert "run beam_search and create_preferences --replace again" in err
    assert len(model_server.requests) == asked


def test_afterwards_the_forest_belongs_to_the_new_config(
    forest: Forest, change_grader, model_server: OpenAIServer
):
    change_grader("return answer == '1'")

    regrade(forest)

    after = reread(forest)
    assert "return answer == '1'" in after.config_source
    assert after.config_sha256 != forest.config_sha256
    assert after.graded_at is not None
    assert grow_slice(forest.name, 0, 3) == {"complete": 0, "failed": 0}


def test_the_same_grader_changes_nothing(forest: Forest):
    _, err = regrade(forest)

    assert "0 changed their grade and 0 their answer, in 0 trees" in err
    assert "run beam_search" not in err


def test_a_dry_run_tells_the_same_and_writes_nothing(forest: Forest, change_grader):
    before = grades(forest)
    change_grader("return answer == '1'")

    dry, _ = regrade(forest, "--dry_run", "--json")

    assert grades(forest) == before
    assert reread(forest).config_sha256 == forest.config_sha256
    assert dry == regrade(forest, "--json")[0]


def test_a_grader_that_fails_half_way_leaves_a_forest_that_says_so(forest: Forest, change_grader):
    change_grader("raise ValueError('what is ' + answer)")

    with pytest.raises(CommandError, match=r"is_correct failed: ValueError: what is . for node"):
        regrade(forest)

    with pytest.raises(CommandError, match="only partly regraded: run regrade_forest"):
        call_command("beam_search", "--forest_name", forest.name)
    change_grader("return answer == '1'")
    regrade(forest)
    call_command("beam_search", "--forest_name", forest.name, stdout=io.StringIO())


def test_a_forest_that_grows_is_refused(forest: Forest):
    Tree.objects.filter(pk=f"{forest.name}/0000001").update(
        status=TreeStatus.GROWING, lease_expires_at=datetime.now(UTC) + timedelta(seconds=30)
    )

    with pytest.raises(CommandError, match="is growing: stop its workers or pause it first"):
        regrade(forest)


def test_a_half_regraded_forest_is_not_grown(model_server: OpenAIServer):
    forest = seeded(1)
    Forest.objects.filter(pk=forest.pk).update(is_graded=False)

    assert grow_slice(forest.name, 0, 1) == {"complete": 0, "failed": 0}
    assert not model_server.requests
