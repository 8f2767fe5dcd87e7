"""Steps over chat, for all templates and for all ways to tell that a sample ended."""

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.loading import load_config
from experiment_configs.stop_at_answer import steps_to_answer
from forests.core.tree import ReasoningTree
from rollouts.client import failures
from rollouts.client.failures import RequestFailedError
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.steps.completions import Completion, Ending
from rollouts.strategies import STRATEGIES
from tests.openai_server import OpenAIServer, Style, writes

SOLUTION = "First, add two.\n\nThen take it twice.\n\nSo it is \\boxed{14}."
OTHER = "Add two and three.\n\nThen, oddly, take it once.\n\nIt is \\boxed{5}."
SECOND = SOLUTION.index("Then")
THIRD = SOLUTION.index("So")

ENDINGS: dict[str, dict[str, Any]] = {
    "vllm": {"style": "vllm"},
    "sglang": {"style": "sglang"},
    "llama": {"style": "llama"},
    "silent": {"style": "plain"},
    "silent and trimming": {"style": "plain", "trims": True},
    "llama 3 on vllm": {"style": "vllm", "trims": True, "continues": "flag"},
    "null": {"style": "plain", "finish_reasons": {"stop": None}},
    "STOP": {"style": "plain", "finish_reasons": {"stop": "STOP"}},
}


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(writes(SOLUTION)) as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)


def set_up(server: OpenAIServer, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(server, name, value)


def ask(
    server: OpenAIServer,
    steps: str = "",
    *,
    n: int = 1,
    to_end: bool = False,
    spending: Spending | None = None,
    **fields: Any,
) -> list[Completion]:
    values = {"api": "chat", "step_delimiter": "\n\n", "max_attempts": 3, **fields}

    async def sample() -> list[Completion]:
        async with CompletionClient(
            ServerAddress([server.url], ""), RolloutWorkerConfig(**values)
        ) as client:
            request = SampleRequest("Q Answer:", steps, n, to_end, seed=0)
            return await client.sample(request, spending or Spending())

    return asyncio.run(sample())


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_each_step_ends_as_the_server_wrote_it(server: OpenAIServer, kind: str, api: str):
    set_up(server, **ENDINGS[kind])

    (first,) = ask(server, api=api)
    (second,) = ask(server, SOLUTION[:SECOND], api=api)
    (third,) = ask(server, SOLUTION[:THIRD], api=api)

    assert first.text + second.text + third.text == SOLUTION
    assert [one.ending for one in (first, second, third)] == [
        Ending.STEP, Ending.STEP, Ending.SOLUTION,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_step_costs_one_further_request_at_most(server: OpenAIServer, kind: str):
    set_up(server, **ENDINGS[kind])

    for begun in ("", SOLUTION[:SECOND], SOLUTION[:THIRD]):
        asked = len(server.requests)
        ask(server, begun)

        assert len(server.requests) <= asked + 2


@pytest.mark.parametrize("style", ["vllm", "sglang", "plain"])
def test_a_long_step_after_a_trimmed_message_is_whole(server: OpenAIServer, style: Style):
    long = "First.\n\n" + "word " * 100 + "end.\n\nLast."
    set_up(server, style=style, trims=True, write=writes(long))

    (step,) = ask(server, "First.\n\n", max_tokens_per_step=200)

    assert step.text == "word " * 100 + "end.\n\n"
    assert step.ending is Ending.STEP
    assert "stop" not in server.requests[0]  # it would end the sample at once
    assert server.requests[1]["stop"] == ["\n\n"]


def test_a_step_beyond_its_limit_is_cut_there(server: OpenAIServer):
    set_up(server, trims=True, write=writes("First.\n\n" + "word " * 300))

    (step,) = ask(server, "First.\n\n", max_tokens_per_step=100)

    assert step.ending is Ending.LIMIT
    assert len(step.text.split()) <= 100


def test_a_model_that_writes_on_without_the_white_space_keeps_the_stored_text(
    server: OpenAIServer,
):
    set_up(server, trims=True, write=lambda prefix, seed: " and on.\n\nNext.")

    (step,) = ask(server, "First.\n\n")

    assert (step.text, step.ending) == (" and on.\n\n", Ending.STEP)


def test_a_model_that_ends_right_after_a_delimiter_has_ended(server: OpenAIServer):
    set_up(server, style="plain", write=writes("First.\n\n"))

    (step,) = ask(server)

    assert (step.text, step.ending) == ("First.", Ending.SOLUTION)


@pytest.mark.parametrize("trims", [True, False])
def test_a_model_that_has_nothing_to_add_ends_the_solution(server: OpenAIServer, *, trims: bool):
    set_up(server, trims=trims, write=writes("First.\n\n"))

    (step,) = ask(server, "First.\n\n")

    assert (step.text, step.ending) == ("", Ending.SOLUTION)


def test_several_samples_are_finished_one_by_one(server: OpenAIServer):
    set_up(server, style="plain", write=writes(SOLUTION, OTHER))

    steps = ask(server, n=4)

    assert sorted(step.text for step in steps) == sorted(
        [SOLUTION[:SECOND], OTHER[: OTHER.index("Then")]] * 2
    )


def test_whole_solutions_from_a_trimmed_step(server: OpenAIServer):
    set_up(server, trims=True)

    (rest,) = ask(server, SOLUTION[:SECOND], to_end=True)

    assert (rest.text, rest.ending) == (SOLUTION[SECOND:], Ending.SOLUTION)


FILTERED = {"message": {"content": None}, "finish_reason": "content_filter"}


def test_good_choices_are_kept_and_the_tokens_of_all_are_counted(server: OpenAIServer):
    server.spoil = lambda index, choice: choice.update(FILTERED if index == 1 else {})
    spending = Spending()

    steps = ask(server, n=3, to_end=True, spending=spending)

    assert [step.text for step in steps] == [SOLUTION] * 2
    assert spending.completion_tokens == 3 * len(SOLUTION.split())


def test_an_answer_without_a_good_choice_is_asked_with_another_seed_and_counted(
    server: OpenAIServer,
):
    server.spoil = lambda index, choice: choice.update(FILTERED)
    spending = Spending()

    with pytest.raises(RequestFailedError, match="a filter blocked it"):
        ask(server, to_end=True, spending=spending)

    assert len({asked["seed"] for asked in server.requests}) == 3
    assert spending.completion_tokens == 3 * len(SOLUTION.split())


@pytest.mark.parametrize("choice", [
    {"message": {"content": ""}, "finish_reason": "abort"},
    {"message": {"content": "half"}, "finish_reason": "error", "error": {"code": 502}},
])  # fmt: skip
def test_a_sample_that_the_server_broke_off_is_asked_again(
    server: OpenAIServer, choice: dict[str, Any]
):
    broken = iter([choice])
    server.spoil = lambda index, answered: answered.update(next(broken, {}))

    (whole,) = ask(server, to_end=True)

    assert (whole.text, whole.ending) == (SOLUTION, Ending.SOLUTION)


def grown(server: OpenAIServer, config: RolloutWorkerConfig) -> ReasoningTree:
    """Return a tree grown against the server, as a worker grows it."""
    tree = ReasoningTree()
    find_answer = partial(steps_to_answer, load_config("math_500").config)
    strategy = STRATEGIES[config.strategy](config, find_answer)

    async def grow() -> None:
        async with CompletionClient(ServerAddress([server.url], ""), config) as client:
            while plan := strategy.plan(tree):
                for expansion in plan:
                    request = SampleRequest(
                        "Q Answer:",
                        tree.steps_text(expansion.node),
                        expansion.num_samples,
                        expansion.to_end,
                        expansion.seed,
                    )
                    completions = await client.sample(request, Spending())
                    strategy.apply(tree, expansion, completions)

    asyncio.run(grow())
    return tree


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", ENDINGS)
def test_every_path_is_what_the_server_wrote(server: OpenAIServer, kind: str, strategy: str):
    """The bundled config for chat, whatever strategy: no blank leaf, none cut by accident."""
    set_up(server, **ENDINGS[kind], write=writes(SOLUTION, OTHER))
    worker_config = load_config("math_500").config.rollout_worker_config
    values = worker_config.as_dict() | {"strategy": strategy, "num_rollouts": 2}
    values |= {"rollouts_per_state": 2, "num_searches": 2}

    tree = grown(server, RolloutWorkerConfig.from_dict(values))

    leaves = tree.leaves()
    assert {tree.steps_text(leaf.path) for leaf in leaves} <= {SOLUTION, OTHER}
    assert all(leaf.terminal and leaf.text.strip() for leaf in leaves)
    assert all(node.text.strip() for node in tree if node.path)
