"""Leases against a real database."""

import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forests.core.naming import tree_id
from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import Document, collection, tree_ids
from rollouts.growing import leases
from tests.rollouts.forests import seeded, statuses
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

SPACE = leases.new_holder().rpartition("/")[0]
NO_PROCESS = 4_194_305  # above the highest process id of Linux


@pytest.fixture
def forest() -> Forest:
    return seeded(3)


@pytest.fixture
def trees(forest: Forest) -> list[str]:
    return [tree_id(forest.name, index) for index in range(3)]


def read(*trees: str) -> list[Document]:
    return list(collection(Tree).find({"_id": {"$in": list(trees)}}).sort("_id"))


def let_expire(tree: str) -> None:
    earlier = datetime.now(UTC) - timedelta(seconds=1)
    Tree.objects.filter(pk=tree).update(lease_expires_at=earlier)


def test_of_two_workers_one_gets_the_tree(trees: list[str]):
    assert leases.claim([trees[0]], "one/1")
    assert not leases.claim([trees[0]], "two/2")
    assert leases.claim([trees[1]], "two/2")


def test_of_several_those_are_ours_that_were_free(trees: list[str]):
    leases.claim([trees[1]], "two/2")

    assert leases.claim(trees, "one/1").keys() == {trees[0], trees[2]}
    assert [tree["lease_holder"] for tree in read(*trees)] == ["one/1", "two/2", "one/1"]


def test_whoever_claims_at_the_same_time_nobody_shares_a_tree():
    trees = tree_ids(seeded(60, "race"), range(60))
    windows = [trees[start : start + 20] for start in range(0, 60, 5)]
    start = threading.Barrier(6)

    def claim_all(number: int) -> set[str]:
        start.wait()
        return {tree for window in windows for tree in leases.claim(window, f"one/{number}")}

    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(claim_all, range(6)))

    assert sorted(tree for share in claimed for tree in share) == sorted(trees)
    for number, share in enumerate(claimed):
        assert {tree["lease_holder"] for tree in read(*share)} <= {f"one/{number}"}


@pytest.mark.parametrize(
    ("status", "is_unfinished"),
    [
        (TreeStatus.PENDING, True),
        (TreeStatus.GROWING, True),
        (TreeStatus.COMPLETE, False),
        (TreeStatus.FAILED, False),
    ],
)
def test_complete_and_failed_trees_are_finished(
    trees: list[str], status: TreeStatus, is_unfinished: bool
):
    Tree.objects.filter(pk=trees[0]).update(status=status)

    assert leases.unfinished([trees[0]]) == ({trees[0]} if is_unfinished else set())


def test_two_names_of_one_process_are_two_holders(trees: list[str]):
    one, two = leases.new_holder(), leases.new_holder()
    leases.claim([trees[1]], one)

    assert leases.claim(trees, two).keys() == {trees[0], trees[2]}


def test_a_tree_whose_lease_ended_is_anyones(trees: list[str]):
    leases.claim([trees[0]], "one/1")
    let_expire(trees[0])

    assert leases.claim([trees[0]], "two/2")
    assert leases.renew([trees[0]], "one/1") == {trees[0]}


@pytest.mark.parametrize("status", [TreeStatus.COMPLETE, TreeStatus.FAILED])
def test_a_finished_tree_is_nobodys(trees: list[str], status: TreeStatus):
    Tree.objects.filter(pk=trees[0]).update(status=status)

    assert not leases.claim([trees[0]], "one/1")


def test_a_renewed_lease_ends_later(trees: list[str]):
    leases.claim([trees[0]], "one/1")
    let_expire(trees[0])

    assert leases.renew([trees[0]], "one/1") == set()
    assert not leases.claim([trees[0]], "two/2")


def test_renewing_tells_what_was_lost_and_keeps_the_rest(trees: list[str]):
    for tree in trees:
        leases.claim([tree], "one/1")
    let_expire(trees[1])
    leases.claim([trees[1]], "two/2")

    assert leases.renew(trees, "one/1") == {trees[1]}
    assert [tree["lease_holder"] for tree in read(*trees)] == ["one/1", "two/2", "one/1"]


def test_one_gives_back_what_one_holds_oneself(forest: Forest, trees: list[str]):
    leases.claim([trees[0]], "one/1")
    leases.claim([trees[1]], "two/2")

    leases.release(trees, "one/1")

    assert statuses(forest) == {"pending": 2, "growing": 1}
    assert leases.claim([trees[0]], "three/3")


def test_what_dead_processes_of_this_machine_hold_is_given_back(trees: list[str]):
    holders = [f"{SPACE}/{NO_PROCESS}", leases.new_holder(), f"elsewhere/{NO_PROCESS}"]
    for tree, holder in zip(trees, holders, strict=True):
        leases.claim([tree], holder)

    assert leases.release_dead(read(*trees)) == 1
    assert [tree["lease_holder"] for tree in read(*trees)] == ["", *holders[1:]]


def test_what_the_former_process_of_a_reused_id_held_is_given_back(trees: list[str]):
    ours = leases.new_holder()
    pid, _, started = ours.rpartition("/")[2].partition("-")
    before = f"{SPACE}/{pid}-{float(started) - 60:.2f}"
    of_older_version = f"{SPACE}/{pid}"
    for tree, holder in zip(trees, [ours, before, of_older_version], strict=True):
        leases.claim([tree], holder)

    assert leases.release_dead(read(*trees)) == 1
    assert [tree["lease_holder"] for tree in read(*trees)] == [ours, "", of_older_version]


def test_a_process_that_has_ended_is_dead_before_its_parent_has_noticed(trees: list[str]):
    child = subprocess.Popen(["true"])
    leases.claim([trees[0]], f"{SPACE}/{child.pid}")

    wait_until(lambda: leases.release_dead(read(trees[0])) == 1)
    child.wait()


def test_what_another_boot_or_namespace_of_this_host_name_holds_is_not_ours_to_judge(
    trees: list[str], tmp_path: Path, monkeypatch
):
    """Two machines made from one image: the pids of one mean nothing on the other."""
    with monkeypatch.context() as patched:
        patched.setattr(leases, "_BOOT_ID", tmp_path / "boot_id")
        (tmp_path / "boot_id").write_text("another boot")
        copy = leases.new_holder()
    with monkeypatch.context() as patched:
        patched.setattr(leases, "_PID_NAMESPACE", tmp_path / "pid")
        (tmp_path / "pid").symlink_to("pid:[1]")
        (tmp_path / "pid:[1]").touch()
        container = leases.new_holder()
    holders = [f"{name.rpartition('/')[0]}/{NO_PROCESS}" for name in (copy, container)]
    for tree, holder in zip(trees, holders, strict=False):
        leases.claim([tree], holder)

    assert leases.release_dead(read(*trees)) == 0
    assert len({name.partition("/")[0] for name in (copy, container, SPACE)}) == 1


def test_a_process_of_another_user_is_alive(trees: list[str], monkeypatch):
    """The test uses a mock, because its own user may be allowed to signal every process."""
    leases.claim([trees[0]], f"{SPACE}/1")

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert leases.release_dead(read(trees[0])) == 0
