"""Which models may grow a forest: recorded at its first growth, compared from then on."""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from structlog.testing import capture_logs

from common.errors import UserError
from experiment_configs.chat_templates.chat_template import ChatTemplate
from experiment_configs.loading import load_config
from forests.core.model_counts import from_fields
from forests.models import Forest, Node, Tree
from forests.progress.grown_by import ModelOfForest, models_of, num_uncounted
from forests.storage.counters import recount_forest
from forests.storage.trees import collection, count_models, delete_forest
from rollouts.client import backend, failures
from rollouts.client.failures import BackendRefusedError
from rollouts.growing import grower as growth
from rollouts.growth_arguments import check_backend
from rollouts.probing import identity
from rollouts.probing.identity import ModelChangedError, OtherModelError
from rollouts.workers.jobs import enqueue_forest, grow_slice
from tests.openai_server import Fault, OpenAIServer, write_two_steps
from tests.rollouts.forests import assert_whole, reread, seeded, statuses
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

REMEDY = r"--allow_model other$"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(growth, "SECONDS_BETWEEN_LOOKS_AT_BUSY_TREES", 0.05)


@pytest.fixture
def other_server() -> Iterator[OpenAIServer]:
    """A server with another model."""
    with OpenAIServer() as server:
        server.models = ["other"]
        yield server


@pytest.fixture
def half_grown(model_server: OpenAIServer) -> Forest:
    """A forest of which `scripted` has grown two trees of four."""
    forest = seeded()
    grow_slice(forest.name, 0, 2)
    return reread(forest)


def swap(server: OpenAIServer, model: str) -> None:
    """Give a server another model in place of its own, as after a restart."""
    server.models = [model]
    server.answers_as = lambda _: model


def grow_with_command(forest: Forest, *arguments: str) -> None:
    """Put the forest into the queue with `populate_forest`, which asks the server first."""
    call_command("populate_forest", "--forest_name", forest.name, *arguments)


class TestFirstGrowth:
    def test_the_first_growth_records_the_model_and_its_server(self, model_server: OpenAIServer):
        forest = seeded()
        assert forest.grown_by == []

        grow_slice(forest.name, 0, 1)
        grow_slice(forest.name, 1, 4)

        [entry] = reread(forest).grown_by
        assert (entry["model"], entry["server"]) == ("scripted", model_server.url)
        assert entry["chat_template_sha256"] == ""
        assert entry["answered_as"] == ["scripted"]
        assert entry["first_at"].endswith("+00:00")
        assert from_fields(reread(forest).nodes_by_model) == {"scripted": reread(forest).num_nodes}

    def test_no_key_and_no_query_of_an_address_is_recorded(
        self, model_server: OpenAIServer, settings
    ):
        forest = seeded(1)
        forest.worker_config |= {"base_urls": [f"{model_server.url}?token=secret-of-mine"]}
        forest.save()
        settings.OPENAI_API_KEY = "secret-key"

        grow_slice(forest.name, 0, 1)

        [entry] = reread(forest).grown_by
        assert entry["server"] == model_server.url
        assert "secret" not in str(entry)

    def test_the_chat_template_of_the_server_is_recorded_where_it_tells(
        self, model_server: OpenAIServer
    ):
        model_server.style, model_server.chat_template = "llama", "{{ messages }}"
        forest = seeded(1, api="chat", strategy="sampled", num_rollouts=2)

        grow_slice(forest.name, 0, 1)

        [entry] = reread(forest).grown_by
        assert entry["chat_template_sha256"] == hashlib.sha256(b"{{ messages }}").hexdigest()

    def test_the_chat_template_of_the_config_is_recorded_where_it_is_a_file(self, tmp_path: Path):
        place = tmp_path / "mine.jinja"
        place.write_text("{{ messages }}")
        config = load_config("demo_arithmetic").config
        assert identity.chat_template_sha256(config) == ""

        vars(config)["template"] = ChatTemplate(place)

        expected = hashlib.sha256(b"{{ messages }}").hexdigest()
        assert identity.chat_template_sha256(config) == expected

    def test_of_workers_that_begin_at_once_one_is_first_and_the_others_compare(self):
        forest = seeded()
        models = [identity.ForestModels(forest) for _ in range(8)]
        refused: list[OtherModelError] = []
        start = threading.Barrier(8)

        def begin(number: int) -> None:
            start.wait()
            try:
                asyncio.run(models[number].record(f"model-{number % 2}", f"http://{number}"))
            except OtherModelError as error:
                refused.append(error)

        threads = [threading.Thread(target=begin, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        entries = reread(forest).grown_by
        assert len({one["model"] for one in entries}) == 1
        assert len({one["server"] for one in entries}) == len(entries) == 4
        assert len(refused) == 4

    def test_a_model_that_drew_nothing_is_forgotten_when_another_is_started(
        self, model_server: OpenAIServer, other_server: OpenAIServer, settings, queue
    ):
        forest = seeded()
        model_server.misbehave = lambda: Fault(401, "no")
        with pytest.raises(BackendRefusedError):
            grow_slice(forest.name, 0, 4)
        assert [one["model"] for one in reread(forest).grown_by] == ["scripted"]
        settings.OPENAI_BASE_URL = other_server.url

        grow_with_command(forest)
        grow_slice(forest.name, 0, 4)

        assert [one["model"] for one in reread(forest).grown_by] == ["other"]
        assert_whole(forest)


class TestAnotherModel:
    def test_a_job_on_a_server_with_another_model_draws_nothing_and_fails_no_tree(
        self, half_grown: Forest, other_server: OpenAIServer, settings
    ):
        settings.OPENAI_BASE_URL = other_server.url

        with pytest.raises(OtherModelError, match=REMEDY) as refused:
            grow_slice(half_grown.name, 2, 4)

        message = str(refused.value)
        assert other_server.url in message
        assert "is grown by scripted" in message
        assert "\n" not in message
        assert other_server.requests == []
        assert statuses(half_grown) == {"complete": 2, "pending": 2}
        assert reread(half_grown).backend_message == ""  # others may have the right server

    def test_the_commands_refuse_it_and_put_nothing_into_the_queue(
        self, half_grown: Forest, other_server: OpenAIServer, settings, queue
    ):
        settings.OPENAI_BASE_URL = other_server.url

        for command in ("populate_forest", "rollout_worker"):
            with pytest.raises(CommandError, match=REMEDY):
                call_command(command, "--forest_name", half_grown.name)

        assert queue.get_job_ids() == []
        assert other_server.requests == []

    def test_trees_that_are_tried_again_are_refused_too(
        self, half_grown: Forest, other_server: OpenAIServer, settings
    ):
        Tree.objects.filter(forest_id=half_grown.name, index=0).update(status="failed")
        settings.OPENAI_BASE_URL = other_server.url
        call_command("retry_failed", "--forest_name", half_grown.name)

        with pytest.raises(OtherModelError):
            grow_slice(half_grown.name, 0, 4)

        assert other_server.requests == []

    def test_allow_model_adds_it_and_both_are_counted(
        self, half_grown: Forest, other_server: OpenAIServer, settings, queue
    ):
        settings.OPENAI_BASE_URL = other_server.url

        grow_with_command(half_grown, "--allow_model", "other")
        grow_slice(half_grown.name, 2, 4)

        forest = reread(half_grown)
        assert forest.allowed_models == ["other"]
        assert [one["model"] for one in forest.grown_by] == ["scripted", "other"]
        numbers = from_fields(forest.nodes_by_model)
        assert numbers == count_models(forest)
        assert numbers.keys() == {"scripted", "other"}
        assert sum(numbers.values()) == forest.num_nodes == Node.objects.count()
        assert_whole(forest)

    def test_a_refused_command_remembers_no_model(
        self, half_grown: Forest, other_server: OpenAIServer, settings, queue
    ):
        settings.OPENAI_BASE_URL = other_server.url

        with pytest.raises(CommandError):
            grow_with_command(half_grown, "--allow_model", "a-third")

        assert reread(half_grown).allowed_models == []

    def test_the_same_model_at_another_address_is_added_to_the_list(
        self, half_grown: Forest, other_server: OpenAIServer, settings
    ):
        other_server.models = ["first-of-the-list", "scripted"]
        settings.OPENAI_BASE_URL = other_server.url

        grow_slice(half_grown.name, 2, 4)

        first, second = reread(half_grown).grown_by
        assert first["model"] == second["model"] == "scripted"
        assert second["server"] == other_server.url
        assert {body["model"] for body in other_server.requests} == {"scripted"}

    def test_a_model_of_the_settings_that_the_server_has_no_more_is_refused(
        self, model_server: OpenAIServer
    ):
        """A server such as llama.cpp answers with the model it has, whatever is asked for."""
        forest = seeded(model="scripted")
        grow_slice(forest.name, 0, 2)
        swap(model_server, "other")
        asked = len(model_server.requests)

        with pytest.raises(OtherModelError, match=REMEDY):
            grow_slice(forest.name, 2, 4)

        assert len(model_server.requests) == asked

    def test_where_it_is_allowed_the_model_that_is_there_is_asked_for(
        self, model_server: OpenAIServer, queue
    ):
        forest = seeded(model="scripted")
        grow_slice(forest.name, 0, 2)
        swap(model_server, "other")
        grow_with_command(forest, "--allow_model", "other")

        grow_slice(forest.name, 2, 4)

        assert model_server.requests[-1]["model"] == "other"
        assert [one["model"] for one in reread(forest).grown_by] == ["scripted", "other"]

    @pytest.mark.parametrize("name", ["", " ", "x" * 201, "\ud800"])
    def test_what_names_no_model_is_refused(self, half_grown: Forest, name: str):
        with pytest.raises(CommandError, match="expected the name of a model"):
            grow_with_command(half_grown, f"--allow_model={name}")


class TestSeveralServers:
    def test_servers_with_different_models_do_not_begin_a_forest(
        self, model_server: OpenAIServer, other_server: OpenAIServer
    ):
        forest = seeded(base_urls=[model_server.url, other_server.url])

        with pytest.raises(OtherModelError, match="has no model"):
            grow_slice(forest.name, 0, 4)
        with pytest.raises(UserError, match="has no model"):
            check_backend(forest)

        assert reread(forest).grown_by == []
        assert model_server.requests == other_server.requests == []

    def test_a_server_that_comes_later_with_another_model_gets_no_request(
        self, model_server: OpenAIServer
    ):
        with OpenAIServer() as dead:
            port = dead._server.server_port
        forest = seeded(12, base_urls=[model_server.url, f"http://127.0.0.1:{port}/v1"])
        late: list[OpenAIServer] = []
        starting = threading.Lock()
        with contextlib.ExitStack() as stack:

            def write(prefix: str, seed: int) -> str:
                with starting:
                    if not late and len(model_server.requests) > 2:
                        server = OpenAIServer(port=port)
                        server.models = ["other"]
                        late.append(stack.enter_context(server))
                _let_servers_back()
                return write_two_steps(prefix, seed)

            model_server.write = write
            with pytest.raises(ModelChangedError, match="is grown by scripted"):
                grow_slice(forest.name, 0, 12)

        assert late[0].requests == []
        assert statuses(forest).get("failed", 0) == 0
        assert reread(forest).stop_reason


def _let_servers_back() -> None:
    """Let ejected servers be asked at once."""
    for pool in POOLS:
        for endpoint in pool.endpoints:
            endpoint.ejected_until = 0.0


POOLS: list[backend.EndpointPool] = []


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the pools of servers, so that a test can reach them."""
    POOLS.clear()
    made = backend.EndpointPool.__init__

    def keep(self, *args, **kwargs) -> None:
        made(self, *args, **kwargs)
        POOLS.append(self)

    monkeypatch.setattr(backend.EndpointPool, "__init__", keep)


class TestChangesWhileItGrows:
    @pytest.fixture(autouse=True)
    def _after_some_requests(self, model_server: OpenAIServer) -> None:
        self.change = lambda: None

        def write(prefix: str, seed: int) -> str:
            if len(model_server.requests) > 5:
                self.change()
            return write_two_steps(prefix, seed)

        model_server.write = write

    def test_a_server_that_changes_its_model_stops_the_forest_before_a_sample_is_kept(
        self, model_server: OpenAIServer
    ):
        forest = seeded()
        self.change = lambda: swap(model_server, "other")

        with pytest.raises(ModelChangedError, match=REMEDY):
            grow_slice(forest.name, 0, 4)

        stopped = reread(forest)
        assert "is grown by scripted" in stopped.stop_reason
        assert "failed" not in statuses(forest)
        assert {one.model for one in Node.objects.all()} <= {"scripted"}

    def test_so_does_one_that_names_what_was_asked_for_once_it_was_away(
        self, model_server: OpenAIServer
    ):
        forest = seeded()
        faults = iter([Fault(drops_connection=True)])

        def restart() -> Fault | None:
            if len(model_server.requests) > 5 and (fault := next(faults, None)):
                model_server.models = ["other"]
                return fault
            return None

        model_server.misbehave = restart

        with pytest.raises(ModelChangedError, match=REMEDY):
            grow_slice(forest.name, 0, 4)

    def test_and_one_that_was_not_seen_to_be_away(
        self, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(backend, "SECONDS_BETWEEN_LOOKS_AT_MODELS", 0.0)
        forest = seeded()

        def change() -> None:
            model_server.models = ["other"]

        self.change = change

        with pytest.raises(ModelChangedError, match=REMEDY):
            grow_slice(forest.name, 0, 4)

    def test_an_alias_that_the_server_still_lists_grows_on_and_is_shown(
        self, model_server: OpenAIServer
    ):
        """A provider moves "small" to a newer version, which its answers name."""
        model_server.models = ["small"]
        model_server.answers_as = lambda asked: f"{asked}-2024-08-06"
        forest = seeded()

        def change() -> None:
            model_server.answers_as = lambda asked: f"{asked}-2024-11.20"

        self.change = change

        grow_slice(forest.name, 0, 4)

        [entry] = reread(forest).grown_by
        assert entry["model"] == "small"
        assert entry["answered_as"] == ["small-2024-08-06", "small-2024-11.20"]
        rows = models_of(reread(forest))
        assert {row.name for row in rows} == {"small-2024-08-06", "small-2024-11.20"}
        assert all(row.asked_as == ("small",) and row.nodes for row in rows)
        assert sum(row.nodes for row in rows) == reread(forest).num_nodes
        assert_whole(forest)

    def test_a_server_that_names_a_new_model_in_each_answer_is_stopped(
        self, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(identity, "MAX_NAMES", 3)
        numbers = iter(range(1000))
        model_server.answers_as = lambda asked: f"{asked}-{next(numbers)}"
        forest = seeded()

        with pytest.raises(ModelChangedError, match="more than 3 models"):
            grow_slice(forest.name, 0, 4)

        assert len(reread(forest).nodes_by_model) <= 3


class TestAListThatDoesNotComeInTime:
    """Nothing shows whether the server has the model: that is neither a yes nor a no."""

    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backend, "SECONDS_TO_LIST_MODELS", 0.3)

    @pytest.fixture
    def half(self, model_server: OpenAIServer) -> Forest:
        """A half-grown forest whose settings name its model, on a server that is silent now."""
        forest = seeded(model="scripted")
        grow_slice(forest.name, 0, 2)
        model_server.lists_models.clear()
        return reread(forest)

    @pytest.mark.parametrize("has_the_model", [True, False])
    def test_nothing_is_drawn_until_it_comes_and_the_page_says_why(
        self, half: Forest, model_server: OpenAIServer, has_the_model: bool
    ):
        if not has_the_model:
            model_server.models = ["other"]  # it answers as whatever is asked for, as llama.cpp
        asked = model_server.num_asked
        problems: list[UserError] = []

        def grow() -> None:
            try:
                grow_slice(half.name, 2, 4)
            except UserError as error:
                problems.append(error)

        growing = threading.Thread(target=grow)
        growing.start()
        wait_until(lambda: "sent no list of its models" in reread(half).backend_message)
        assert model_server.num_asked == asked
        model_server.lists_models.set()
        growing.join(60)

        if has_the_model:
            assert problems == []
            assert_whole(half)
        else:
            [problem] = problems
            assert "is grown by scripted" in str(problem)
            assert model_server.num_asked == asked
            assert statuses(half) == {"complete": 2, "pending": 2}

    def test_a_forest_whose_settings_name_no_model_waits_too_and_fails_no_tree(
        self, model_server: OpenAIServer
    ):
        model_server.lists_models.clear()
        forest = seeded(request_timeout_seconds=0.3, max_attempts=1)
        growing = threading.Thread(target=grow_slice, args=(forest.name, 0, 4))
        growing.start()
        wait_until(lambda: "sent no list of its models" in reread(forest).backend_message)
        model_server.lists_models.set()
        growing.join(60)

        assert_whole(forest)

    def test_another_server_is_asked_meanwhile(self, half: Forest, model_server: OpenAIServer):
        asked = model_server.num_asked
        with OpenAIServer() as other:
            half.worker_config |= {"base_urls": [model_server.url, other.url]}
            half.save()
            grow_slice(half.name, 2, 4)

        assert model_server.num_asked == asked
        assert_whole(half)

    def test_one_that_came_earlier_holds_and_the_log_says_so(
        self, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
    ):
        forest = seeded()

        def write(prefix: str, seed: int) -> str:
            if len(model_server.requests) > 5:
                model_server.lists_models.clear()
                monkeypatch.setattr(backend, "SECONDS_BETWEEN_LOOKS_AT_MODELS", 0.0)
            return write_two_steps(prefix, seed)

        model_server.write = write

        with capture_logs() as logs:
            grow_slice(forest.name, 0, 4)

        assert_whole(forest)
        assert "models were not checked again" in {one["event"] for one in logs}

    def test_samples_under_a_new_name_are_not_kept_before_it_comes(
        self, model_server: OpenAIServer
    ):
        forest = seeded(model="scripted")
        problems: list[UserError] = []

        def write(prefix: str, seed: int) -> str:
            if len(model_server.requests) == 5:
                model_server.lists_models.clear()
                swap(model_server, "other")
            return write_two_steps(prefix, seed)

        def grow() -> None:
            try:
                grow_slice(forest.name, 0, 4)
            except UserError as error:
                problems.append(error)

        model_server.write = write
        growing = threading.Thread(target=grow)
        growing.start()
        wait_until(lambda: "sent no list of its models" in reread(forest).backend_message)
        model_server.lists_models.set()
        growing.join(60)

        [problem] = problems
        assert isinstance(problem, ModelChangedError)
        assert {one.model for one in Node.objects.all()} <= {"scripted"}
        assert "failed" not in statuses(forest)


@pytest.mark.parametrize(
    "answered", ["", "/models/scripted.gguf", "scripted-2024-08-06", "a.b$c/d%2E", "1"]
)
def test_whatever_answers_call_the_one_model_it_grows_and_is_counted(
    model_server: OpenAIServer, answered: str
):
    model_server.answers_as = lambda _: answered
    forest = seeded()

    grow_slice(forest.name, 0, 2)
    grow_slice(forest.name, 2, 4)

    forest = reread(forest)
    assert from_fields(forest.nodes_by_model) == {answered: forest.num_nodes}
    [row] = models_of(forest)
    assert row == ModelOfForest(
        answered, forest.num_nodes, asked_as=("scripted",), servers=(model_server.url,)
    )
    assert_whole(forest)


def test_a_server_without_a_list_grows_the_model_of_the_settings(model_server: OpenAIServer):
    model_server.listing = "no list"
    forest = seeded(model="mine")

    grow_slice(forest.name, 0, 4)

    assert [one["model"] for one in reread(forest).grown_by] == ["mine"]
    assert_whole(forest)


def test_a_server_that_was_away_at_the_start_is_recorded_when_it_answers(
    model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, settings
):
    with OpenAIServer() as dead:
        port = dead._server.server_port
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{port}/v1"
    forest = seeded()
    growing = threading.Thread(target=grow_slice, args=(forest.name, 0, 4))
    growing.start()
    with OpenAIServer(port=port) as server:
        growing.join(60)

    [entry] = reread(forest).grown_by
    assert (entry["model"], entry["server"]) == ("scripted", server.url)
    assert_whole(forest)


def test_a_server_that_was_away_and_comes_with_another_model_fails_no_tree_and_stops_no_forest(
    half_grown: Forest, settings
):
    """Nothing was drawn from it: a worker with the right server can do the job."""
    with OpenAIServer() as dead:
        port = dead._server.server_port
    settings.OPENAI_BASE_URL = f"http://127.0.0.1:{port}/v1"
    problems: list[OtherModelError] = []

    def grow() -> None:
        try:
            grow_slice(half_grown.name, 0, 4)
        except OtherModelError as error:
            problems.append(error)

    growing = threading.Thread(target=grow)
    growing.start()
    wait_until(lambda: bool(reread(half_grown).backend_message))
    with OpenAIServer(port=port) as server:
        server.models = ["other"]
        growing.join(60)

    [problem] = problems
    assert "is grown by scripted" in str(problem)
    assert server.requests == server.probes == []
    left = reread(half_grown)
    assert (left.stop_reason, left.backend_message) == ("", "")
    assert left.worked_at is None
    assert statuses(half_grown) == {"complete": 2, "pending": 2}


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_worker_whose_model_was_forgotten_before_it_drew_is_first_again_or_compares(
    is_begun: bool,
):
    """A command may look at a forest while a worker still probes its server."""
    forest = seeded()
    worker, other = identity.ForestModels(forest), identity.ForestModels(forest)
    looks: list[None] = []

    async def look() -> None:
        looks.append(None)

    async def work() -> None:
        await worker.record("scripted", "http://one")
        assert await asyncio.to_thread(lambda: identity.forget_unused_models(reread(forest)))
        if is_begun:
            await other.record("other", "http://two")
        await worker.answered("scripted", {"scripted"}, look)

    if is_begun:
        with pytest.raises(ModelChangedError, match="is grown by other"):
            asyncio.run(work())
    else:
        asyncio.run(work())

    [entry] = reread(forest).grown_by
    first = ("other", []) if is_begun else ("scripted", ["scripted"])
    assert (entry["model"], entry["answered_as"]) == first


class TestForestsOfAnOlderVersion:
    @pytest.fixture
    def old(self, half_grown: Forest) -> Forest:
        """A forest of an older version, which recorded no models and counted no nodes by model."""
        unset = {"$unset": {"nodes_by_model": 1}}
        collection(Tree).update_many({}, unset)
        fields = {"nodes_by_model": 1, "grown_by": 1, "allowed_models": 1}
        collection(Forest).update_one({"_id": half_grown.name}, {"$unset": fields})
        return reread(half_grown)

    def test_the_nodes_tell_the_model(self, old: Forest, other_server: OpenAIServer, settings):
        settings.OPENAI_BASE_URL = other_server.url

        with pytest.raises(OtherModelError, match="is grown by scripted"):
            grow_slice(old.name, 2, 4)

        assert not reread(old).grown_by

    def test_the_next_growth_records_it(self, old: Forest, model_server: OpenAIServer):
        grow_slice(old.name, 2, 4)

        first, second = reread(old).grown_by
        assert (first["model"], first["server"]) == ("scripted", "")
        assert (second["model"], second["server"]) == ("scripted", model_server.url)

    def test_an_alias_in_the_nodes_is_the_model_that_is_asked_for(
        self, old: Forest, model_server: OpenAIServer
    ):
        collection(Node).update_many({}, {"$set": {"model": "/models/scripted.gguf"}})

        grow_slice(old.name, 2, 4)

        assert {one["model"] for one in reread(old).grown_by} == {"scripted"}

    def test_its_nodes_are_not_counted_until_somebody_counts_them(self, old: Forest):
        assert num_uncounted(old) == old.num_nodes
        assert count_models(old) == {"scripted": old.num_nodes}

        recount_forest(old)

        assert num_uncounted(reread(old)) == 0
        assert from_fields(reread(old).nodes_by_model) == {"scripted": old.num_nodes}

    def test_growing_on_counts_what_comes_and_says_what_is_not_counted(
        self, old: Forest, model_server: OpenAIServer
    ):
        grow_slice(old.name, 2, 4)

        forest = reread(old)
        assert num_uncounted(forest) == old.num_nodes
        assert count_models(forest) == {"scripted": forest.num_nodes}


def test_a_killed_worker_leaves_numbers_that_settle(model_server: OpenAIServer, queue):
    forest = seeded()
    grow_slice(forest.name, 0, 4)
    Forest.objects.filter(pk=forest.name).update(nodes_by_model={"scripted": 3, "gone": 1})

    enqueue_forest(reread(forest), 2)

    forest = reread(forest)
    assert from_fields(forest.nodes_by_model) == {"scripted": forest.num_nodes}


def test_a_forest_that_is_deleted_meanwhile_records_nothing(model_server: OpenAIServer):
    forest = seeded(1)
    models = identity.ForestModels(forest)
    delete_forest(forest)

    asyncio.run(models.record("scripted", model_server.url))

    assert not Forest.objects.filter(pk=forest.name).exists()
