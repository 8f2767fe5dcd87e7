"""Jobs against a real database, a real queue and a real HTTP model server."""

import threading
import time
from datetime import UTC, datetime

import pytest
from pymongo.errors import AutoReconnect
from redis.client import Pipeline
from rq import SimpleWorker
from rq.job import JobStatus
from rq.queue import Queue
from rq.serializers import JSONSerializer

from experiment_configs.interfaces import ConfigError
from forests.core.naming import tree_id
from forests.models import Activity, Forest, Node, Tree, TreeStatus
from forests.storage.counters import recount_forest
from forests.storage.trees import (
    add_to_forest,
    collection,
    delete_forest,
    insert_up_to_known,
    iter_trees,
    retry_failed,
    tree_ids,
)
from rollouts.client import failures
from rollouts.client.failures import BackendRefusedError
from rollouts.growing import grower as growth
from rollouts.growing import leases
from rollouts.growing.growing_process import unfinished_trees
from rollouts.growing.recorder import LeaseLostError
from rollouts.workers.jobs import enqueue_forest, grow_slice
from tests.openai_server import Fault, OpenAIServer, write_two_steps
from tests.rollouts.forests import assert_whole, reread, seeded, shape, statuses

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(growth, "SECONDS_BETWEEN_LOOKS_AT_BUSY_TREES", 0.05)


def slowly(prefix: str, seed: int) -> str:
    time.sleep(0.05)
    return write_two_steps(prefix, seed)


@pytest.mark.parametrize("strategy", ["branching", "sampled", "math_shepherd", "omega_prm"])
def test_a_job_completes_its_trees(model_server: OpenAIServer, strategy: str):
    forest = seeded(strategy=strategy)

    assert grow_slice(forest.name, 0, 4) == {"complete": 4, "failed": 0}

    assert_whole(forest)
    grown = reread(forest)
    assert (grown.num_complete, grown.num_failed) == (4, 0)
    assert grown.growth_finished_at is not None
    assert grown.requests == len(model_server.requests) + len(model_server.probes)
    assert sum(Activity.objects.values_list("nodes", flat=True)) == grown.num_nodes


def test_a_job_leaves_other_slices_alone(model_server: OpenAIServer):
    forest = seeded(5)

    grow_slice(forest.name, 1, 3)

    assert [tree["index"] for tree in unfinished_trees(forest, range(5))] == [0, 3, 4]


def test_the_same_forest_grows_again_to_the_same_trees(model_server: OpenAIServer):
    first, second = seeded(suffix="a"), seeded(suffix="b")

    grow_slice(first.name, 0, 4)
    grow_slice(second.name, 0, 4)

    assert shape(first) == shape(second)


def test_a_tree_without_room_for_all_its_samples_says_so(model_server: OpenAIServer):
    forest = seeded(2, strategy="sampled", num_rollouts=40, max_nodes=5, max_depth=5)
    roomy = seeded(2, "roomy", strategy="sampled", num_rollouts=2, max_depth=5)

    grow_slice(forest.name, 0, 2)
    grow_slice(roomy.name, 0, 2)

    for tree in Tree.objects.filter(forest_id=forest.name):
        assert (tree.status, tree.hit_max_nodes) == ("complete", True)
        assert 0 < tree.num_nodes <= 5
        assert tree.num_truncated == 0
    assert not Tree.objects.filter(forest_id=roomy.name, hit_max_nodes=True)
    assert (reread(forest).num_hit_max_nodes, reread(roomy).num_hit_max_nodes) == (2, 0)
    assert_whole(forest)


def test_recounting_counts_trees_at_the_node_limit_again(model_server: OpenAIServer):
    forest = seeded(2, strategy="sampled", num_rollouts=40, max_nodes=5, max_depth=5)
    grow_slice(forest.name, 0, 2)
    Forest.objects.filter(pk=forest.name).update(num_hit_max_nodes=7)

    assert recount_forest(reread(forest)) == {"num_hit_max_nodes": (7, 2)}
    assert reread(forest).num_hit_max_nodes == 2


def test_a_finished_job_run_again_asks_for_nothing(model_server: OpenAIServer):
    forest = seeded()
    grow_slice(forest.name, 0, 4)
    before, asked = shape(forest), len(model_server.requests)

    assert grow_slice(forest.name, 0, 4) == {"complete": 0, "failed": 0}

    assert shape(forest) == before
    assert len(model_server.requests) == asked


def test_growth_goes_on_where_a_killed_worker_stopped(model_server: OpenAIServer):
    """The worker wrote the first steps of a tree and was killed with its lease."""
    whole, torn = seeded(suffix="whole"), seeded(suffix="torn")
    for forest in (whole, torn):
        grow_slice(forest.name, 0, 4)
    Node.objects.filter(tree_id=f"{torn.name}/0000001", depth__gte=2).delete()
    Tree.objects.filter(pk=f"{torn.name}/0000001").update(
        status="growing", lease_holder="elsewhere/1", lease_expires_at=None
    )

    grow_slice(torn.name, 0, 4)

    assert shape(torn) == shape(whole)
    assert_whole(torn)


def test_a_tree_whose_requests_keep_failing_is_failed_and_the_others_are_not(
    model_server: OpenAIServer,
):
    forest = seeded(concurrency=1)
    model_server.faults.extend([Fault(status=500, body="{}")] * 2)

    assert grow_slice(forest.name, 0, 4) == {"complete": 3, "failed": 1}

    assert statuses(forest) == {"failed": 1, "complete": 3}
    failed = Tree.objects.get(forest_id=forest.name, status="failed")
    assert "500" in failed.error
    assert reread(forest).failures == {"http_500": 2}


def test_a_refusing_server_stops_the_job_and_the_forest_says_why(model_server: OpenAIServer):
    forest = seeded()
    model_server.faults.extend([Fault(status=401, body="{}")] * 10)

    with pytest.raises(BackendRefusedError):
        grow_slice(forest.name, 0, 4)

    assert "OPENAI_API_KEY" in reread(forest).stop_reason
    assert reread(forest).backend_message == ""
    assert statuses(forest) == {"pending": 4}


def test_a_server_that_goes_away_is_waited_for(model_server: OpenAIServer):
    forest = seeded(2)
    model_server.faults.extend([Fault(drops_connection=True)] * 4)

    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}

    assert reread(forest).backend_message == ""
    assert_whole(forest)


def test_a_request_that_alone_finds_the_server_away_again_and_again_fails_its_tree(
    model_server: OpenAIServer,
):
    forest = seeded(3, concurrency=1)
    cut = Tree.objects.get(pk=tree_id(forest.name, 1)).prompt

    def cut_some() -> Fault | None:
        is_cut = model_server.requests[-1]["prompt"].startswith(cut)
        return Fault(status=504) if is_cut else None

    model_server.misbehave = cut_some

    assert grow_slice(forest.name, 0, 3) == {"complete": 2, "failed": 1}

    assert "504" in Tree.objects.get(pk=tree_id(forest.name, 1)).error
    assert reread(forest).backend_message == ""


def test_a_tree_that_another_worker_holds_is_left_until_it_lets_go(model_server: OpenAIServer):
    forest = seeded(2)
    held = f"{forest.name}/0000000"
    assert leases.claim([held], "elsewhere/1")

    def let_go() -> None:
        time.sleep(0.5)
        leases.release([held], "elsewhere/1")

    thread = threading.Thread(target=let_go)
    thread.start()
    grow_slice(forest.name, 0, 2)
    thread.join()

    assert_whole(forest)


def test_what_others_hold_keeps_nobody_from_the_rest(model_server: OpenAIServer):
    forest = seeded(8, concurrency=2)
    held = tree_ids(forest, [1, 4, 6])
    assert leases.claim(held, "elsewhere/1").keys() == set(held)
    Tree.objects.filter(pk=held[2]).update(status=TreeStatus.COMPLETE)

    def let_go() -> None:
        time.sleep(0.5)  # until the job has a connection of its own
        deadline = time.monotonic() + 30
        while statuses(forest).get("complete", 0) < 6 and time.monotonic() < deadline:
            time.sleep(0.05)
        seen.append(statuses(forest))
        leases.release(held[:2], "elsewhere/1")

    seen: list[dict[str, int]] = []
    thread = threading.Thread(target=let_go)
    thread.start()
    done = grow_slice(forest.name, 0, 8)
    thread.join()

    assert seen == [{"complete": 6, "growing": 2}]
    assert done == {"complete": 7, "failed": 0}
    assert statuses(forest) == {"complete": 8}


def hold(forest: Forest, *indexes: int) -> None:
    """Let a dead process of this machine hold trees."""
    space = leases.new_holder().rpartition("/")[0]
    for index in indexes:
        assert leases.claim([tree_id(forest.name, index)], f"{space}/4194305")


def pause(forest: Forest) -> None:
    collection(Forest).update_one({"_id": forest.name}, {"$set": {"is_paused": True}})


def test_trees_of_dead_processes_of_this_machine_are_enqueued_at_once(queue):
    forest = seeded(4)
    hold(forest, 1)
    assert leases.claim([tree_id(forest.name, 2)], leases.new_holder())

    assert enqueue_forest(forest, 1) == 3
    assert statuses(forest) == {"pending": 3, "growing": 1}


def test_a_job_takes_trees_of_dead_processes_at_once_and_only_those_of_its_slice(
    model_server: OpenAIServer, monkeypatch
):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 3600.0)
    forest = seeded(3)
    hold(forest, 0, 2)
    giving_up = threading.Timer(20, pause, [forest])  # else a job that waits would wait for an hour
    giving_up.start()

    done = grow_slice(forest.name, 0, 2)
    giving_up.cancel()

    assert done == {"complete": 2, "failed": 0}
    assert statuses(forest) == {"complete": 2, "growing": 1}


def test_trees_that_are_being_taken_when_a_job_is_stopped_are_given_back(
    model_server: OpenAIServer, monkeypatch
):
    forest = seeded(3)
    claim, is_claiming = leases.claim, threading.Event()

    def claim_slowly(trees: list[str], holder: str) -> dict[str, int]:
        is_claiming.set()
        time.sleep(2)
        return claim(trees, holder)

    def pause_meanwhile() -> None:
        is_claiming.wait(30)
        pause(forest)

    monkeypatch.setattr(leases, "claim", claim_slowly)
    monkeypatch.setattr(growth, "SECONDS_BETWEEN_LOOKS_AT_FOREST", 0.1)
    pausing = threading.Thread(target=pause_meanwhile)
    pausing.start()

    assert grow_slice(forest.name, 0, 3) == {"complete": 0, "failed": 0}
    pausing.join()

    assert is_claiming.is_set()
    assert statuses(forest) == {"pending": 3}
    assert model_server.requests == []


def test_a_changed_config_is_refused(model_server: OpenAIServer):
    forest = seeded()
    Forest.objects.filter(pk=forest.pk).update(config_sha256="0" * 64)

    with pytest.raises(ConfigError, match="has changed since"):
        grow_slice(forest.name, 0, 4)


def test_a_failing_grader_fails_the_tree_with_its_reason(model_server: OpenAIServer, monkeypatch):
    forest = seeded(1)

    def fail(*_: object) -> bool:
        raise RuntimeError("no grader today")

    monkeypatch.setattr("experiment_configs.interfaces.RolloutConfig.is_correct", fail)

    grow_slice(forest.name, 0, 1)

    assert "no grader today" in Tree.objects.get(forest_id=forest.name).error


def test_each_slice_is_enqueued_once(queue):
    forest = seeded(5)

    assert enqueue_forest(forest, 2) == 3
    assert enqueue_forest(forest, 2) == 0
    assert len(queue.job_ids) == 3


def test_a_lost_queue_is_rebuilt_from_the_database(queue):
    forest = seeded(5)
    enqueue_forest(forest, 2)

    queue.connection.flushdb()

    assert enqueue_forest(forest, 2) == 3


def test_trees_that_a_killed_worker_did_not_count_are_counted_when_nothing_is_left(
    queue, model_server: OpenAIServer, monkeypatch
):
    forest = seeded(2)

    def die(name: str, deltas: dict[str, float]) -> None:
        if deltas.get("num_complete"):
            raise AutoReconnect("gone for a moment")
        add_to_forest(name, deltas)

    with monkeypatch.context() as patched:
        patched.setattr("rollouts.growing.recorder.add_to_forest", die)
        patched.setattr("rollouts.growing.growing_process.settle_counters", lambda _: True)
        with pytest.raises(AutoReconnect):
            grow_slice(forest.name, 0, 2)
    assert statuses(forest) == {"complete": 2}
    assert reread(forest).num_complete == 0

    assert enqueue_forest(reread(forest), 2) == 0

    assert reread(forest).num_complete == 2
    assert reread(forest).growth_finished_at is not None


def test_of_two_who_rebuild_a_lost_queue_none_deletes_what_the_other_put_there(queue, monkeypatch):
    """The second one rebuilds the queue while the first one is about to delete a torn job."""
    forest = seeded(5)
    enqueue_forest(forest, 2)
    lost = queue.jobs[0]
    queue.connection.flushdb()
    lost.heartbeat(datetime.now(UTC), 60)
    with monkeypatch.context() as patched:
        hexists, others = Pipeline.hexists, iter([True])

        def look_and_be_overtaken(self: Pipeline, name: str, key: str) -> object:
            is_there = hexists(self, name, key)
            if next(others, False):
                queue.connection.delete(lost.key)
                assert enqueue_forest(forest, 2) == 3
            return is_there

        patched.setattr(Pipeline, "hexists", look_and_be_overtaken)
        enqueue_forest(forest, 2)

    assert sorted(set(queue.job_ids)) == sorted(job.id for job in queue.jobs)
    assert len({job.id for job in queue.jobs}) == 3


def test_what_a_worker_writes_of_a_job_after_the_queue_was_lost_is_no_job(queue):
    forest = seeded(5)
    enqueue_forest(forest, 2)
    lost, *others = queue.jobs
    queue.connection.flushdb()

    with queue.connection.pipeline() as pipeline:
        lost.prepare_for_execution("a worker", pipeline)
        pipeline.execute()
    others[0].heartbeat(datetime.now(UTC), 60)

    assert enqueue_forest(forest, 2) == 3
    assert [job.func_name for job in queue.jobs] == ["rollouts.workers.jobs.grow_slice"] * 3


def test_only_slices_with_unfinished_trees_are_enqueued(queue, model_server: OpenAIServer):
    forest = seeded(5)
    grow_slice(forest.name, 0, 2)

    assert enqueue_forest(forest, 2) == 2


def test_a_job_that_failed_before_is_enqueued_anew(queue):
    forest = seeded(2)
    enqueue_forest(forest, 2)
    (job,) = queue.jobs
    queue.remove(job)
    job.set_status(JobStatus.FAILED)

    assert enqueue_forest(forest, 2) == 1
    assert len(queue.job_ids) == 1


def test_a_slice_that_a_living_worker_grows_is_left_alone(queue):
    forest = seeded(2)
    leases.claim([f"{forest.name}/0000000"], leases.new_holder())

    assert enqueue_forest(forest, 2) == 0


def test_an_rq_worker_runs_the_jobs(queue, model_server: OpenAIServer):
    forest = seeded(3)
    enqueue_forest(forest, 2)

    worker = SimpleWorker([queue], connection=queue.connection, serializer=JSONSerializer)
    worker.work(burst=True)

    assert_whole(forest)


def test_after_a_failed_write_nothing_more_is_written_and_growth_goes_on_later(
    model_server: OpenAIServer, monkeypatch
):
    whole, torn = seeded(suffix="whole"), seeded(suffix="torn")
    grow_slice(whole.name, 0, 4)
    calls = iter(range(100))
    model_server.write = slowly
    monkeypatch.setattr("rollouts.growing.recorder.SECONDS_BETWEEN_WRITES", 0.02)

    def fail_once(model: type[Node], documents: list[dict[str, object]]) -> int:
        if next(calls) == 1:
            time.sleep(0.5)
            raise AutoReconnect("gone for a moment")
        return insert_up_to_known(model, documents)

    with monkeypatch.context() as patched:
        patched.setattr("rollouts.growing.fencing.insert_up_to_known", fail_once)
        with pytest.raises(AutoReconnect):
            grow_slice(torn.name, 0, 4)

    assert all(stored.orphans == [] for stored in iter_trees(torn))
    grow_slice(torn.name, 0, 4)
    assert shape(torn) == shape(whole)
    assert_whole(torn)


def test_where_much_is_unwritten_growth_waits_for_the_database(
    model_server: OpenAIServer, monkeypatch
):
    monkeypatch.setattr("rollouts.growing.recorder.SECONDS_BETWEEN_WRITES", 1000)
    monkeypatch.setattr("rollouts.growing.recorder.MAX_NOTED", 1)
    forest = seeded(1, concurrency=1)
    written = []

    def look(prefix: str, seed: int) -> str:
        written.append(collection(Node).count_documents({}))
        return write_two_steps(prefix, seed)

    model_server.write = look
    grow_slice(forest.name, 0, 1)

    # The samples of a request are in the database before the next is asked.
    assert written[0] == 0
    assert written[-1] > 0
    assert_whole(forest)


def test_of_many_who_wait_for_the_database_one_writes_for_all(
    model_server: OpenAIServer, monkeypatch
):
    monkeypatch.setattr("rollouts.growing.recorder.SECONDS_BETWEEN_WRITES", 1000)
    monkeypatch.setattr("rollouts.growing.recorder.MAX_NOTED", 8)
    forest = seeded(40, concurrency=40)
    writes: list[int] = []

    def insert_slowly(model: type[Node], documents: list[dict[str, object]]) -> int:
        time.sleep(0.1)
        writes.append(len(documents))
        return insert_up_to_known(model, documents)

    monkeypatch.setattr("rollouts.growing.fencing.insert_up_to_known", insert_slowly)
    grow_slice(forest.name, 0, 40)

    # Only the last write, which ends the job, may have fewer nodes than make requests wait.
    assert min(writes[:-1]) >= 8
    assert len(writes) > 2
    assert_whole(forest)


def test_nodes_without_parent_or_behind_a_gap_are_drawn_again(model_server: OpenAIServer):
    whole, torn = seeded(1, "whole"), seeded(1, "torn")
    for forest in (whole, torn):
        grow_slice(forest.name, 0, 1)
    tree = f"{torn.name}/0000000"
    Node.objects.filter(pk=f"{tree}/0.0").delete()
    Tree.objects.filter(pk=tree).update(status="pending")
    stored = next(iter_trees(torn))
    assert stored.orphans
    assert len(stored.tree) == 1

    grow_slice(torn.name, 0, 1)

    assert shape(torn) == shape(whole)
    assert_whole(torn)


def test_a_worker_that_was_away_too_long_writes_nothing(model_server: OpenAIServer, monkeypatch):
    forest = seeded(2)
    monkeypatch.setattr("rollouts.growing.recorder.LEASE_SECONDS", -1)

    with pytest.raises(LeaseLostError):
        grow_slice(forest.name, 0, 2)

    assert Node.objects.count() == 0
    assert statuses(forest) == {"pending": 2}


def test_a_worker_whose_tree_was_taken_stops(model_server: OpenAIServer, monkeypatch):
    forest = seeded(1)
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.1)

    takes = iter([True])

    def take_over(prefix: str, seed: int) -> str:
        if next(takes, False):  # only once: requests may still be answered after the test
            Tree.objects.update(lease_holder="elsewhere/1")
        time.sleep(1)
        return "step\n"

    model_server.write = take_over

    with pytest.raises(LeaseLostError):
        grow_slice(forest.name, 0, 1)

    assert Tree.objects.get().lease_holder == "elsewhere/1"


def test_a_finished_tree_is_held_until_it_is_written(model_server: OpenAIServer, monkeypatch):
    forest = seeded(1)
    monkeypatch.setattr("rollouts.growing.recorder.SECONDS_BETWEEN_WRITES", 1000)
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.1)
    claimed = []

    def insert_slowly(model: type[Node], documents: list[dict[str, object]]) -> int:
        time.sleep(2)
        claimed.append(leases.claim(tree_ids(forest, [0]), "elsewhere/1"))
        return insert_up_to_known(model, documents)

    monkeypatch.setattr("rollouts.growing.fencing.insert_up_to_known", insert_slowly)

    assert grow_slice(forest.name, 0, 1) == {"complete": 1, "failed": 0}

    assert claimed == [{}]
    assert_whole(forest)


def test_a_job_says_so_where_a_finished_tree_was_taken_before_it_was_written(
    model_server: OpenAIServer, queue, monkeypatch
):
    forest = seeded(3)
    taken = tree_id(forest.name, 1)
    monkeypatch.setattr("rollouts.growing.recorder.SECONDS_BETWEEN_WRITES", 1000)

    def take_over(model: type[Node], documents: list[dict[str, object]]) -> int:
        Tree.objects.filter(pk=taken).update(lease_holder="elsewhere/1")
        return insert_up_to_known(model, documents)

    with monkeypatch.context() as patched:
        patched.setattr("rollouts.growing.fencing.insert_up_to_known", take_over)
        with pytest.raises(LeaseLostError, match="1 of 3 trees"):
            grow_slice(forest.name, 0, 3)

    assert statuses(forest) == {"complete": 2, "growing": 1}
    leases.release([taken], "elsewhere/1")
    grow_slice(forest.name, 0, 3)
    assert enqueue_forest(forest, 3) == 0
    assert reread(forest).num_complete == 3
    assert_whole(forest)


def test_samples_that_cannot_be_graded_are_kept_and_graded_later(
    model_server: OpenAIServer, monkeypatch
):
    forest = seeded(1)
    with monkeypatch.context() as patched:
        patched.setattr("experiment_configs.interfaces.RolloutConfig.is_correct", lambda *_: 1)
        grow_slice(forest.name, 0, 1)
    assert "is_correct must return a bool, not int" in Tree.objects.get().error
    assert Node.objects.count() == reread(forest).num_nodes > 0

    retry_failed(reread(forest))
    grow_slice(forest.name, 0, 1)

    assert_whole(forest)


def test_a_forest_that_is_deleted_while_it_grows_leaves_nothing(model_server: OpenAIServer):
    forest = seeded(20, concurrency=1)
    model_server.write = slowly
    deleting = threading.Timer(0.7, lambda: delete_forest(reread(forest)))
    deleting.start()

    grow_slice(forest.name, 0, 20)
    deleting.join()

    assert (Forest.objects.count(), Tree.objects.count(), Node.objects.count()) == (0, 0, 0)


def test_a_job_whose_forest_is_deleted_before_it_begins_leaves_no_failure(
    model_server: OpenAIServer, queue: Queue
):
    forest = seeded(4)
    enqueue_forest(forest, trees_per_job=2)
    Forest.objects.all().delete()  # a worker has taken the jobs, so they are not deleted with it

    worker = SimpleWorker([queue], connection=queue.connection, serializer=JSONSerializer)
    worker.work(burst=True)

    assert queue.failed_job_registry.get_job_ids() == []
    assert len(queue.finished_job_registry.get_job_ids()) == 2


def test_the_requests_of_a_tree_go_to_one_of_several_servers():
    with OpenAIServer() as first, OpenAIServer() as second:
        forest = seeded(12, base_urls=[first.url, second.url], branching=[4, 2, 1])

        assert grow_slice(forest.name, 0, 12) == {"complete": 12, "failed": 0}

        sessions = [
            {found["X-Session-ID"] for found in one.sent_headers} for one in (first, second)
        ]
        prompts = [{str(body["prompt"]) for body in one.requests} for one in (first, second)]

    assert all(prompts)
    assert len(sessions[0] | sessions[1]) == 12
    moved = sessions[0] & sessions[1]
    assert len(moved) <= 3
    assert forest.name not in str(sessions)


def test_cached_prompt_tokens_are_counted_where_a_server_tells_them(model_server: OpenAIServer):
    model_server.usage_details = {"prompt_tokens_details": {"cached_tokens": 2}}
    forest = seeded()

    grow_slice(forest.name, 0, 4)

    assert_whole(forest)
    grown = reread(forest)
    assert grown.cached_tokens == 2 * grown.requests > 0
    assert grown.cached_share == grown.cached_tokens / grown.prompt_tokens
