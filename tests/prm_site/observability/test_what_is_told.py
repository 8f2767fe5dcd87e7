"""What the site tells operators and their tools: health, metrics and logs."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pymongo.errors import ServerSelectionTimeoutError
from redis import Redis
from rq.queue import Queue

from forests.models import Forest
from prm_site.observability import readiness
from rollouts.workers.jobs import enqueue_forest, grow_slice
from tests.forked_commands import run_command
from tests.openai_server import Fault, OpenAIServer
from tests.processes import on_test_database
from tests.rollouts.forests import reread, seeded
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class TestHealth:
    @pytest.fixture(autouse=True)
    def _look_each_time(self, monkeypatch: pytest.MonkeyPatch, queue: Queue):
        monkeypatch.setattr(readiness, "SECONDS_KEPT", 0.0)

    @pytest.fixture
    def no_database(self, monkeypatch: pytest.MonkeyPatch):
        def fail(name: str) -> None:
            raise ServerSelectionTimeoutError("no server at secret.example.org")

        gone = SimpleNamespace(database=SimpleNamespace(command=fail))
        monkeypatch.setattr("prm_site.observability.readiness.connection", gone)

    @pytest.mark.usefixtures("no_database")
    def test_a_site_that_answers_is_healthy_whatever_else_is_gone(self, client: Client):
        response = client.get("/healthz")

        assert (response.status_code, response.content) == (200, b"ok\n")

    @pytest.mark.usefixtures("model_server")
    def test_a_site_is_ready_where_all_that_it_needs_answers(self, client: Client):
        response = client.get("/readyz")

        assert response.status_code == 200
        assert response.text == "database: ok\nqueue: ok\nbackend: ok\n"

    @pytest.mark.usefixtures("model_server", "no_database")
    def test_it_is_not_ready_without_a_database_and_tells_strangers_no_address(
        self, client: Client
    ):
        response = client.get("/readyz")

        assert response.status_code == 503
        assert response.text == "database: does not answer\nqueue: ok\nbackend: ok\n"

    @pytest.mark.usefixtures("model_server")
    def test_it_is_not_ready_without_a_queue(self, client: Client, settings):
        settings.RQ_QUEUES = {"rollouts": {"URL": "redis://127.0.0.1:1/0"}}

        assert "queue: does not answer" in client.get("/readyz").text

    @pytest.mark.parametrize("address", ["", "http://127.0.0.1:1/v1"])
    def test_it_is_not_ready_without_a_model_server(self, client: Client, settings, address: str):
        settings.OPENAI_BASE_URL = address

        assert "backend: does not answer" in client.get("/readyz").text

    def test_a_model_server_that_lists_no_model_does_not_count(
        self, client: Client, model_server: OpenAIServer
    ):
        model_server.models = []

        assert "backend: does not answer" in client.get("/readyz").text

    def test_what_is_no_answer_of_a_model_server_does_not_count(
        self, client: Client, model_server: OpenAIServer
    ):
        model_server.listing = "[" * 100_000

        assert "backend: does not answer" in client.get("/readyz").text

    def test_while_a_part_hangs_one_thread_waits_and_the_others_answer(
        self, settings, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(readiness, "SECONDS_TO_ANSWER", 1.0)
        looking = readiness.Readiness()
        before = looking.look()
        assert before == [("database", True), ("queue", True), ("backend", True)]
        with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            settings.RQ_QUEUES = {"rollouts": {"URL": f"redis://{address}/0"}}
            settings.OPENAI_BASE_URL = f"http://{address}/v1"
            began = time.monotonic()
            first = pool.submit(looking.look)
            wait_until(looking._lock.locked)
            others = [looking.look() for _ in range(10)]
            assert not first.done()
            assert others == [before] * 10
            assert first.result() == [("database", True), ("queue", False), ("backend", False)]
            assert time.monotonic() - began < 10

    def test_who_asks_often_gets_the_answer_of_a_moment_ago(
        self, client: Client, settings, model_server: OpenAIServer, monkeypatch
    ):
        client.get("/readyz")
        monkeypatch.setattr(readiness, "SECONDS_KEPT", 60.0)
        settings.OPENAI_BASE_URL = ""

        assert client.get("/readyz").status_code == 200


class TestPrometheus:
    def samples(self, client: Client, **headers: str) -> dict[tuple[str, ...], float]:
        """Return each value by the name and labels of its metric."""
        response = client.get("/metrics", headers=headers)
        assert response.status_code == 200
        return {
            (one.name, *one.labels.values()): one.value
            for family in text_string_to_metric_families(response.text)
            for one in family.samples
        }

    def test_it_says_what_workers_did_and_what_is_left(
        self, admin_client: Client, model_server: OpenAIServer, queue: Queue
    ):
        forest = seeded(6)
        model_server.faults.append(Fault(503, "busy", {"Retry-After": "0"}))
        grow_slice(forest.name, 0, 4)
        enqueue_forest(reread(forest), 1)

        found = self.samples(admin_client)

        grown = reread(forest)
        name = forest.name
        statuses = ("pending", "growing", "complete", "failed")
        assert [found["prm_trees", name, one] for one in statuses] == [2, 0, 4, 0]
        assert found["prm_requests_total", name] == grown.requests == model_server.num_asked
        assert found["prm_retries_total", name] == 1
        assert found["prm_request_failures_total", name, "http_503"] == 1
        assert found["prm_tokens_total", name, "prompt"] == grown.prompt_tokens > 0
        assert found["prm_tokens_total", name, "completion"] == grown.completion_tokens > 0
        assert found["prm_leaves", name, "correct"] == grown.num_correct
        assert found["prm_leaves", name, "uncompared"] == 0
        assert found["prm_request_duration_seconds_count", name] == grown.requests - 1
        assert found["prm_request_duration_seconds_bucket", name, "+Inf"] == grown.requests - 1
        assert 0 < found["prm_request_duration_seconds_sum", name] < 60
        assert found["rq_jobs", "rollouts", "queued"] == 2
        assert found["prm_queue_up",] == 1

    def test_a_tree_grown_by_two_jobs_has_its_requests_counted_once(
        self, model_server: OpenAIServer
    ):
        forest = seeded(1, max_attempts=1)
        model_server.faults.extend([Fault(400, "no")])
        grow_slice(forest.name, 0, 1)
        call_command("retry_failed", forest_name=forest.name, stdout=StringIO(), stderr=StringIO())
        grow_slice(forest.name, 0, 1)

        grown = reread(forest)

        assert grown.num_complete == 1
        assert sum(grown.latencies.values()) == grown.requests - 1

    def test_without_a_queue_it_says_so_and_the_rest(self, admin_client: Client, monkeypatch):
        monkeypatch.setattr("django_rq.contrib.prometheus.get_connection", lambda name: _no_redis())
        seeded(1)

        found = self.samples(admin_client)

        assert found["prm_queue_up",] == 0
        assert found["prm_trees", Forest.objects.get().name, "pending"] == 1

    def test_strangers_need_the_token(self, client: Client, settings, queue: Queue):
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401

        settings.METRICS_TOKEN = "long-and-random"

        assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer ü"}).status_code == 401
        assert self.samples(client, Authorization="Bearer long-and-random")

    def test_who_may_read_the_pages_may_read_it(self, client: Client, settings, queue: Queue):
        settings.PUBLIC = True

        assert self.samples(client)


class TestLogs:
    def stderr_of(self, *arguments: str, **environment: str) -> list[str]:
        """Return what a command writes to stderr, as lines; its log is JSON by default."""
        variables = {"PRM_LOG_FORMAT": "json", "PRM_LOG_LEVEL": "INFO", **environment}
        done = run_command(arguments, env=on_test_database(**variables))
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    def logged_by_worker(self, server: OpenAIServer) -> list[dict[str, str]]:
        """Return the events of a worker that empties the queue; it writes nothing else."""
        lines = self.stderr_of("rqworker", "rollouts", "--burst", OPENAI_BASE_URL=server.url)
        return [json.loads(line) for line in lines]

    def test_a_worker_logs_an_event_a_line_with_the_ids_of_what_it_is_about(
        self, model_server: OpenAIServer, queue: Queue
    ):
        forest = seeded(2)
        enqueue_forest(forest, 1)
        model_server.faults.append(Fault(400, '{"error": {"message": "no\\nway"}}'))

        events = self.logged_by_worker(model_server)

        ours = [one for one in events if one["logger"].startswith("rollouts.")]
        assert [one["event"] for one in ours if one["event"].startswith("job")] == [
            "job started", "job finished", "job started", "job finished",
        ]  # fmt: skip
        assert all(one["forest"] == forest.name and one["job"] for one in ours)
        (failed,) = (one for one in ours if one["event"] == "tree failed")
        (complete,) = (one for one in ours if one["event"] == "tree complete")
        assert {failed["tree"], complete["tree"]} == {f"{forest.name}/000000{n}" for n in (0, 1)}
        assert (failed["level"], complete["level"]) == ("warning", "info")
        assert "no way" in failed["error"]
        assert int(complete["requests"]) > 0
        assert {"timestamp", "level", "logger", "event"} <= set.intersection(*map(set, events))

    def test_a_failed_job_is_one_line_with_its_traceback(
        self, model_server: OpenAIServer, queue: Queue
    ):
        enqueue_forest(seeded(1), 1)
        model_server.faults.append(Fault(401, "{}"))

        events = self.logged_by_worker(model_server)

        (error,) = (one for one in events if one["level"] == "error")
        assert "Traceback" in error["event"]
        assert "BackendRefusedError" in error["event"]

    def test_a_command_logs_its_beginning_and_its_end(self):
        forest = seeded(1)

        first, words, last = self.stderr_of("retry_failed", "--forest_name", forest.name)

        events = [json.loads(first), json.loads(last)]
        assert [one["event"] for one in events] == ["command started", "command finished"]
        assert words.startswith("0 trees made pending; pending")
        assert {(one["command"], one["forest"]) for one in events} == {
            ("retry_failed", forest.name)
        }

    @pytest.mark.parametrize("log_format", ["json", "line"])
    def test_what_a_model_server_says_does_not_reach_the_terminal_as_commands(
        self, model_server: OpenAIServer, queue: Queue, log_format: str
    ):
        enqueue_forest(seeded(1), 1)
        model_server.faults.append(Fault(400, '{"error": {"message": "\\u001b[2Jmark\\u009b"}}'))

        lines = self.stderr_of(
            "rqworker", "rollouts", "--burst",
            OPENAI_BASE_URL=model_server.url, PRM_LOG_FORMAT=log_format,
        )  # fmt: skip

        assert [line for line in lines if "[2Jmark" in line]
        assert not [line for line in lines if {"\x1b", "\x9b"} & set(line)]

    def test_a_command_that_could_not_run_is_logged_with_its_reason(self, caplog):
        caplog.set_level("INFO")
        with pytest.raises(CommandError):
            call_command("retry_failed", forest_name="none", stderr=StringIO())

        assert "no forest named 'none'" in caplog.text


def _no_redis() -> Redis:
    return Redis("127.0.0.1", 1)
