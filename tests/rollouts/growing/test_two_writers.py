"""A worker that was away for longer than its lease, while another one grew its trees."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from pymongo.collection import Collection

from experiment_configs.loading import load_config
from forests.core.tree import Grade, TreeNode
from forests.models import Forest, Node, Tree
from forests.storage.counters import recount_forest
from forests.storage.trees import (
    count_models,
    delete_forest,
    insert_new,
    iter_trees,
    node_document,
    read_path,
    tree_ids,
)
from forests.transfer import archiving as transfer
from rollouts.growing import fencing, leases
from rollouts.growing import recorder as recording
from rollouts.growing.recorder import LeaseLostError, settle_counters
from rollouts.maintenance import regrading
from rollouts.maintenance.regrading import regrade_forest
from rollouts.workers import jobs
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer, write_two_steps
from tests.rollouts.forests import assert_whole, reread, seeded, shape, statuses

pytestmark = pytest.mark.django_db(transaction=True)

CALLS = (
    "find", "find_one", "insert_many", "update_one", "update_many", "bulk_write", "delete_many",
)  # fmt: skip
STALLED_CALLS = range(2, 27, 3)
"""A worker stalls before each of these of its about 25 calls. `range(1, 27)` tries every call, and
takes about three times as long."""
STRATEGIES: dict[str, dict[str, Any]] = {
    "branching": {"branching": [3, 2]},
    "sampled": {"num_rollouts": 6},
    "math_shepherd": {"num_rollouts": 2, "rollouts_per_state": 2},
    "omega_prm": {"num_searches": 3, "rollouts_per_state": 2},
}


class Stall:
    """Lets something happen just before one database call of a growing worker."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, number: int, happens: Callable[[], None]
    ) -> None:
        """`number` is that of the call, counted from 1."""
        self.calls: list[str] = []
        """All calls up to the stalled one, with it."""
        self.has_happened = threading.Event()
        self._number = number
        self._happens = happens
        for name in CALLS:
            monkeypatch.setattr(Collection, name, self._stalling(name, getattr(Collection, name)))

    def _stalling(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def stalled(collection: Collection[Any], *args: Any, **kwargs: Any) -> Any:
            if not self.has_happened.is_set():
                self.calls.append(f"{name} {collection.name}")
                if len(self.calls) == self._number:
                    self.has_happened.set()
                    with ThreadPoolExecutor(1) as elsewhere:
                        elsewhere.submit(self._happens).result()
            return call(collection, *args, **kwargs)

        return stalled


def grow_elsewhere(forest: Forest, server: OpenAIServer) -> None:
    """Let the leases run out, and grow all trees with other texts, as another worker would."""
    Tree.objects.update(lease_expires_at=None)
    server.write = lambda prefix, seed: write_two_steps(prefix, seed + 1)
    jobs._grow_slice(forest.name, 0, forest.num_trees, None)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_wherever_a_worker_stalls_it_changes_nothing_that_another_one_wrote(
    model_server: OpenAIServer, monkeypatch, strategy: str
):
    monkeypatch.setattr(recording, "SECONDS_BETWEEN_WRITES", 0.01)
    model_server.most_samples = 2  # so that nodes come in several writes, and some change later
    num_lost = 0
    for number in STALLED_CALLS:
        model_server.write = write_two_steps
        suffix = f"{strategy.replace('_', '-')}-{number}"
        forest = seeded(2, suffix, strategy=strategy, **STRATEGIES[strategy])
        seen: list[object] = []

        def grow_meanwhile(forest: Forest = forest, seen: list[object] = seen) -> None:
            grow_elsewhere(forest, model_server)
            seen.append(shape(forest))

        with monkeypatch.context() as patch:
            stall = Stall(patch, number, grow_meanwhile)
            try:
                grow_slice(forest.name, 0, 2)
            except LeaseLostError:
                num_lost += 1

        if stall.has_happened.is_set():
            assert [shape(forest)] == seen, f"stalled before {stall.calls[-1]}"
        settle_counters(reread(forest))
        assert_whole(forest)
    assert num_lost


def test_trees_that_end_in_the_same_write_as_a_lost_one_are_counted(
    model_server: OpenAIServer, monkeypatch
):
    monkeypatch.setattr(recording, "SECONDS_BETWEEN_WRITES", 60)  # so that all is one write
    forest = seeded(2)
    (taken, _) = tree_ids(forest, [0, 1])
    write_trees = recording.Recorder._write_trees

    def take_one_before(*arguments: Any) -> int:
        Tree.objects.filter(pk=taken).update(lease_expires_at=None)
        leases.claim([taken], "two/2")
        return write_trees(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(recording.Recorder, "_write_trees", take_one_before)
        with pytest.raises(LeaseLostError):
            grow_slice(forest.name, 0, 2)
    assert statuses(forest) == {"growing": 1, "complete": 1}
    leases.release([taken], "two/2")
    grow_slice(forest.name, 0, 2)

    assert reread(forest).num_complete == 2
    assert_whole(forest)


def test_a_node_that_arrives_too_late_is_no_part_of_the_tree_and_is_written_over():
    forest = seeded(1)
    (tree,) = tree_ids(forest, [0])
    leases.claim([tree], "late/1")
    Tree.objects.update(lease_expires_at=None)
    generations = leases.claim([tree], "two/2")
    assert fencing.take_over(generations, "two/2") == {tree}
    now = datetime.now(UTC)
    late, ours = (
        node_document(forest.name, tree, TreeNode((0,), text=text), now, generation)
        for text, generation in (("late", generations[tree] - 1), ("ours", generations[tree]))
    )

    assert not fencing.insert_nodes([late])
    (stored,) = iter_trees(forest)
    assert (len(stored.tree.nodes), stored.orphans) == (1, [late["_id"]])
    assert read_path(forest, 0, (0,)) is None

    assert not fencing.insert_nodes([ours])
    assert not fencing.update_nodes([late | {"count": 7}])
    assert fencing.insert_nodes([late]) == {tree}
    assert [(node.text, node.count) for node in read_path(forest, 0, (0,)) or []] == [("ours", 1)]


def claimed(tree: str, holder: str) -> int:
    """Claim a tree as a worker does, and return its new generation."""
    generations = leases.claim([tree], holder)
    assert fencing.take_over(generations, holder) == {tree}
    return generations[tree]


def test_the_first_claim_of_a_tree_has_no_nodes_to_move():
    forest = seeded(2)
    trees = tree_ids(forest, [0, 1])

    generations = leases.claim(trees, "one/1")

    assert dict(Tree.objects.values_list("pk", "oldest_generation")) == generations
    assert fencing.take_over(generations, "one/1") == set(trees)
    leases.release(trees, "one/1")
    assert leases.claim(trees, "two/2") == {tree: one + 1 for tree, one in generations.items()}


def node_of(forest: Forest, tree: str, text: str, generation: int) -> dict[str, Any]:
    node = TreeNode((0,), text=text)
    return node_document(forest.name, tree, node, datetime.now(UTC), generation)


@pytest.mark.parametrize("num_claims", [0, 1, 3])
@pytest.mark.parametrize("arrives_before_the_claims", [False, True])
def test_a_write_held_up_since_before_a_forest_was_deleted_is_no_part_of_the_next_of_its_name(
    num_claims: int, arrives_before_the_claims: bool
):
    forest = seeded(1)
    (tree,) = tree_ids(forest, [0])
    generation = 0
    for number in range(5):
        generation = claimed(tree, f"late/{number}")
        leases.release([tree], f"late/{number}")
    late = node_of(forest, tree, "late", generation)
    delete_forest(forest)
    forest = seeded(1)

    if arrives_before_the_claims:
        assert not fencing.insert_nodes([late])
    for number in range(num_claims):
        leases.release([tree], f"ours/{number - 1}")
        generation = claimed(tree, f"ours/{number}")
    if not arrives_before_the_claims:
        assert not fencing.insert_nodes([late])
    (stored,) = iter_trees(forest)
    assert (len(stored.tree), stored.orphans) == (1, [late["_id"]])

    if num_claims:
        assert not fencing.insert_nodes([node_of(forest, tree, "ours", generation)])
        assert not fencing.update_nodes([late | {"count": 7}])
        assert fencing.insert_nodes([late]) == {tree}
        (stored,) = iter_trees(forest)
        assert [(node.text, node.count) for node in stored.tree if node.path] == [("ours", 1)]


def test_a_write_held_up_since_before_a_forest_was_imported_again_is_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    forest = seeded(1)
    (tree,) = tree_ids(forest, [0])
    generation = claimed(tree, "late/1")
    fencing.insert_nodes([node_of(forest, tree, "ours", generation)])
    leases.release([tree], "late/1")
    call_command("export_forest", "--forest_name", forest.name, "--output", str(tmp_path / "out"))
    delete_forest(forest)
    late = node_of(forest, tree, "late", generation)
    other = late | {"_id": f"{tree}/0.1", "position": 1}
    real = transfer.insert_nodes

    def insert_after_the_late_ones(documents: list[dict[str, Any]]) -> None:
        fencing.insert_nodes([late, other])
        real(documents)

    monkeypatch.setattr(transfer, "insert_nodes", insert_after_the_late_ones)
    call_command("import_forest", str(tmp_path / "out"))

    (stored,) = iter_trees(reread(forest))
    assert [node.text for node in stored.tree if node.path] == ["ours"]
    assert not fencing.update_nodes([late])
    generation = claimed(tree, "ours/1")
    assert fencing.update_nodes([node_of(forest, tree, "ours", generation) | {"count": 2}])
    (stored,) = iter_trees(reread(forest))
    assert [(one.text, one.count) for one in stored.tree if one.path] == [("ours", 2)]


def test_late_nodes_are_deleted_with_the_next_claim_or_recount(model_server: OpenAIServer):
    forest = seeded(2)
    ids = tree_ids(forest, [0, 1])
    grow_slice(forest.name, 0, 2)
    before = shape(forest)
    Tree.objects.update(generation=3, oldest_generation=3)
    Node.objects.update(generation=3)
    late = TreeNode((5,), text="late")
    insert_new(Node, [node_document(forest.name, tree, late, datetime.now(UTC), 2) for tree in ids])
    Tree.objects.filter(pk=ids[0]).update(status="pending")

    grow_slice(forest.name, 0, 2)
    assert Node.objects.filter(text="late").count() == 1
    recount_forest(reread(forest))

    assert not Node.objects.filter(text="late").exists()
    assert shape(forest) == before


def test_recounting_mends_the_steps_that_late_writers_of_older_versions_changed(
    model_server: OpenAIServer,
):
    forest = seeded(2, strategy="sampled", num_rollouts=6)
    grow_slice(forest.name, 0, 2)
    before = shape(forest)
    inner = [node for node in Node.objects.filter(depth=1) if not node.terminal]
    for node in inner:
        Node.objects.filter(pk=node.pk).update(count=node.count - 1, drawn={"0": node.count - 1})

    wrong = recount_forest(reread(forest))

    assert wrong == {"steps_that_did_not_add_up": (len(inner), 0)}
    assert shape(forest) == before
    assert recount_forest(reread(forest)) == {}


def test_regrading_lets_no_worker_write_that_took_its_tree_before(model_server: OpenAIServer):
    forest = seeded(1)
    (tree,) = tree_ids(forest, [0])
    generations = leases.claim([tree], "late/1")
    node = node_document(forest.name, tree, TreeNode((0,)), datetime.now(UTC), generations[tree])
    fencing.insert_nodes([node])
    Tree.objects.update(lease_expires_at=None)

    regrade_forest(forest, load_config(forest.config_name))

    assert not fencing.update_nodes([node | {"grade": "incorrect"}])
    assert Tree.objects.get().status == "pending"


def test_regrading_waits_for_a_worker_that_begins_at_the_same_moment(
    model_server: OpenAIServer, monkeypatch
):
    forest = seeded(2)
    grow_slice(forest.name, 0, 1)
    (tree,) = tree_ids(forest, [1])
    node = TreeNode((0,), text="#### 0", terminal=True, answer="wrong", grade=Grade.INCORRECT)

    def begin(_: Forest) -> bool:
        generation = leases.claim([tree], "late/1")[tree]
        threading.Timer(0.5, write_and_leave, [generation]).start()
        return False

    def write_and_leave(generation: int) -> None:
        now = datetime.now(UTC)
        fencing.insert_nodes([node_document(forest.name, tree, node, now, generation)])
        leases.release([tree], "late/1")

    monkeypatch.setattr(regrading, "is_held", begin)
    regraded = regrade_forest(forest, load_config(forest.config_name))

    assert regraded.answers_changed == 1
    assert Node.objects.get(tree_id=tree).answer == "0"


def test_models_are_counted_without_late_nodes(model_server: OpenAIServer):
    forest = seeded(2)
    ids = tree_ids(forest, [0, 1])
    grow_slice(forest.name, 0, 2)
    before = count_models(forest)
    Tree.objects.update(generation=3, oldest_generation=3, nodes_by_model={})
    Node.objects.update(generation=3)
    late = TreeNode((5,), text="late", model="late")
    insert_new(Node, [node_document(forest.name, tree, late, datetime.now(UTC), 2) for tree in ids])

    assert count_models(forest) == before
