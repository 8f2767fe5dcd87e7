"""Options of a forest: model and servers when seeding; settings that change no sample later."""

import io
import json
from dataclasses import fields
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from common.errors import UserError
from experiment_configs.interfaces import SAMPLE_FREE_SETTINGS, RolloutWorkerConfig
from forests.models import Forest, Node
from rollouts.growth_arguments import check_backend
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import assert_whole, reread, seeded, shape

pytestmark = pytest.mark.django_db(transaction=True)


def seed(*options: str, suffix: str = "a", limit: int = 2) -> Forest:
    call_command(
        "seed_forest", "--dataset_config_name", "demo_arithmetic", "--dataset_split", "train",
        "--forest_name_suffix", suffix, "--limit", str(limit), *options,
        stdout=io.StringIO(), stderr=io.StringIO(),
    )  # fmt: skip
    return Forest.objects.get(pk=f"demo_arithmetic-train-{suffix}")


def configure(forest: Forest, *settings: str) -> dict[str, Any]:
    out = io.StringIO()
    words = ["--set", *settings] if settings else []
    call_command(
        "configure_forest", "--forest_name", forest.name, "--json", *words,
        stdout=out, stderr=io.StringIO(),
    )  # fmt: skip
    found: dict[str, Any] = json.loads(out.getvalue())["settings"]
    return found


def test_a_forest_grows_with_the_model_and_the_server_that_it_was_seeded_with(
    model_server: OpenAIServer, settings
):
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    settings.OPENAI_API_KEY = "secret-key"
    model_server.models = ["scripted", "other"]

    forest = seed("--model", "other", "--base_url", model_server.url)
    check_backend(forest)
    grow_slice(forest.name, 0, 2)

    assert_whole(forest)
    assert {request["model"] for request in model_server.requests} == {"other"}
    assert set(Node.objects.values_list("model", flat=True)) == {"other"}
    assert forest.worker_config["base_urls"] == [model_server.url]
    assert "secret-key" not in json.dumps(forest.worker_config)


def test_seeding_goes_on_with_the_same_model_only():
    seed("--model", "other")

    with pytest.raises(CommandError, match="model was 'other' and is None"):
        seed(limit=3)
    assert seed("--model", "other", limit=3).num_trees == 3


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000", "ftp://host/v1", "http://user:hunter2@host/v1", "http:///v1",
        "http://host:99999/v1", "http://host/v1?api_key=hunter2", "http://a b/v1",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_kept_is_refused_and_not_repeated(url: str):
    with pytest.raises(CommandError, match="base_urls cannot be used") as raised:
        seed("--base_url", url)

    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert Forest.objects.count() == 0


def test_what_changes_no_sample_can_be_changed_and_the_forest_grows_as_before(
    model_server: OpenAIServer,
):
    first, second = seeded(2), seeded(2, "b")

    changed = configure(second, "concurrency=1", "max_attempts=9", "request_timeout_seconds=2.5")
    for forest in (first, second):
        grow_slice(forest.name, 0, 2)

    assert changed == {
        "base_urls": [], "concurrency": 1, "max_attempts": 9, "request_timeout_seconds": 2.5,
    }  # fmt: skip
    assert reread(second).worker_config["concurrency"] == 1
    assert configure(second) == changed
    assert shape(first) == shape(second)


def test_servers_are_changed_and_given_up():
    forest = seed()

    changed = configure(forest, "base_urls=http://a:8000/v1, http://b:8000/v1")
    assert changed["base_urls"] == ["http://a:8000/v1", "http://b:8000/v1"]
    assert configure(forest, "base_urls=")["base_urls"] == []


def test_a_configured_forest_can_be_seeded_on():
    forest = seed()
    configure(forest, "concurrency=3", "base_urls=http://a:8000/v1")

    assert seed(limit=3).num_trees == 3
    assert reread(forest).worker_config["concurrency"] == 3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("temperature=0.5", "temperature decides which samples are drawn"),
        ("samples_per_request=1", "samples_per_request decides which samples are drawn"),
        ("model=other", "model decides which samples are drawn"),
        ("concurency=3", "there is no setting 'concurency'"),
        ("concurrency", "'concurrency' sets nothing: write name=value"),
        ("concurrency=0", "concurrency is 0: it must be a whole number of at least 1"),
        ("concurrency=many", "concurrency is 'many': it must be a whole number"),
        ("base_urls=http://u:hunter2@a/v1", "base_urls cannot be used: it must be"),
    ],
)
def test_other_settings_and_values_are_refused_and_nothing_is_set(setting: str, message: str):
    forest = seed()

    with pytest.raises(CommandError, match=f"^[^\n]*{message}[^\n]*$") as raised:
        configure(forest, "max_attempts=3", setting)

    assert "hunter2" not in str(raised.value)
    assert reread(forest).worker_config == forest.worker_config


def test_every_setting_that_may_be_changed_is_one():
    assert set(SAMPLE_FREE_SETTINGS) <= set(RolloutWorkerConfig().as_dict())


SETTINGS_OF_SAMPLES = {
    "keep_tokens",
    "api", "branching", "extra_body", "keep_blocks", "logprobs", "max_depth", "max_nodes",
    "max_tokens_field", "max_tokens_per_rollout", "max_tokens_per_step", "model", "num_rollouts",
    "num_searches", "omega_alpha", "omega_beta", "omega_c_puct", "omega_length", "reasoning",
    "refinement", "rollouts_per_state", "samples_per_request", "seed", "step_delimiter",
    "stop", "stop_at_answer", "strategy", "strategy_package", "temperature", "top_p",
}  # fmt: skip


def test_every_setting_is_known_to_decide_about_samples_or_not_to():
    """Whoever adds a setting says here which it is."""
    names = {field.name for field in fields(RolloutWorkerConfig)}

    assert SETTINGS_OF_SAMPLES | set(SAMPLE_FREE_SETTINGS) == names
    assert SETTINGS_OF_SAMPLES.isdisjoint(SAMPLE_FREE_SETTINGS)


def test_messages_name_what_set_the_address_of_the_server():
    """If a forest has its own servers, the message must not name a setting of the site."""
    with OpenAIServer() as gone:
        dead = gone.url

    for options, source in (([], "OPENAI_BASE_URL"), (["--base_url", dead], "base_urls of the")):
        forest = seed(*options, suffix=f"s{len(options)}")
        with (
            override_settings(OPENAI_BASE_URL=dead),
            pytest.raises(UserError, match=rf"cannot reach .*: check {source}"),
        ):
            check_backend(forest)


@pytest.mark.parametrize("is_of_forest", [False, True])
def test_messages_name_what_to_set_for_a_model(model_server: OpenAIServer, *, is_of_forest: bool):
    own, source = ([], "OPENAI_BASE_URL")
    if is_of_forest:
        own, source = (["--base_url", model_server.url], r"base_urls of the forest \(configure_")
    forest = seed(*own, "--model", "big")

    with pytest.raises(UserError, match=rf"has no model 'big': .*\(set {source}"):
        check_backend(forest)
