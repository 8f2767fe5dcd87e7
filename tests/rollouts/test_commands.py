"""Commands as a user types them, each a process of its own where a process matters."""

import io
import json
import os
import re
import signal
import subprocess
import time

import pytest
from django.core.management import CommandError, call_command

from forests.core.naming import tree_id
from forests.models import Forest, Tree
from forests.storage import counters as recounting
from rollouts.client import failures
from rollouts.growing import leases
from rollouts.workers import jobs
from tests.forked_commands import ForkedCommand
from tests.openai_server import Fault, OpenAIServer, write_two_steps
from tests.processes import on_test_database
from tests.rollouts.forests import assert_whole, reread, seeded, shape, statuses
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


def run(name: str, *arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(name, *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def start(server: OpenAIServer, *arguments: str) -> ForkedCommand:
    """Start a command on the test database."""
    return ForkedCommand(
        ["manage.py", *arguments],
        env=on_test_database(OPENAI_BASE_URL=server.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def finish(process: ForkedCommand, seconds: float = 60) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=seconds)
    return process.wait(), out, err


def slowly(prefix: str, seed: int) -> str:
    time.sleep(0.1)
    return write_two_steps(prefix, seed)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)


def test_seed_forest_prints_the_name_and_says_the_rest_aside():
    out, err = run(
        "seed_forest", "--dataset_config_name", "demo_arithmetic", "--dataset_split", "test",
        "--forest_name_suffix", "first", "--limit", "3",
    )  # fmt: skip

    assert out == "forest_name: demo_arithmetic-test-first\n"
    assert "3 trees" in err


def test_seed_forest_speaks_json():
    out, _ = run(
        "seed_forest", "--dataset_config_name", "demo_arithmetic", "--dataset_split", "test",
        "--forest_name_suffix", "first", "--limit", "3", "--json",
    )  # fmt: skip

    assert json.loads(out) == {"forest_name": "demo_arithmetic-test-first", "num_trees": 3}


def test_rollout_worker_grows_a_forest_to_its_end(model_server: OpenAIServer):
    forest = seeded(5)

    status, out, err = finish(
        start(model_server, "rollout_worker", "--num_processes", "2", "--forest_name", forest.name,
              "--json")
    )  # fmt: skip

    assert status == 0, err
    assert json.loads(out)["num_complete"] == 5
    assert_whole(forest)


def test_rollout_worker_exits_with_3_where_trees_failed(model_server: OpenAIServer):
    forest = seeded(3, concurrency=1)
    model_server.faults.extend([Fault(status=400, body='{"error": {"message": "too long"}}')])

    status, _, err = finish(start(model_server, "rollout_worker", "--forest_name", forest.name))

    assert status == 3
    assert "finished with failures: 1 of 3 trees failed" in err
    assert statuses(forest) == {"failed": 1, "complete": 2}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_rollout_worker_writes_what_it_has_and_goes_on_later(
    model_server: OpenAIServer, number: signal.Signals, status: int
):
    model_server.write = slowly
    whole, torn = seeded(6, "whole"), seeded(6, "torn")
    jobs.grow_slice(whole.name, 0, 6)
    process = start(model_server, "rollout_worker", "--forest_name", torn.name)
    wait_until(lambda: reread(torn).num_nodes > 0)

    process.send_signal(number)

    assert finish(process)[0] == status
    assert "growing" not in statuses(torn)
    assert_resumes_to(torn, whole, model_server)


def test_a_killed_rollout_worker_leaves_no_double_and_no_gap(model_server: OpenAIServer):
    model_server.write = slowly
    whole, torn = seeded(6, "whole"), seeded(6, "torn")
    jobs.grow_slice(whole.name, 0, 6)
    asked = len(model_server.requests)
    process = start(model_server, "rollout_worker", "--forest_name", torn.name)
    wait_until(lambda: reread(torn).num_nodes > 0)

    os.kill(process.pid, signal.SIGKILL)
    finish(process)

    assert_resumes_to(torn, whole, model_server)
    in_flight = torn.worker_config["concurrency"]
    written_late = 2 * in_flight  # requests answered since the last write
    assert len(model_server.requests) - 2 * asked <= in_flight + written_late


def assert_resumes_to(torn: Forest, whole: Forest, server: OpenAIServer) -> None:
    status, _, err = finish(start(server, "rollout_worker", "--forest_name", torn.name))
    assert status == 0, err
    assert shape(torn) == shape(whole)
    assert_whole(torn)


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["--max_requests", "--max_tokens_total"])
def test_a_forest_stops_at_its_limit_and_goes_on_with_a_larger_one(
    model_server: OpenAIServer, limit: str
):
    model_server.write = slowly
    forest = seeded(4, concurrency=1)
    command = ("rollout_worker", "--forest_name", forest.name)

    status, _, err = finish(start(model_server, *command, limit, "9"))

    assert status == 3, err
    assert "raise the limit to continue" in err
    assert reread(forest).num_pending > 0
    assert finish(start(model_server, *command))[0] == 1  # the limit is remembered
    assert finish(start(model_server, *command, "--no_limit"))[0] == 0
    assert_whole(forest)


def test_populate_forest_fills_the_queue_once(queue, model_server: OpenAIServer):
    forest = seeded(5)

    out, _ = run("populate_forest", "--forest_name", forest.name, "--trees_per_job", "2", "--json")
    _, again = run("populate_forest", "--forest_name", forest.name, "--trees_per_job", "2")

    assert json.loads(out)["jobs"] == 3
    assert again.startswith("0 jobs enqueued")


def test_a_plain_rqworker_grows_what_populate_forest_enqueued(queue, model_server: OpenAIServer):
    forest = seeded(3)
    run("populate_forest", "--forest_name", forest.name)

    status, _, err = finish(start(model_server, "rqworker", "rollouts", "--burst", "-v", "0"))

    assert status == 0, err
    assert_whole(forest)


def test_recount_forest_mends_counters_and_says_which(model_server: OpenAIServer):
    forest = seeded(2)
    jobs.grow_slice(forest.name, 0, 2)
    right = reread(forest).num_nodes
    Forest.objects.filter(pk=forest.pk).update(num_nodes=1)

    out, _ = run("recount_forest", "--forest_name", forest.name, "--json")

    assert json.loads(out) == {"num_nodes": [1, right]}
    assert run("recount_forest", "--forest_name", forest.name)[1] == "all counters were correct\n"


def test_recount_forest_shows_what_was_wrong_in_a_forest_of_many_writes(
    model_server: OpenAIServer, monkeypatch
):
    monkeypatch.setattr(recounting, "_TREES_PER_WRITE", 2)
    forest = seeded(4)
    jobs.grow_slice(forest.name, 0, 4)
    right = list(Tree.objects.values_list("num_nodes", "num_leaves"))
    Tree.objects.update(num_nodes=1, num_leaves=1)
    Forest.objects.filter(pk=forest.pk).update(num_nodes=3)

    out, _ = run("recount_forest", "--forest_name", forest.name)

    assert re.search(rf"num_nodes .* 3 .* {reread(forest).num_nodes}\b", out)
    assert list(Tree.objects.values_list("num_nodes", "num_leaves")) == right


def test_a_forest_that_workers_hold_is_not_recounted():
    forest = seeded(1)
    assert leases.claim([tree_id(forest.name, 0)], "elsewhere/1")

    with pytest.raises(CommandError, match=r"is growing, .*: stop them or pause it first"):
        run("recount_forest", "--forest_name", forest.name)


def test_retry_failed_lets_failed_trees_grow_on(model_server: OpenAIServer):
    forest = seeded(3, concurrency=1)
    model_server.faults.extend([Fault(status=400, body="{}")])
    jobs.grow_slice(forest.name, 0, 3)
    assert statuses(forest) == {"failed": 1, "complete": 2}

    out, _ = run("retry_failed", "--forest_name", forest.name, "--json")

    assert json.loads(out)["retried"] == 1
    assert statuses(forest) == {"pending": 1, "complete": 2}
    jobs.grow_slice(forest.name, 0, 3)
    assert_whole(forest)


def test_delete_forest_asks_first(model_server: OpenAIServer):
    forest = seeded(2)

    with pytest.raises(CommandError, match="has 2 trees and 0 nodes: add --yes"):
        run("delete_forest", "--forest_name", forest.name)

    assert "2 trees" in run("delete_forest", "--forest_name", forest.name, "--yes")[1]
    assert Forest.objects.count() == 0


def test_verify_config_shows_items_and_a_real_rollout(model_server: OpenAIServer):
    out, _ = run(
        "verify_config", "--config_name", "demo_arithmetic", "--dataset_split", "test",
        "--with_backend",
    )  # fmt: skip

    assert out.count("--- item") == 12
    assert "FAIL" not in out
    assert "ok   backend: scripted wrote 2 steps" in out


@pytest.mark.parametrize("text", [" 13 * 2\nA: 26\n", " The result: 26", " I do not know.", ""])
def test_verify_config_warns_where_no_answer_is_found(model_server: OpenAIServer, text: str):
    model_server.write = lambda prefix, seed: text
    words = ["--config_name", "demo_arithmetic", "--dataset_split", "test", "--with_backend"]

    out, _ = run("verify_config", *words)

    (warning,) = [line for line in out.splitlines() if line.startswith("warn")]
    assert warning.startswith(
        f"warn answer: there is no answer in the rollout, which ends {text.strip()!r}"
    )
    assert r"`#### x`, `\boxed{x}` or `The answer is x`" in warning
    assert "docs/answers.md" in warning
    checks = json.loads(run("verify_config", *words, "--json")[0])["checks"]
    assert [check["name"] for check in checks if check["is_warning"]] == ["answer"]


def test_verify_config_tells_a_rollout_that_was_cut_from_one_without_an_answer(
    model_server: OpenAIServer, tmp_path, settings
):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "short.py").write_text("""
from experiment_configs.rollout.demo_arithmetic import Config as Demo, RolloutWorkerConfig

class Config(Demo):
    rollout_worker_config = RolloutWorkerConfig(max_tokens_per_rollout=3)
""")
    (tmp_path / "own.py").write_text("""
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    def extract_answer(self, completion):
        return None
""")
    words = ["--dataset_split", "test", "--with_backend"]
    model_server.write = lambda prefix, seed: " 13 * 2 is more than that"
    assert (
        "was cut, at '13 *': raise max_tokens_per_rollout, now 3"
        in (run("verify_config", "--config_name", "short", *words)[0])
    )
    model_server.write = lambda prefix, seed: " The answer is 26."
    assert (
        "warn answer: extract_answer of the config finds no answer in the rollout"
        in (run("verify_config", "--config_name", "own", *words)[0])
    )


@pytest.mark.parametrize(
    ("label", "complaint"),
    [
        ("float('nan')", "get_label must return a str, not float"),
        ("None", "get_label must return a str, not NoneType"),
        ("True", "get_label must return a str, not bool"),
        ("26", "get_label must return a str, not int"),
        (r"'\ud83d'", "what get_label returned holds a lone surrogate"),
    ],
)
def test_a_label_that_is_no_text_is_one_line_for_both_commands(
    tmp_path, settings, label: str, complaint: str
):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "odd.py").write_text(f"""
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    def get_label(self, item):
        return {label}
""")
    out = io.StringIO()
    with pytest.raises(CommandError, match="3 checks failed"):
        call_command("verify_config", "--config_name", "odd", "--dataset_split", "test", stdout=out)
    assert out.getvalue().count(f"FAIL item 0: {complaint}") == 1
    words = ["--dataset_config_name", "odd", "--dataset_split", "test"]
    with pytest.raises(CommandError, match=f"^item 0: {complaint}[^\n]*$"):
        run("seed_forest", *words, "--forest_name_suffix", "x")
    assert Forest.objects.count() == 0


def test_verify_config_shows_all_failures_at_once(tmp_path, settings):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "bad.py").write_text("""
from experiment_configs.interfaces import RolloutConfig, RolloutWorkerConfig

class Config(RolloutConfig):
    rollout_worker_config = RolloutWorkerConfig(strategy="magic", temperature=9)
    def get_dataset_iterator(self, dataset_split):
        yield from (1, 2)
    def get_root_prompt(self, item):
        return "Q" if item == 1 else 7
    def get_label(self, item):
        return "1"
    def is_correct(self, answer, label):
        return True
""")
    out = io.StringIO()

    with pytest.raises(CommandError, match="4 checks failed"):
        call_command(
            "verify_config", "--config_name", "bad", "--dataset_split", "x", stdout=out
        )  # fmt: skip

    failures = [line for line in out.getvalue().splitlines() if line.startswith("FAIL")]
    assert len(failures) == 4
    for word, line in zip(("temperature", "magic", "get_root_prompt", "is_correct"), failures,
                          strict=True):  # fmt: skip
        assert word in line


FEW_SHOT_CONFIG = """
from experiment_configs.interfaces import RolloutConfig, RolloutWorkerConfig

class Config(RolloutConfig):
    rollout_worker_config = RolloutWorkerConfig({settings})
    def get_dataset_iterator(self, dataset_split):
        yield {{"text": "What is 2 + 3?"}}
    def get_root_prompt(self, item):
        return "Question: 1 + 1?\\nAnswer: 2\\n\\nQuestion: " + item["text"] + "\\nAnswer:"
    def get_label(self, item):
        return "5"
    {methods}
"""


def verified(tmp_path, settings, *, worker: str = "", methods: str = "") -> list[str]:
    settings.CONFIG_PATH = [tmp_path]
    source = FEW_SHOT_CONFIG.format(settings=worker, methods=methods)
    (tmp_path / "shots.py").write_text(source)
    out, _ = run("verify_config", "--config_name", "shots", "--dataset_split", "x")
    return out.splitlines()


def test_verify_config_warns_where_the_prompt_would_be_taken_for_the_question(tmp_path, settings):
    lines = verified(tmp_path, settings)
    (warning,) = [line for line in lines if line.startswith("warn")]
    assert warning.startswith("warn question: the prompt seems to hold more than the question")
    assert "add get_question to the config" in warning

    methods = "def get_question(self, item): return item['text']"
    lines = verified(tmp_path, settings, methods=methods)
    assert not [line for line in lines if line.startswith("warn")]
    assert lines[lines.index("--- item 0: question") + 1] == "What is 2 + 3?"


def test_verify_config_warns_where_max_nodes_may_stop_a_strategy(tmp_path, settings):
    methods = "get_question = lambda self, item: item['text']"
    worker = "strategy='sampled', num_rollouts=200, max_depth=12, max_nodes=500"
    lines = verified(tmp_path, settings, worker=worker, methods=methods)
    (warning,) = [line for line in lines if line.startswith("warn")]
    assert "sampled may need 2,400 nodes a tree" in warning
    assert "max_nodes is 500" in warning


def test_settings_under_which_no_rollout_fits_are_refused(tmp_path, settings):
    worker = "strategy='sampled', max_depth=12, max_nodes=11"
    with pytest.raises(CommandError, match="1 checks failed"):
        verified(tmp_path, settings, worker=worker)
    with pytest.raises(CommandError, match=r"max_nodes is 11, .*: no rollout would fit, so raise"):
        run(
            "seed_forest", "--dataset_config_name", "shots", "--dataset_split", "x",
            "--forest_name_suffix", "a",
        )  # fmt: skip
    assert not Forest.objects.exists()


def test_the_commands_that_grow_say_how_many_trees_reached_the_node_limit(
    model_server: OpenAIServer,
):
    forest = seeded(2, strategy="sampled", num_rollouts=40, max_nodes=5, max_depth=5)
    jobs.grow_slice(forest.name, 0, 1)

    process = start(model_server, "rollout_worker", "--forest_name", forest.name, "--json")
    code, out, err = finish(process)

    assert code == 0
    assert json.loads(out)["num_hit_max_nodes"] == 2
    assert "2 trees reached max_nodes and lack samples that the strategy wanted" in err


def test_what_a_dataset_says_does_not_reach_the_terminal_as_commands(tmp_path, settings):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "hostile.py").write_text("""
from experiment_configs.interfaces import RolloutConfig, RolloutWorkerConfig

class Config(RolloutConfig):
    rollout_worker_config = RolloutWorkerConfig()
    def get_dataset_iterator(self, dataset_split):
        yield "\\x1b]0;title\\x07 \\x9b2J \\ud800"
    def get_root_prompt(self, item):
        return item
    def get_label(self, item):
        raise ValueError(item)
""")
    for arguments in ([], ["--json"]):
        out = io.StringIO()
        with pytest.raises(CommandError, match="checks failed"):
            call_command(
                "verify_config", "--config_name", "hostile", "--dataset_split", "x", *arguments,
                stdout=out,
            )  # fmt: skip

        assert "]0;title" in out.getvalue()
        assert not set(out.getvalue()) & {"\x1b", "\x07", "\x9b", "\ud800"}


@pytest.mark.parametrize("command", ["rollout_worker", "populate_forest"])
class TestRefusals:
    """One line, a remedy, nothing written."""

    def test_an_unknown_forest_lists_those_known(self, command: str):
        seeded(1)

        with pytest.raises(
            CommandError, match="no forest named 'x'; known: demo_arithmetic-train-a"
        ):
            run(command, "--forest_name", "x")

    def test_a_partly_seeded_forest_says_to_seed_on(self, command: str):
        forest = seeded(1)
        Forest.objects.update(is_seeded=False)

        with pytest.raises(CommandError, match="run the same seed_forest command again"):
            run(command, "--forest_name", forest.name)

    def test_a_paused_forest_says_how_to_resume(self, command: str):
        forest = seeded(1)
        Forest.objects.update(is_paused=True)

        with pytest.raises(CommandError, match="is paused"):
            run(command, "--forest_name", forest.name)

    def test_an_unset_backend_says_what_to_set(self, command: str, settings):
        settings.OPENAI_BASE_URL = ""

        with pytest.raises(CommandError, match=r"set OPENAI_BASE_URL in \.env"):
            run(command, "--forest_name", seeded(1).name)

    def test_a_dead_backend_is_named(self, command: str, settings):
        settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"

        with pytest.raises(CommandError, match=r"http://127\.0\.0\.1:9/v1 .*check OPENAI_BASE_URL"):
            run(command, "--forest_name", seeded(1).name)

    def test_a_model_that_the_server_lacks_is_named_with_those_it_has(
        self, command: str, model_server: OpenAIServer
    ):
        with pytest.raises(CommandError, match="has no model 'big': it has scripted"):
            run(command, "--forest_name", seeded(1, model="big").name)


def test_populate_forest_needs_a_queue_and_says_what_to_set(model_server: OpenAIServer, settings):
    settings.REDIS_URL = ""

    with pytest.raises(CommandError, match=r"set REDIS_URL in \.env"):
        run("populate_forest", "--forest_name", seeded(1).name)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("MONGODB_URI", "mongodb://user:secret@127.0.0.1:9/", "MongoDB at mongodb://127.0.0.1:9/"),
        ("REDIS_URL", "redis://:secret@127.0.0.1:9/0", "the queue at redis://127.0.0.1:9/0 failed"),
        (
            "REDIS_URL",
            "redis://127.0.0.1:9?password=secret",
            "the queue at redis://127.0.0.1:9 failed",
        ),
        ("MONGODB_URI", "", "set MONGODB_URI in .env"),
    ],
)
def test_a_dead_service_is_one_line_without_its_password(
    model_server: OpenAIServer, variable: str, value: str, complaint: str
):
    forest = seeded(1)
    os_environment = dict(os.environ)
    try:
        os.environ[variable] = value
        os.environ["PRM_MONGODB_TIMEOUT_SECONDS"] = "1"
        status, out, err = finish(
            start(model_server, "populate_forest", "--forest_name", forest.name)
        )
    finally:
        os.environ.clear()
        os.environ.update(os_environment)

    assert (status, out) == (1, "")
    assert complaint in err
    assert "secret" not in err
    assert len(err.strip().splitlines()) == 1


def test_bad_usage_exits_with_2(model_server: OpenAIServer):
    status, _, err = finish(
        start(model_server, "rollout_worker", "--forest_name", "x", "--num_processes", "0")
    )

    assert status == 2
    assert "'0' is not a whole number of at least 1" in err


@pytest.mark.parametrize(
    "command",
    [
        "seed_forest",
        "verify_config",
        "populate_forest",
        "rollout_worker",
        "recount_forest",
        "regrade_forest",
    ],
)
def test_help_tells_examples_and_exit_codes(command: str, capsys):
    with pytest.raises(SystemExit):
        call_command(command, "--help")

    text = capsys.readouterr().out
    assert re.search(rf"^  (python manage\.py|prm) {command}", text, re.MULTILINE)
    assert "3    partly failed" in text
