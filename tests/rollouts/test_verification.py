"""verify_config sees what growth would do, before anything is written."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pymongo.errors import ServerSelectionTimeoutError

from forests.models import ModelServer
from rollouts.strategies import STRATEGIES
from tests.openai_server import OpenAIServer

pytestmark = pytest.mark.django_db(transaction=True)

CONFIG = """
from experiment_configs.rollout.demo_arithmetic import Config as Demo, RolloutWorkerConfig

class Config(Demo):
    rollout_worker_config = RolloutWorkerConfig({settings})

    def get_dataset_iterator(self, dataset_split):
        return super().get_dataset_iterator("train")
"""


@pytest.fixture
def checks_of(tmp_path: Path, settings):
    settings.CONFIG_PATH = [tmp_path]

    def verify(split: str = "train", **worker_settings: object) -> dict[str, Any]:
        written = ", ".join(f"{name}={value!r}" for name, value in worker_settings.items())
        (tmp_path / "tried.py").write_text(CONFIG.format(settings=written), encoding="utf-8")
        out = io.StringIO()
        call_command(
            "verify_config", "--config_name", "tried", "--dataset_split", split,
            "--with_backend", "--json", stdout=out,
        )  # fmt: skip
        return {check["name"]: check for check in json.loads(out.getvalue())["checks"]}

    return verify


def write_31_steps(prefix: str, seed: int) -> str:
    return "".join(f"{seed} step {n}\n" for n in range(30)) + "#### 14\nAnd so on.\n"


def test_servers_of_the_config_are_asked_where_the_settings_name_none(
    model_server: OpenAIServer, checks_of, settings
):
    settings.OPENAI_BASE_URL = ""
    assert checks_of(base_urls=(model_server.url,))["backend"]["is_ok"]

    with pytest.raises(CommandError, match="no model server: set OPENAI_BASE_URL"):
        checks_of()


def test_a_solution_for_which_a_tree_has_no_room_is_told(model_server: OpenAIServer, checks_of):
    model_server.write = write_31_steps

    checks = checks_of(branching=(2, 1), max_nodes=5, max_depth=40)

    assert "wrote a solution that does not fit in a tree" in checks["backend"]["detail"]
    assert checks["max_nodes"]["is_warning"]
    assert checks["max_nodes"]["detail"] == (
        "no solution fits in a tree: max_nodes is 5, and the longest solution has 31 steps; "
        "raise it"
    )
    assert "answer" not in checks

    with pytest.raises(CommandError, match="checks failed"):
        checks_of(strategy="sampled", num_rollouts=4, max_nodes=5, max_depth=40)


def test_a_solution_that_max_depth_would_cut_is_told_with_limits_that_fit(
    model_server: OpenAIServer, checks_of
):
    model_server.write = write_31_steps

    checks = checks_of(strategy="sampled", num_rollouts=4, max_nodes=100)

    assert checks["max_depth"]["is_warning"]
    assert checks["max_depth"]["detail"] == (
        "4 of 4 solutions would be cut: max_depth is 12, and the longest has 31 steps; set "
        "max_depth to about 62"
    )
    assert "may need 248 nodes, but max_nodes is 100" in checks["max_nodes"]["detail"]
    assert "answer" not in checks
    (request,) = model_server.requests
    assert request["n"] == 4


def test_with_room_for_the_solution_nothing_is_warned_of(model_server: OpenAIServer, checks_of):
    model_server.write = write_31_steps

    checks = checks_of(strategy="sampled", num_rollouts=4, max_depth=40)

    assert not [name for name, check in checks.items() if check["is_warning"]]
    assert "wrote 31 steps" in checks["backend"]["detail"]
    assert "of 4 samples" in checks["backend"]["detail"]


def test_samples_that_the_token_limits_cut_are_told(model_server: OpenAIServer, checks_of):
    model_server.write = lambda prefix, seed: "one two three four five six\n#### 14\n"

    checks = checks_of(branching=(3,), max_tokens_per_step=4)
    sampled = checks_of(strategy="sampled", num_rollouts=2, max_tokens_per_rollout=6)

    assert checks["max_tokens_per_step"]["detail"] == (
        "6 of 6 steps were cut: max_tokens_per_step is 4; set it to about 8"
    )
    assert "raise max_tokens_per_rollout, now 6" in sampled["answer"]["detail"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_growth_asks_for_is_asked_for_and_written_steps_are_continued(
    model_server: OpenAIServer, checks_of, strategy: str
):
    checks_of(strategy=strategy, num_rollouts=5, rollouts_per_state=5, branching=(5, 2))

    asked = [(body["n"], body["prompt"].endswith("Answer:")) for body in model_server.requests]
    first_steps = [(1, True), (5, True)] if strategy == "branching" else [(5, True)]
    assert asked == first_steps + ([] if strategy == "sampled" else [(5, False)])


@pytest.mark.parametrize(
    ("split", "remedy"), [("train[:2]", "give 'train' and --limit"), ("Train", "use a-z")]
)
def test_a_split_that_seeding_refuses_is_refused(
    model_server: OpenAIServer, tmp_path: Path, settings, split: str, remedy: str
):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "tried.py").write_text(CONFIG.format(settings=""), encoding="utf-8")
    out = io.StringIO()

    with pytest.raises(CommandError, match="1 checks failed"):
        call_command(
            "verify_config", "--config_name", "tried", "--dataset_split", split, stdout=out
        )

    (failure,) = [line for line in out.getvalue().splitlines() if line.startswith("FAIL")]
    assert remedy in failure
    with pytest.raises(CommandError, match=remedy):
        call_command(
            "seed_forest", "--dataset_config_name", "tried", "--dataset_split", split,
            "--forest_name_suffix", "x",
        )  # fmt: skip


def test_what_the_server_does_is_told_line_by_line_and_kept(model_server: OpenAIServer, checks_of):
    model_server.logprobs = "never"

    checks = checks_of(api="chat")

    told = {name: check["detail"] for name, check in checks.items()}
    for name, detail in {
        "continues messages": "by continue_final_message",
        "samples per request": "several",
        "says why it stopped": "yes, by name",
        "log-probabilities": "no",
        "thinks": "not seen",
        "fields left out": "logprobs, top_logprobs",
    }.items():
        assert told[name] == f"{detail} ({model_server.url})"
    assert ModelServer.objects.get().abilities["logprobs"] is False
    assert len(model_server.probes) == 2

    checks_of(api="chat")

    assert len(model_server.probes) == 4  # verify_config always asks again


def test_json_has_what_the_server_does(model_server: OpenAIServer, tmp_path: Path, settings):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "tried.py").write_text(CONFIG.format(settings="api='chat'"), encoding="utf-8")
    out = io.StringIO()

    call_command(
        "verify_config", "--config_name", "tried", "--dataset_split", "train",
        "--with_backend", "--json", stdout=out,
    )  # fmt: skip

    (server,) = json.loads(out.getvalue())["servers"]
    assert (server["server"], server["continuing"]) == (model_server.url, "continued")
    assert (server["end_told"], server["thought"]) == ("by name", "")


def test_an_unclear_answer_is_a_warning_of_its_own(model_server: OpenAIServer, checks_of):
    model_server.write_probe = lambda prefix, seed: ", and so"

    check = checks_of(api="chat")["continues messages"]

    assert check["is_warning"]
    assert check["detail"].startswith("unclear: its answers show neither; asked by continue")


def test_a_server_that_begins_from_the_start_fails_the_check_and_is_shown(
    model_server: OpenAIServer, tmp_path: Path, settings
):
    settings.CONFIG_PATH = [tmp_path]
    model_server.continues = "never"
    (tmp_path / "tried.py").write_text(CONFIG.format(settings="api='chat'"), encoding="utf-8")
    out = io.StringIO()

    with pytest.raises(CommandError, match="1 checks failed"):
        call_command(
            "verify_config", "--config_name", "tried", "--dataset_split", "train",
            "--with_backend", stdout=out,
        )  # fmt: skip

    lines = out.getvalue().splitlines()
    assert any(line.startswith("FAIL backend:") and "strategy='sampled'" in line for line in lines)
    assert f"ok   samples per request: several ({model_server.url})" in lines


def test_without_a_database_a_config_is_verified_all_the_same(
    model_server: OpenAIServer, checks_of, monkeypatch
):
    def refuse(model: object) -> None:
        raise ServerSelectionTimeoutError("nobody answers")

    monkeypatch.setattr("rollouts.probing.memory.collection", refuse)

    assert checks_of(api="chat")["backend"]["is_ok"]


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize(
    ("reasoning", "written", "remedy"),
    [
        ("fold", "Maybe #### 20?\nNo.\n</think>\n#### 14\n", "ends a thought that nothing opened"),
        ("drop", "<think>Hm.\n</think>\n#### 14\n", "continue without its thought"),
    ],
    ids=["a template opens the thought", "the thought is dropped"],
)
def test_a_thought_after_which_steps_would_grow_wrongly_is_refused(  # noqa: PLR0917
    model_server: OpenAIServer,
    tmp_path: Path,
    settings,
    reasoning: str,
    written: str,
    remedy: str,
    api: str,
):
    model_server.write = lambda prefix, seed: written[len(prefix.rpartition("Answer:")[2]) :]
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "tried.py").write_text(
        CONFIG.format(settings=f"api={api!r}, reasoning={reasoning!r}"), encoding="utf-8"
    )
    out = io.StringIO()

    with pytest.raises(CommandError, match="1 checks failed"):
        call_command(
            "verify_config", "--config_name", "tried", "--dataset_split", "train",
            "--with_backend", stdout=out,
        )  # fmt: skip

    (failure,) = [line for line in out.getvalue().splitlines() if line.startswith("FAIL")]
    assert remedy in failure
