"""The recount of the endurance runs agrees with a sound forest, and sees each kind of damage."""

from collections.abc import Callable

import pytest

from forests.models import Forest, Node, Tree
from rollouts.workers.jobs import grow_slice
from tests.endurance.answers import FIELD_OF_FOREST, STRATEGIES, NotingServer, recount
from tests.rollouts.forests import reread, seeded

pytestmark = pytest.mark.django_db(transaction=True)


def lose_a_sample() -> None:
    node = Node.objects.filter(depth=1, terminal=False).order_by("pk")[0]
    Node.objects.filter(pk=node.pk).update(count=node.count - 1)


def double_a_leaf() -> None:
    leaf = Node.objects.filter(terminal=True).order_by("pk")[0]
    drawn = {depth: number + 1 for depth, number in leaf.drawn.items()}
    Node.objects.filter(pk=leaf.pk).update(count=leaf.count + 1, drawn=drawn)


def lose_a_leaf() -> None:
    Node.objects.filter(terminal=True).order_by("-pk")[0].delete()


def write_another_answer() -> None:
    leaf = Node.objects.filter(terminal=True).order_by("pk")[0]
    Node.objects.filter(pk=leaf.pk).update(text="#### 77\n", grade="incorrect")


def grade_wrongly() -> None:
    Node.objects.filter(pk=Node.objects.filter(grade="correct")[0].pk).update(grade="incorrect")


def count_a_tree_wrongly() -> None:
    tree = Tree.objects.all()[0]
    Tree.objects.filter(pk=tree.pk).update(num_leaves=tree.num_leaves + 1)


def count_the_forest_wrongly() -> None:
    Forest.objects.update(num_nodes=Forest.objects.get().num_nodes + 1)


def lose_a_tree() -> None:
    tree = Tree.objects.all()[0]
    Node.objects.filter(tree_id=tree.pk).delete()
    tree.delete()


DAMAGES = (
    lose_a_sample, double_a_leaf, lose_a_leaf, write_another_answer, grade_wrongly,
    count_a_tree_wrongly, count_the_forest_wrongly, lose_a_tree,
)  # fmt: skip


@pytest.mark.parametrize(("strategy", "damage"), [*zip([*STRATEGIES] * 2, DAMAGES, strict=True)])
def test_a_recount_agrees_with_a_sound_forest_and_not_with_a_damaged_one(
    settings, strategy: str, damage: Callable[[], None]
):
    name = "demo_arithmetic-train-a"
    forest = seeded(
        2, strategy=strategy, **STRATEGIES[strategy], extra_body={FIELD_OF_FOREST: name}
    )
    with NotingServer(0) as server:
        settings.OPENAI_BASE_URL = server.url
        grow_slice(name, 0, 2)
    given = server.given[name]
    sound = recount(reread(forest), given)
    assert (sound.mismatches, sound.num_used) == ([], given.number)

    damage()

    assert recount(reread(forest), given).mismatches
