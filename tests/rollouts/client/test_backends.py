"""The client and growth against what vLLM, FastChat and llama.cpp really answered."""

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from experiment_configs.interfaces import Api, RolloutWorkerConfig
from experiment_configs.loading import load_config
from forests.storage.trees import iter_trees
from rollouts.client import failures
from rollouts.client.failures import (
    BackendRefusedError,
    BackendUnavailableError,
    PromptTooLongError,
    RequestFailedError,
)
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.config_checks import ShownItem
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.steps.completions import Completion, Ending
from rollouts.verification import try_growth
from rollouts.workers.jobs import grow_slice
from tests.openai_server import Fault, OpenAIServer
from tests.rollouts import recorded_answers as recorded
from tests.rollouts.forests import assert_whole, reread, seeded

LLAMA_CPP = [recorded.LLAMA_CPP_LINE, recorded.LLAMA_CPP_BLANK]
TOO_LONG = [recorded.VLLM_TOO_LONG, recorded.FASTCHAT_TOO_LONG, recorded.LLAMA_CPP_TOO_LONG]


@pytest.fixture
def server():
    with OpenAIServer() as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)


def replay(server: OpenAIServer, *answers: dict[str, Any], status: int = 200) -> None:
    server.faults.extend(Fault(status=status, body=json.dumps(answer)) for answer in answers)


def ask(
    server: OpenAIServer,
    steps: str = "",
    *,
    n: int = 1,
    to_end: bool = False,
    spending: Spending | None = None,
    **fields: Any,
) -> list[Completion]:
    config = RolloutWorkerConfig(**{"max_attempts": 3, **fields})

    async def sample() -> list[Completion]:
        async with CompletionClient(ServerAddress([server.url], ""), config) as client:
            request = SampleRequest("Q Answer:", steps, n, to_end, seed=4)
            return await client.sample(request, spending or Spending())

    return asyncio.run(sample())


@pytest.mark.parametrize(
    "answer",
    [
        recorded.VLLM_END,
        recorded.VLLM_CHAT_END,
        recorded.FASTCHAT_END,
        recorded.LLAMA_CPP_END,
    ],
)
def test_the_model_ended_the_solution(server: OpenAIServer, answer: dict[str, Any]):
    replay(server, answer)

    (completion,) = ask(server)

    assert (completion.text, completion.ending) == ("The answer is 5.", Ending.SOLUTION)


@pytest.mark.parametrize(
    "answer",
    [recorded.VLLM_END_AT_ONCE, recorded.FASTCHAT_END_AT_ONCE, recorded.LLAMA_CPP_END_AT_ONCE],
)
def test_the_model_ended_at_once(server: OpenAIServer, answer: dict[str, Any]):
    replay(server, answer)

    (completion,) = ask(server, " The answer is 5.\n")

    assert (completion.text, completion.ending) == ("", Ending.SOLUTION)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer", [recorded.VLLM_LINE, recorded.FASTCHAT_LINE, recorded.LLAMA_CPP_LINE]
)
def test_the_delimiter_ended_the_step(server: OpenAIServer, answer: dict[str, Any]):
    server.style = "llama" if answer in LLAMA_CPP else "vllm"
    replay(server, answer)

    (completion,) = ask(server)

    assert (completion.text, completion.ending) == (" 2.\n", Ending.STEP)


def test_fastchat_leaves_a_delimiter_in_the_text(server: OpenAIServer):
    replay(server, recorded.FASTCHAT_TWO_LINE_ENDS)

    (completion,) = ask(server)

    assert (completion.text, completion.ending) == ("1,,\n", Ending.STEP)


@pytest.mark.parametrize(
    "answer", [recorded.VLLM_BLANK, recorded.FASTCHAT_BLANK, recorded.LLAMA_CPP_BLANK]
)
def test_a_delimiter_as_the_first_token_is_continued(server: OpenAIServer, answer: dict[str, Any]):
    server.style = "llama" if answer in LLAMA_CPP else "vllm"
    replay(server, answer)

    (completion,) = ask(server)

    assert completion.text.startswith("\n")
    assert completion.text.strip()
    assert [asked["prompt"] for asked in server.requests] == ["Q Answer:", "Q Answer:\n"]


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        (recorded.VLLM_END, 7),
        (recorded.FASTCHAT_END, 7),  # it says 6: the place of the last token, counted from 0
        (recorded.LLAMA_CPP_END, 7),
    ],
)
def test_all_tokens_are_counted(server: OpenAIServer, answer: dict[str, Any], tokens: int):
    spending = Spending()
    replay(server, answer)

    ask(server, spending=spending)

    assert (spending.prompt_tokens, spending.completion_tokens) == (19, tokens)


def test_llama_cpp_counts_one_of_the_samples(server: OpenAIServer):
    spending = Spending()
    three = {**recorded.LLAMA_CPP_END, "choices": recorded.LLAMA_CPP_END["choices"] * 3}
    replay(server, three)

    ask(server, n=3, spending=spending)

    assert spending.completion_tokens == 3 * 7


def test_a_chat_message_is_continued(server: OpenAIServer):
    replay(server, recorded.VLLM_CONTINUED)

    (completion,) = ask(server, "one two\n", api="chat")

    assert (completion.text, completion.ending) == ("three four\n", Ending.STEP)


@pytest.mark.parametrize("style", ["llama", "vllm"])
def test_a_step_that_is_written_again_is_not_taken_for_a_repeated_message(
    server: OpenAIServer, style: Any
):
    """llama.cpp repeats the message that it continues, others do not; small models repeat steps."""
    server.style = style
    server.write = lambda prefix, seed: "a\nb"

    (completion,) = ask(server, "a\n", api="chat", to_end=True)

    assert completion.text == "a\nb"


def test_fastchat_is_asked_for_whole_solutions_in_chat(server: OpenAIServer):
    server.style = "fastchat"

    (completion,) = ask(server, api="chat", to_end=True)

    assert completion.ending is Ending.SOLUTION


@pytest.mark.parametrize("answer", TOO_LONG)
def test_steps_that_fill_the_context_are_truncated(server: OpenAIServer, answer: dict[str, Any]):
    replay(server, answer, status=400)

    completions = ask(server, " Try 1.\n", n=2)

    assert [(c.text, c.ending) for c in completions] == [("", Ending.LIMIT)] * 2
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", TOO_LONG)
def test_a_prompt_that_does_not_fit_fails(server: OpenAIServer, answer: dict[str, Any]):
    replay(server, answer, status=400)

    with pytest.raises(PromptTooLongError, match="context"):
        ask(server)

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "answer"),
    [(404, recorded.VLLM_UNKNOWN_MODEL), (400, recorded.FASTCHAT_UNKNOWN_MODEL)],
)
def test_an_unknown_model_is_refused(server: OpenAIServer, status: int, answer: dict[str, Any]):
    replay(server, answer, status=status)

    with pytest.raises(
        BackendRefusedError, match=r"no-such-model.* \(check OPENAI_BASE_URL and `model`\)"
    ):
        ask(server, model="no-such-model")


@pytest.mark.parametrize(
    "answer",
    [
        recorded.VLLM_BAD_PARAMETER,
        recorded.FASTCHAT_BAD_PARAMETER,
        recorded.LLAMA_CPP_BAD_PARAMETER,
    ],
)
def test_a_bad_parameter_fails_one_request(server: OpenAIServer, answer: dict[str, Any]):
    replay(server, answer, status=400)

    with pytest.raises(RequestFailedError, match="max_tokens"):
        ask(server)

    assert len(server.requests) == 1


def test_llama_cpp_is_asked_for_no_more_samples_than_it_has_slots(server: OpenAIServer):
    spending = Spending()
    replay(server, recorded.LLAMA_CPP_TOO_MANY_SAMPLES, status=400)

    completions = ask(server, n=64, spending=spending)

    assert len(completions) == 8
    assert [asked["n"] for asked in server.requests] == [64, 8]
    assert (spending.requests, spending.retries) == (2, 1)


def test_vllm_is_asked_for_one_greedy_sample(server: OpenAIServer):
    replay(server, recorded.VLLM_GREEDY_SAMPLES, status=400)

    completions = ask(server, n=3, temperature=0)

    assert len(completions) == 1
    assert [asked["n"] for asked in server.requests] == [3, 1]


def test_a_fastchat_worker_that_died_is_retried(server: OpenAIServer):
    spending = Spending()
    replay(server, recorded.FASTCHAT_WORKER_DIED, status=400)

    (completion,) = ask(server, spending=spending)

    assert completion.text == " Try 0.\n"
    assert (spending.retries, spending.failures) == (1, {"http_400": 1})


def test_fastchat_without_a_worker_is_unavailable(server: OpenAIServer):
    replay(server, *[recorded.FASTCHAT_NO_WORKER] * 3, status=400)

    with pytest.raises(BackendUnavailableError, match="Only allowed now"):
        ask(server, model="smollm2")


@pytest.mark.parametrize(
    ("models", "expected"), [([], BackendUnavailableError), (["scripted"], RequestFailedError)]
)
def test_fastchat_that_fails_is_unavailable_if_it_lists_no_model(
    server: OpenAIServer, models: list[str], expected: type[Exception]
):
    server.models = models
    server.faults.extend([Fault(status=500, body=recorded.FASTCHAT_WORKER_IS_DEAD)] * 3)

    with pytest.raises(expected, match="500"):
        ask(server, model="scripted")


@pytest.mark.django_db(transaction=True)
def test_a_forest_waits_for_a_fastchat_worker(model_server: OpenAIServer):
    forest = seeded(2, model="scripted")
    model_server.models = []
    dead = Fault(status=500, body=recorded.FASTCHAT_WORKER_IS_DEAD)
    model_server.misbehave = lambda: None if model_server.models else dead
    returning = threading.Timer(1.0, model_server.models.append, ["scripted"])

    returning.start()
    try:
        grow_slice(forest.name, 0, 2)
    finally:
        returning.join()

    assert_whole(forest)
    assert reread(forest).num_failed == 0


@pytest.mark.django_db(transaction=True)
def test_a_forest_grows_whole_with_fewer_slots_than_samples(model_server: OpenAIServer):
    model_server.style = "llama"
    forest = seeded(2, branching=[12, 2], concurrency=1)
    replay(model_server, recorded.LLAMA_CPP_TOO_MANY_SAMPLES, status=400)

    grow_slice(forest.name, 0, 2)

    assert_whole(forest)
    assert max(asked["n"] for asked in model_server.requests[1:]) == 8


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("answer", TOO_LONG)
def test_a_tree_whose_steps_fill_the_context_is_complete(
    model_server: OpenAIServer, answer: dict[str, Any]
):
    def refuse_continuations() -> Fault | None:
        is_continued = model_server.requests[-1]["prompt"].endswith("\n")
        return Fault(status=400, body=json.dumps(answer)) if is_continued else None

    model_server.misbehave = refuse_continuations
    forest = seeded(1)

    grow_slice(forest.name, 0, 1)

    assert_whole(forest)
    (stored,) = iter_trees(reread(forest))
    assert {(leaf.truncated, leaf.finish_reason) for leaf in stored.tree.leaves()} == {
        (True, "context")
    }


def test_a_config_is_shown_to_need_a_server_that_continues(server: OpenAIServer):
    server.style = "fastchat"
    config = load_config("demo_arithmetic").config
    item = ShownItem(prompt="Q Answer:", label="1", serialized="")

    async def verify(api: Api, strategy: str) -> str:
        worker_config = replace(config.rollout_worker_config, api=api, strategy=strategy)
        async with CompletionClient(ServerAddress([server.url], ""), worker_config) as client:
            return (await try_growth(client, item, config)).detail

    assert "wrote 2 steps" in asyncio.run(verify("completions", "branching"))
    assert "wrote 2 steps" in asyncio.run(verify("chat", "sampled"))
    with pytest.raises(BackendRefusedError, match="does not continue a chat message"):
        asyncio.run(verify("chat", "branching"))
