"""A recorder that meets nodes of other writers, in a real database."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Model

from forests.core.tree import TreeNode, parse_path
from forests.models import Activity, Forest, Node, Tree, TreeStatus
from forests.storage.trees import (
    insert_new,
    insert_up_to_known,
    iter_trees,
    node_document,
    read_tree,
    tree_ids,
)
from rollouts.growing import fencing, leases
from rollouts.growing.recorder import Growth, LeaseLostError, Recorder
from rollouts.strategies.base import Changes
from rollouts.workers import jobs
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer, write_two_steps
from tests.rollouts.forests import assert_whole, reread, seeded, shape

pytestmark = pytest.mark.django_db(transaction=True)

HOLDER = "one/1"


def grown(forest: Forest, index: int) -> Growth:
    assert leases.claim(tree_ids(forest, [index]), HOLDER)
    stored = read_tree(forest, index)
    assert stored is not None
    return Growth.of(stored)


def take_as_another_worker(*trees: str) -> None:
    Tree.objects.filter(pk__in=trees).update(lease_expires_at=None)
    generations = leases.claim(trees, "two/2")
    assert fencing.take_over(generations, "two/2") == set(trees)


def nodes(*texts: str) -> list[TreeNode]:
    """Return two children of the root, and one below each."""
    paths = [parse_path(text) for text in ("0.0", "0.1", "0.0.0", "0.1.0")]
    return [TreeNode(path, text=text) for path, text in zip(paths, texts, strict=True)]


def note(recorder: Recorder, growth: Growth, found: list[TreeNode]) -> None:
    for node in found:
        growth.stored.tree.add(node)
    recorder.note(growth, Changes(added={node.path: node for node in found}))


def insert(tree: str, found: list[TreeNode], when: datetime) -> None:
    forest_name, generation = tree.rpartition("/")[0], Tree.objects.get(pk=tree).generation
    insert_new(Node, [node_document(forest_name, tree, node, when, generation) for node in found])


def texts_of_tree(forest: Forest, index: int) -> list[str]:
    """Return the texts that readers see, without late nodes."""
    stored = read_tree(forest, index)
    assert stored is not None
    return sorted(node.text for node in stored.tree if node.path)


def texts(tree: str) -> list[str]:
    return list(Node.objects.filter(tree_id=tree).order_by("id").values_list("text", flat=True))


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("says_the_same", [False, True])
def test_where_a_later_holder_s_nodes_stand_nothing_more_of_the_tree_is_written(
    number: int, says_the_same: bool
):
    forest = seeded(2)
    recorder = Recorder(forest, HOLDER)
    first, second = grown(forest, 0), grown(forest, 1)
    ours = ["a", "b", "aa", "bb"]
    theirs = nodes(*(ours if says_the_same else ["x", "y", "xx", "yy"]))[:number]
    take_as_another_worker(first.stored.id)
    insert(first.stored.id, theirs, datetime.now(UTC) - timedelta(milliseconds=5))
    note(recorder, first, nodes(*ours))
    note(recorder, second, nodes(*ours))
    recorder.finish(first, TreeStatus.COMPLETE)
    recorder.finish(second, TreeStatus.COMPLETE)

    with pytest.raises(LeaseLostError, match="another worker has taken 1 of 2 trees"):
        asyncio.run(recorder.write())

    assert texts_of_tree(forest, 0) == sorted(node.text for node in theirs)
    assert Tree.objects.get(pk=first.stored.id).status == "growing"
    assert sorted(texts(second.stored.id)) == sorted(ours)
    assert Tree.objects.get(pk=second.stored.id).status == "complete"
    assert reread(forest).num_nodes == Activity.objects.get().nodes == 4
    with pytest.raises(LeaseLostError):  # later writes fail too
        asyncio.run(recorder.write())


def test_nodes_of_a_tree_that_another_worker_has_taken_are_not_changed():
    forest = seeded(2)
    recorder = Recorder(forest, HOLDER)
    growths = [grown(forest, 0), grown(forest, 1)]
    for growth in growths:
        note(recorder, growth, nodes("a", "b", "aa", "bb"))
    asyncio.run(recorder.write())
    taken, kept = (growth.stored.id for growth in growths)
    take_as_another_worker(taken)
    before = list(Node.objects.filter(tree_id=taken).order_by("id").values())
    for growth in growths:
        node = growth.stored.tree.nodes[0,]
        node.count = 7
        added = TreeNode((0, 1), text="ab")
        growth.stored.tree.add(added)
        recorder.note(growth, Changes(added={added.path: added}, changed={node.path: node}))

    with pytest.raises(LeaseLostError, match="another worker has taken 1 of 2 trees"):
        asyncio.run(recorder.write())

    assert texts_of_tree(forest, 0) == ["a", "aa", "b", "bb"]
    now = Tree.objects.get(pk=taken).generation
    current = Node.objects.filter(tree_id=taken, generation=now).order_by("id")
    assert list(current.values()) == before
    assert Node.objects.get(pk=f"{kept}/0.0").count == 7
    assert sorted(texts(kept)) == ["a", "aa", "ab", "b", "bb"]


@pytest.mark.parametrize("number", [1, 3, 4])
def test_a_write_of_our_own_may_be_repeated(monkeypatch, number: int):
    """The driver repeats a write if the connection broke before the answer came."""
    forest = seeded(1)
    recorder = Recorder(forest, HOLDER)
    growth = grown(forest, 0)

    def insert_twice(model: type[Model], documents: list[dict[str, Any]]) -> int:
        insert_up_to_known(model, documents[:number])
        return insert_up_to_known(model, documents)

    monkeypatch.setattr("rollouts.growing.fencing.insert_up_to_known", insert_twice)
    note(recorder, growth, nodes("a", "b", "aa", "bb"))

    asyncio.run(recorder.write())

    assert sorted(texts(growth.stored.id)) == ["a", "aa", "b", "bb"]
    assert reread(forest).num_nodes == 4


def test_a_writer_that_wakes_up_after_another_grew_its_tree_changes_nothing(
    model_server: OpenAIServer, monkeypatch
):
    forest = seeded(3)
    calls: list[int] = []
    seen: list[Any] = []

    def stall(model: type[Model], documents: list[dict[str, Any]]) -> int:
        calls.append(len(documents))
        if len(calls) == 1:
            Tree.objects.update(status="pending", lease_holder="", lease_expires_at=None)
            model_server.write = lambda prefix, seed: write_two_steps(prefix, seed + 1)
            assert jobs._grow_slice(forest.name, 0, 3, None) == {"complete": 3, "failed": 0}
            seen.append((shape(forest), list(Tree.objects.order_by("id").values())))
        return insert_up_to_known(model, documents)

    monkeypatch.setattr("rollouts.growing.fencing.insert_up_to_known", stall)

    with pytest.raises(LeaseLostError):
        grow_slice(forest.name, 0, 3)

    assert [(shape(forest), list(Tree.objects.order_by("id").values()))] == seen
    assert all(stored.orphans == [] for stored in iter_trees(forest))
    assert_whole(forest)
