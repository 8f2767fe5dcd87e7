"""Forests against servers that refuse, limit, filter and wait, as in public reports."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from django.core.management import call_command

from common.errors import UserError
from experiment_configs.interfaces import RolloutWorkerConfig
from forests.models import Forest, Tree
from forests.storage.trees import iter_trees
from rollouts.client import failures, outages
from rollouts.client.failures import BackendRefusedError, FieldRefusedError, OutageError
from rollouts.client.server import Server, ServerAddress
from rollouts.client.spending import Spending
from rollouts.growth_arguments import check_backend
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.workers.jobs import grow_slice
from tests.dialect_server import DialectServer, Judge, refusal
from tests.openai_server import Fault
from tests.rollouts.forests import assert_whole, reread, seeded, statuses
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server(settings, monkeypatch) -> Iterator[DialectServer]:
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(outages, "FIRST_WAIT_SECONDS", 0.1)
    with DialectServer() as server:
        settings.OPENAI_BASE_URL = server.url
        yield server


def grow(server: DialectServer, judge: Judge, *, trees: int = 4, **settings: Any) -> Forest:
    """Return a forest that was grown as far as the server let it."""
    server.judge = judge
    forest = seeded(trees, **settings)
    grow_slice(forest.name, 0, trees)
    return reread(forest)


def sent_fields(server: DialectServer) -> set[str]:
    """Return the fields of the last request."""
    return set(server.requests[-1])


class TestSamples:
    """A limit of `n`, in any wording, lowers `n`."""

    @pytest.mark.parametrize(
        "message",
        [
            "'n' : number must be at most 1",
            "Invalid n value (currently only n = 1 is supported)",
            "n: Input should be 1",
            "litellm.UnsupportedParamsError: groq does not support parameters: ['n']",
            "Only one completion choice is allowed",
            "n must be 1 when using greedy sampling, got 3.",
        ],
    )
    def test_samples_are_asked_for_one_by_one(self, server: DialectServer, message: str):
        forest = grow(server, lambda body: refusal(400, message) if body["n"] > 1 else None)

        assert_whole(forest)
        assert sum(asked["n"] > 1 for asked in server.requests) <= 4  # those in flight together

    def test_as_many_are_asked_for_as_the_message_names(self, server: DialectServer):
        error = refusal(422, "must be less than or equal to 3", param="n")

        grow(server, lambda body: error if body["n"] > 3 else None, branching=[8], concurrency=1,
             max_depth=1)  # fmt: skip

        assert [asked["n"] for asked in server.requests[:3]] == [8, 3, 3]


TOO_LONG = [
    (400, {"message": "The input (61709 tokens) is longer than the context (40960 tokens)"}),
    (400, {"message": "Requested token count exceeds the model's maximum context length of 4096"}),
    (400, {"message": "The decoder prompt (length 10127) is longer than the maximum model length "
                      "of 8192"}),
    (400, {"message": "Your input is too much", "code": "context_length_exceeded"}),
    (400, {"message": "Please reduce the length of the messages or completion."}),
    (422, {"message": "`inputs` tokens + `max_new_tokens` must be <= 4096"}),
    (400, {"message": "prompt is too long: 200251 tokens > 200000 maximum"}),
    (400, {"message": "The input token count (1048577) exceeds the maximum number of tokens"}),
    (400, {"message": "no", "type": "ContextWindowExceededError"}),
    (400, {"message": "Trying to keep the first 111490 tokens when context the overflows"}),
    (400, {"message": "Prompt contains 40000 tokens, too large for model with 32768 maximum "
                      "context length"}),
    (400, {"message": "the request exceeds the available context size, try increasing it"}),
    (413, {"message": "Request Entity Too Large"}),
]  # fmt: skip


class TestLength:
    @pytest.mark.parametrize(("status", "error"), TOO_LONG)
    def test_a_path_that_is_too_long_ends_there_and_the_tree_is_complete(
        self, server: DialectServer, status: int, error: dict[str, Any]
    ):
        def judge(body: dict[str, Any]) -> Fault | None:
            is_long = body["prompt"].endswith("\n")
            return Fault(status, json.dumps({"error": error})) if is_long else None

        forest = grow(server, judge)

        assert_whole(forest)
        leaves = [leaf for stored in iter_trees(forest) for leaf in stored.tree.leaves()]
        assert {(leaf.truncated, leaf.finish_reason) for leaf in leaves} == {(True, "context")}

    @pytest.mark.parametrize(
        "message",
        [
            "This model's maximum context length is 1000 tokens. However, you requested {total} "
            "tokens (990 in the messages, {most} in the completion).",
            "'max_tokens' is too large: {most}. This model's maximum context length is 1000 tokens "
            "and your request has 990 input tokens ({most} > 1000 - 990).",
            "`inputs` tokens + `max_new_tokens` must be <= 1000. Given: 990 `inputs` tokens and "
            "{most} `max_new_tokens`",
            "input length and `max_tokens` exceed context limit: 990 + {most} > 1000, decrease",
            "maximum context length of 1,000 tokens. You requested a total of {total} tokens: 990 "
            "tokens from the input messages and {most} tokens for the completion.",
        ],
    )
    def test_a_prompt_that_fits_is_asked_again_with_the_tokens_that_are_left(
        self, server: DialectServer, message: str
    ):
        def judge(body: dict[str, Any]) -> Fault | None:
            most = body["max_tokens"]
            return refusal(400, message.format(most=most, total=990 + most)) if most > 10 else None

        forest = grow(server, judge)

        assert_whole(forest)
        assert {asked["max_tokens"] for asked in server.requests} == {24, 10}
        leaves = [leaf for stored in iter_trees(forest) for leaf in stored.tree.leaves()]
        assert "context" not in {leaf.finish_reason for leaf in leaves}

    def test_where_the_server_counts_only_to_its_limit_a_smaller_number_is_found(
        self, server: DialectServer
    ):
        def judge(body: dict[str, Any]) -> Fault | None:
            most, least = body["max_tokens"], 1001 - body["max_tokens"]
            message = (
                f"maximum context length is 1000 tokens. However, you requested {most} output "
                f"tokens and your prompt contains at least {least} input tokens, for a total of at "
                "least 1001 tokens."
            )
            return refusal(400, message) if most > 7 else None

        assert_whole(grow(server, judge, trees=1))

    def test_a_limit_of_the_model_holds_from_then_on(self, server: DialectServer):
        error = refusal(400, "max_tokens is too large: 24. This model supports at most 16 "
                             "completion tokens, whereas you provided 24.")  # fmt: skip

        forest = grow(
            server, lambda body: error if body["max_tokens"] > 16 else None, concurrency=1
        )

        assert_whole(forest)
        assert [asked["max_tokens"] for asked in server.requests[:3]] == [24, 16, 16]


class TestFields:
    """A field that a server rejects by name is left out where that changes no sample."""

    @pytest.mark.parametrize(
        ("field", "error"),
        [
            ("seed", refusal(400, "Unrecognized request argument supplied: seed")),
            ("seed", Fault(422, json.dumps({"detail": [{
                "type": "extra_forbidden", "loc": ["body", "seed"],
                "msg": "Extra inputs are not permitted"}]}))),
            ("seed", refusal(400, 'Invalid JSON payload received. Unknown name "seed": Cannot '
                                  "find field.", status="INVALID_ARGUMENT")),
            ("logprobs", refusal(403, "You are not allowed to request logprobs from this model")),
            ("logprobs", refusal(400, "no", code="unsupported_parameter", param="logprobs")),
            ("stop", refusal(400, "Unsupported parameter: 'stop' is not supported")),
            ("top_p", refusal(400, "`top_p` is deprecated for this model")),
        ],
    )  # fmt: skip
    def test_it_is_left_out_from_then_on(self, server: DialectServer, field: str, error: Fault):
        forest = grow(server, lambda body: error if field in body else None, concurrency=1)

        assert_whole(forest)
        assert [field in asked for asked in server.requests][:3] == [True, False, False]
        assert forest.retries == 1

    def test_several_at_once_are_left_out_one_after_another(self, server: DialectServer):
        def judge(body: dict[str, Any]) -> Fault | None:
            named = [one for one in ("seed", "logprobs", "max_tokens") if one in body]
            return refusal(400, f"Unsupported parameter: '{named[0]}'") if named else None

        assert_whole(grow(server, judge))
        assert sent_fields(server).isdisjoint({"seed", "logprobs", "top_logprobs", "max_tokens"})
        assert "max_completion_tokens" in sent_fields(server)

    @pytest.mark.parametrize(
        ("error", "fields", "remedy"),
        [
            (
                refusal(400, "Unsupported value: 'temperature' does not support 0.8. "
                             "Only the default (1) value is supported.", param="temperature"),
                {"temperature"}, r"set temperature to 1, or extra_body=\{'temperature': None\}",
            ),
            (
                refusal(400, "Unknown parameter: 'continue_final_message'."),
                {"continue_final_message"}, "use strategy='sampled' or api='completions'",
            ),
            (refusal(400, "unexpected keyword argument 'min_p'"), {"min_p"}, "'min_p': None"),
        ],
    )  # fmt: skip
    def test_what_would_change_the_samples_stops_the_forest_with_the_remedy(
        self, server: DialectServer, error: Fault, fields: set[str], remedy: str
    ):
        extra = {"min_p": 0.1, "continue_final_message": True}

        with pytest.raises(FieldRefusedError, match=remedy):
            grow(server, lambda body: error if fields & set(body) else None, extra_body=extra)

        assert statuses(Forest.objects.get()) == {"pending": 4}
        assert len(server.requests) <= 4

    def test_a_temperature_of_1_is_left_out(self, server: DialectServer):
        error = refusal(400, "temperature is not supported", param="temperature")

        assert_whole(
            grow(server, lambda body: error if "temperature" in body else None, temperature=1.0)
        )

    def test_none_in_extra_body_leaves_a_field_out_and_a_setting_renames_max_tokens(
        self, server: DialectServer
    ):
        grow(server, lambda _: None, extra_body={"seed": None, "top_p": None},
             max_tokens_field="max_completion_tokens")  # fmt: skip

        assert sent_fields(server).isdisjoint({"seed", "top_p", "max_tokens"})
        assert server.requests[0]["max_completion_tokens"] == 24

    def test_verify_config_says_what_is_left_out(self, server: DialectServer, capsys):
        error = refusal(400, "Unrecognized request argument supplied: seed")
        server.judge = lambda body: error if "seed" in body else None

        call_command("verify_config", "--config_name", "demo_arithmetic", "--dataset_split",
                     "train", "--with_backend")  # fmt: skip

        assert (
            "warn request: the server does not take seed: it is left out, and samples cannot be "
            "repeated"
        ) in capsys.readouterr().out


class TestWhoseFault:
    @pytest.mark.parametrize(
        ("error", "remedy"),
        [
            (refusal(402, "Insufficient Balance"), "top up the account"),
            (refusal(429, "You exceeded your current quota", code="insufficient_quota"), "top up"),
            (refusal(400, "Your credit balance is too low to access the API"), "top up"),
            (refusal(401, "Incorrect API key provided"), "check OPENAI_API_KEY"),
            (refusal(403, "Country not supported"), "check OPENAI_API_KEY"),
            (refusal(400, "vendor/x is not a valid model ID"), "check .* and `model`"),
            (refusal(404, "no such model", code="model_not_found"), "check .* and `model`"),
            (
                refusal(400, "Assistant response prefill is incompatible with enable_thinking."),
                r"extra_body=\{'chat_template_kwargs': \{'enable_thinking': False\}\}",
            ),
            (Fault(200, '{"error": {"message": "Insufficient credits", "code": 402}}'), "top up"),
            (Fault(200, 'data: {"choices": []}\n\n'), "event stream.*'stream': False"),
        ],
    )
    def test_what_holds_for_every_request_stops_the_forest_after_a_few(
        self, server: DialectServer, error: Fault, remedy: str
    ):
        with pytest.raises(BackendRefusedError, match=remedy):
            grow(server, lambda _: error)

        forest = Forest.objects.get()
        assert statuses(forest) == {"pending": 4}
        assert len(server.requests) <= 4
        assert re.search(remedy, forest.stop_reason)

    @pytest.mark.parametrize(
        "error",
        [
            Fault(403, json.dumps({"error": {"message": "Your input was flagged", "code": 403,
                                             "metadata": {"reasons": ["violence"]}}})),
            refusal(400, "The response was filtered", code="content_filter"),
            refusal(400, "Content Exists Risk"),
            refusal(400, "Input data may contain inappropriate content.",
                    code="data_inspection_failed"),
        ],
    )  # fmt: skip
    def test_one_flagged_prompt_fails_its_tree_and_the_others_grow(
        self, server: DialectServer, error: Fault
    ):
        forest = seeded(4)
        flagged = Tree.objects.get(forest_id=forest.name, index=1)
        server.judge = lambda body: error if body["prompt"].startswith(flagged.prompt) else None

        assert grow_slice(forest.name, 0, 4) == {"complete": 3, "failed": 1}

        assert statuses(forest) == {"complete": 3, "failed": 1}

    def test_more_flagged_prompts_in_a_row_stop_nothing(self, server: DialectServer):
        error = refusal(403, "Your input was flagged by moderation")

        assert statuses(grow(server, lambda _: error, trees=6)) == {"failed": 6}

    @pytest.mark.parametrize(
        "error", [refusal(400, "the template failed at line 3"), Fault(200, '{"choices": null}')]
    )
    def test_the_same_unknown_refusal_of_tree_after_tree_stops_the_forest(
        self, server: DialectServer, error: Fault
    ):
        with pytest.raises(BackendRefusedError, match=r"refuses every tree.*retry_failed"):
            grow(server, lambda _: error, trees=12, concurrency=1)

        assert statuses(Forest.objects.get()) == {"failed": 2, "pending": 10}

    def test_trees_that_fail_between_ones_that_grow_stop_nothing(self, server: DialectServer):
        forest = seeded(8, concurrency=1)
        prompts = Tree.objects.filter(index__in=[1, 3, 5, 7]).values_list("prompt", flat=True)
        bad = tuple(prompts)
        error = refusal(400, "no")
        server.judge = lambda body: error if body["prompt"].startswith(bad) else None

        grow_slice(forest.name, 0, 8)

        assert statuses(forest) == {"complete": 4, "failed": 4}

    def test_an_error_inside_an_answer_is_asked_again(self, server: DialectServer):
        server.faults.append(Fault(200, '{"error": {"message": "bad gateway", "code": 502}}'))

        forest = grow(server, lambda _: None)

        assert_whole(forest)
        assert forest.failures == {"error_502": 1}


class TestWaiting:
    """Overload is not the fault of a tree."""

    @pytest.mark.parametrize(
        "busy",
        [
            lambda: Fault(429),
            lambda: Fault(429, headers={"Retry-After": "1"}),
            lambda: Fault(429, headers={"Retry-After": formatdate(time.time() + 1, usegmt=True)}),
            lambda: Fault(429, headers={"retry-after-ms": "900"}),
            lambda: Fault(429, headers={"x-ratelimit-reset-requests": "1s"}),
            lambda: Fault(529, '{"error": {"type": "overloaded_error"}}'),
            lambda: Fault(524, "<html>A timeout occurred</html>"),
            lambda: Fault(503),
            lambda: Fault(200, '{"error": {"message": "rate limited", "code": 429}}'),
        ],
        ids=["429", "seconds", "date", "milliseconds", "reset", "529", "524", "503", "inside 200"],
    )
    def test_it_is_waited_out(self, server: DialectServer, busy: Any):
        until = time.monotonic() + 0.7

        forest = grow(server, lambda _: busy() if time.monotonic() < until else None, trees=2)

        assert_whole(forest)
        assert forest.num_failed == 0
        assert forest.backend_message == ""

    def test_a_long_wait_is_shown_while_it_lasts_and_can_be_stopped(
        self, server: DialectServer, settings
    ):
        settings.BACKEND_WAIT_SECONDS = 60  # else a failing test would wait for ten minutes
        server.judge = lambda _: Fault(429, headers={"Retry-After": "500"})
        forest = seeded(1)
        shown: list[str] = []

        def look_and_pause() -> None:
            wait_until(lambda: reread(forest).backend_message != "")
            shown.append(reread(forest).backend_message)
            Forest.objects.filter(pk=forest.pk).update(is_paused=True)

        watching = threading.Timer(2, look_and_pause)  # once the job has opened its database
        watching.start()
        began = time.monotonic()
        grow_slice(forest.name, 0, 1)
        watching.join()

        assert time.monotonic() - began < 30
        assert "429" in shown[0]
        assert len(server.requests) <= 4
        assert statuses(forest) == {"pending": 1}

    def test_after_the_time_of_the_settings_the_forest_stops_and_fails_no_tree(
        self, server: DialectServer, settings
    ):
        settings.BACKEND_WAIT_SECONDS = 1

        with pytest.raises(OutageError, match=r"no answer for 1 s: .*PRM_BACKEND_WAIT_SECONDS"):
            grow(server, lambda _: Fault(503))

        assert statuses(Forest.objects.get()) == {"pending": 4}


class TestServers:
    def sample(self, address: ServerAddress, **fields: Any) -> list[str]:
        async def ask() -> list[str]:
            config = RolloutWorkerConfig(model="scripted", max_attempts=2, **fields)
            async with CompletionClient(address, config) as client:
                request = SampleRequest("Q Answer:", "", 1, to_end=False, seed=4)
                return [one.text for one in await client.sample(request, Spending())]

        return asyncio.run(ask())

    def test_each_server_gets_its_key_headers_organization_and_query(self, server: DialectServer):
        described = Server(
            f"{server.url}/?api-version=2024-10-21", "own-key", {"api-key": "azure"}, "org-1"
        )

        self.sample(ServerAddress([], "", described=[described]))

        for headers in server.headers:
            assert headers["authorization"] == "Bearer own-key"
            assert (headers["api-key"], headers["openai-organization"]) == ("azure", "org-1")
        paths = [path.removesuffix("?api-version=2024-10-21") for path in server.paths]
        assert paths == ["/v1/models", "/v1/completions"]

    def test_no_secret_of_a_server_is_in_what_is_said(self, server: DialectServer):
        secrets = ("own-key-1", "header-key-1", "query-key-1")
        described = Server(
            f"{server.url}?key=query-key-1", "own-key-1", {"Authorization": "Bearer header-key-1"}
        )
        server.judge = lambda _: refusal(401, f"wrong: {' '.join(secrets)}")

        with pytest.raises(BackendRefusedError, match="wrong: … … …") as caught:
            self.sample(ServerAddress([], "", described=[described]))

        assert not any(secret in f"{caught.value} {described!r}" for secret in secrets)

    @pytest.mark.parametrize("status", [404, 405])
    def test_a_server_without_a_list_of_models_grows_where_the_config_names_one(
        self, server: DialectServer, status: int
    ):
        server.listing_status = status
        forest = seeded(2, model="gpt-4o-deployment")

        check_backend(forest)
        grow_slice(forest.name, 0, 2)

        assert_whole(forest)

    def test_without_a_list_and_a_name_the_remedy_is_said(self, server: DialectServer):
        server.listing_status = 404

        with pytest.raises(UserError, match="set `model` in the config"):
            check_backend(seeded(1))

    @pytest.mark.parametrize(
        ("model", "listed"),
        [
            ("llama3", ["llama3:latest"]),
            ("vendor/model-1:nitro", [f"vendor/model-{n}" for n in range(400)]),
            ("openai/gpt-5", ["openai/*"]),
        ],
    )
    def test_names_that_mean_a_listed_model_pass_the_check(
        self, server: DialectServer, model: str, listed: list[str]
    ):
        server.models = listed

        check_backend(seeded(1, model=model))

    def test_of_a_long_list_a_few_names_are_shown(self, server: DialectServer):
        server.models = [f"vendor/model-{n}" for n in range(400)]

        with pytest.raises(UserError, match="and 395 more") as caught:
            check_backend(seeded(1, model="vendor/modal-399"))

        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize(
        ("path", "hint"),
        [("", "address of most servers ends in /v1"), ("/chat/completions", "must end before")],
    )
    def test_an_address_with_a_wrong_end_is_named(
        self, server: DialectServer, path: str, hint: str
    ):
        server.judge = lambda _: Fault(404, '{"detail": "Not Found"}')
        base = server.url if path else server.url.removesuffix("/v1")

        with pytest.raises(BackendRefusedError, match=f"check OPENAI_BASE_URL.*{hint}"):
            self.sample(ServerAddress([base + path], ""))
