"""What the page of a step tells operators about drawing more rollouts from it."""

from dataclasses import replace

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import load_command_class

from common.places import PROGRAM
from forests.models import Forest
from forests.pages.tree.more_rollouts import more_rollouts
from forests.storage.trees import read_tree
from tests.forests.addresses import TREE, text_of
from tests.forests.factories import (
    RIGHT,
    WRONG,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    step,
    tree_of,
)

pytestmark = pytest.mark.django_db

BLOCK = "Draw more rollouts from here"


def test_operators_get_commands_that_the_program_understands(client, forest):
    client.force_login(User.objects.create_superuser("operator"))
    html = text_of(client, f"{TREE}nodes/0.1/")
    assert BLOCK in html
    command = f"refine_forest --forest_name {forest.name} --goal labels --max_rollouts 16"
    assert f"<code>{PROGRAM} {command} --dry_run</code>" in html
    assert "0 finished rollouts were drawn from this step itself." in html
    assert "hard labels (<code>any</code>)" in html
    parser = load_command_class("rollouts", "refine_forest").create_parser("", "refine_forest")
    options = parser.parse_args([*command.split()[1:], "--dry_run"])
    assert (options.goal, options.max_rollouts) == ("labels", 16)


def test_a_step_that_a_right_sample_decided_is_refined_for_pairs(client, forest):
    client.force_login(User.objects.create_superuser("operator"))
    html = text_of(client, f"{TREE}nodes/0.0/")
    assert "--goal pairs --max_rollouts 32" in html
    assert "those of <code>through_rollouts</code>" in html


def test_other_readers_and_ended_steps_have_none(client, forest):
    client.force_login(User.objects.create_superuser("operator"))
    for name in ("0.1.1", "0.0.0.0", "0"):  # noqa: S104  names of steps
        assert BLOCK not in text_of(client, f"{TREE}nodes/{name}/")
    reviewer = User.objects.create_user("reviewer")
    reviewer.groups.add(Group.objects.get(name="reviewer"))
    client.force_login(reviewer)
    assert BLOCK not in text_of(client, f"{TREE}nodes/0.1/")


def refined(goal: str, most: int = 40, *, infers_later: bool = False) -> Forest:
    forest = make_forest()
    forest.worker_config["refinement"] = {
        "goal": goal, "most_rollouts": most, "infers_later": infers_later,
        "target_confidence": None, "prior": None,
    }  # fmt: skip
    forest.save()
    tree = tree_of(
        step("0.0", "One.\n"),
        leaf("0.0.0", "#### 18", RIGHT, drawn={1: 3}, count=3),
        step("0.1", "Two.\n"),
        leaf("0.1.0", "#### 1", WRONG, drawn={1: 30}, count=30),
    )
    return add_trees(forest, [tree], refined_steps=["0.0", "0.1"])


def test_a_refined_forest_keeps_its_goal_and_asks_for_no_fewer_rollouts(db):
    forest = refined("labels", infers_later=True)
    stored = read_tree(forest, 0)
    assert stored is not None

    decided, undecided = (more_rollouts(forest, stored, path) for path in ((0,), (1,)))

    assert decided is not None
    assert undecided is not None
    assert (decided.is_decided, decided.num_drawn, decided.most) == (True, 3, 40)
    assert (undecided.is_decided, undecided.num_drawn, undecided.most) == (False, 30, 60)
    assert not undecided.changes_values
    assert "--goal labels --max_rollouts 60 --later_steps infer" in str(undecided.next_commands)


def test_a_step_of_an_added_rollout_is_not_asked_for(db):
    forest = refined("pairs")
    stored = read_tree(forest, 0)
    assert stored is not None
    more = more_rollouts(forest, replace(stored, refined_steps=["0.0"]), (1,))
    assert more is not None
    assert not more.is_asked_for


@pytest.mark.parametrize("strategy", ["imported", "resegmented"])
def test_forests_that_take_no_rollouts_have_none(db, strategy):
    forest = make_forest()
    forest.worker_config["strategy"] = strategy
    forest.save()
    forest = add_trees(forest, [duck_tree()])
    stored = read_tree(forest, 0)
    assert stored is not None
    assert more_rollouts(forest, stored, (1,)) is None
