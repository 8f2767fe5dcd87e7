"""Thoughts are stored and counted apart and never graded, wherever a server puts them."""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from experiment_configs.loading import load_config
from experiment_configs.step_delimiters import stored_delimiter
from experiment_configs.stop_at_answer import steps_to_answer
from forests.core.tree import Grade, ReasoningTree, TreeNode
from forests.models import Tree
from forests.storage.trees import iter_trees
from rollouts.client import failures
from rollouts.client.failures import BackendRefusedError, RequestFailedError
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.protocol.responses import StopRules, read_completions
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.steps.completions import Completion, Ending
from rollouts.steps.rules import StepRule
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import split_off_thought
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer, Style, Thoughts, writes
from tests.rollouts.forests import assert_whole, reread, seeded

THOUGHT = "\nTwo and five.\n\nMaybe the answer is \\boxed{20}.\n\nWait, it is twice.\n"
SAID = "\n\nFirst, add: 7.\n\nThen twice: \\boxed{14}."
OTHER_SAID = "\n\nAdd to 7.\n\nIt is \\boxed{7}."
WRITTEN = f"<think>{THOUGHT}</think>{SAID}"
OTHER = f"<think>\nAdd.\n</think>{OTHER_SAID}"
SPLIT: list[Thoughts] = ["reasoning", "reasoning_content", "parts"]
EVERYWHERE: list[Thoughts] = ["content", *SPLIT]
DELIMITERS: list[Any] = [
    "\n\n",
    ("\n\n", ". "),
    re.compile(r"\n\n+"),
    re.compile(r"\n+(?=Then|It)"),
]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(writes(WRITTEN, OTHER)) as server:
        server.continues = "flag"
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)


def config_of(**fields: Any) -> RolloutWorkerConfig:
    values = load_config("math_500").config.rollout_worker_config.as_dict()
    few = {"num_rollouts": 2, "rollouts_per_state": 2, "num_searches": 2, "max_attempts": 3}
    return RolloutWorkerConfig.from_dict(values | few | fields)


def ask(
    server: OpenAIServer,
    steps: str = "",
    *,
    prompt: Prompt = "Q Answer:",
    n: int = 1,
    to_end: bool = False,
    spending: Spending | None = None,
    **fields: Any,
) -> list[Completion]:
    async def sample() -> list[Completion]:
        async with CompletionClient(ServerAddress([server.url], ""), config_of(**fields)) as client:
            request = SampleRequest(prompt, steps, n, to_end, seed=0)
            return await client.sample(request, spending or Spending())

    return asyncio.run(sample())


def grown(server: OpenAIServer, prompt: Prompt = "Q Answer:", **fields: Any) -> ReasoningTree:
    """Return a tree grown against the server, as a worker grows it."""
    config, tree = config_of(**fields), ReasoningTree()
    find_answer = partial(steps_to_answer, load_config("math_500").config)
    strategy = STRATEGIES[config.strategy](config, find_answer)

    async def grow() -> None:
        async with CompletionClient(ServerAddress([server.url], ""), config) as client:
            while plan := strategy.plan(tree):
                for expansion in plan:
                    thought, steps = split_off_thought(tree, expansion.node)
                    request = SampleRequest(
                        prompt,
                        steps,
                        expansion.num_samples,
                        expansion.to_end,
                        expansion.seed,
                        thought=thought,
                    )
                    completions = await client.sample(request, Spending())
                    strategy.apply(tree, expansion, completions)

    asyncio.run(grow())
    return tree


def path_texts(tree: ReasoningTree) -> set[str]:
    return {tree.steps_text(leaf.path) for leaf in tree.leaves()}


def solutions(tree: ReasoningTree) -> set[str]:
    """Return the solutions without outer blanks: a line break may belong to the thought before."""
    return {tree.solution_text(leaf.path).strip() for leaf in tree.leaves()}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("thoughts", EVERYWHERE)
def test_whole_trees_grow_over_chat_wherever_the_server_puts_thoughts(
    server: OpenAIServer, thoughts: Thoughts, strategy: str
):
    """As vLLM with Qwen3's parser on or off, for a bundled config: each path is what it wrote."""
    server.thoughts = thoughts

    tree = grown(server, strategy=strategy)

    written = {WRITTEN, OTHER}
    if thoughts != "content":
        written = {text.removeprefix("<think>").replace("</think>", "") for text in written}
    assert path_texts(tree) <= written
    assert solutions(tree) <= {SAID.strip(), OTHER_SAID.strip()}
    assert all(leaf.terminal and leaf.text.strip() for leaf in tree.leaves())
    assert all(node.text.strip() for node in tree if node.path)
    assert all(node.is_thought is (node.depth == 1) for node in tree if node.path)


@pytest.mark.parametrize("thoughts", EVERYWHERE)
@pytest.mark.parametrize("style", ["vllm", "plain"])
@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_thoughts_stay_apart_whatever_ends_a_step(
    server: OpenAIServer, delimiter: Any, style: Style, thoughts: Thoughts
):
    server.thoughts, server.style = thoughts, style

    tree = grown(server, step_delimiter=stored_delimiter(delimiter))

    assert solutions(tree) <= {SAID.strip(), OTHER_SAID.strip()}
    assert all(leaf.terminal for leaf in tree.leaves())
    assert all(node.is_thought is (node.depth == 1) for node in tree if node.path)
    rule = StepRule(delimiter)
    for leaf in tree.leaves():
        said = [node.text for node in tree.path_nodes(leaf.path) if not node.is_thought]
        assert said == rule.split("".join(said))


@pytest.mark.parametrize("reasoning", ["grow", "fold"])
@pytest.mark.parametrize("is_opened", [True, False])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_whole_trees_grow_over_completions(
    server: OpenAIServer, strategy: str, reasoning: str, *, is_opened: bool
):
    """The prompt holds the chat template, which may open the thought."""
    opening = "<think>" if is_opened else ""

    tree = grown(
        server, f"Q Answer:{opening}", strategy=strategy, reasoning=reasoning, api="completions"
    )

    written = {text.removeprefix(opening) for text in (WRITTEN, OTHER)}
    assert path_texts(tree) <= written
    assert solutions(tree) <= {SAID.strip(), OTHER_SAID.strip()}
    assert all(leaf.terminal for leaf in tree.leaves())
    numbers = {sum(node.is_thought for node in tree.path_nodes(x.path)) for x in tree.leaves()}
    assert numbers <= ({1} if reasoning == "fold" else {1, 3})


@pytest.mark.parametrize("thoughts", EVERYWHERE)
@pytest.mark.parametrize(("reasoning", "thought_steps"), [("grow", 3), ("fold", 1), ("drop", 0)])
def test_a_thought_grows_is_folded_or_dropped(
    server: OpenAIServer, thoughts: Thoughts, reasoning: str, thought_steps: int
):
    server.thoughts, server.write = thoughts, writes(WRITTEN)

    tree = grown(server, strategy="sampled", num_rollouts=1, reasoning=reasoning)

    nodes = [node for node in tree if node.path]
    assert [node.is_thought for node in nodes] == [True] * thought_steps + [False] * 2
    assert tree.solution_text(nodes[-1].path) == SAID
    assert nodes[-1].terminal


STEPWISE = sorted(set(STRATEGIES) - {"sampled"})
NO_DROPPING = r"without its thought.*reasoning='fold'.*--thoughts drop"


@pytest.mark.parametrize("thoughts", EVERYWHERE)
@pytest.mark.parametrize("strategy", STEPWISE)
def test_a_thought_that_what_comes_next_needs_is_not_dropped(
    server: OpenAIServer, thoughts: Thoughts, strategy: str
):
    """Without the thought the model continues differently: the samples' distribution changes."""
    server.thoughts = thoughts

    with pytest.raises(BackendRefusedError, match=NO_DROPPING):
        grown(server, reasoning="drop", strategy=strategy)

    assert len(server.requests) <= 2


@pytest.mark.parametrize("prompt", ["Q Answer:", "Q Answer:<think>"])
def test_nor_is_it_over_completions(server: OpenAIServer, prompt: str):
    with pytest.raises(BackendRefusedError, match=NO_DROPPING):
        grown(server, prompt, reasoning="drop", api="completions")

    assert len(server.requests) == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_where_a_model_does_not_think_nothing_is_dropped_and_all_grow(
    server: OpenAIServer, api: str, strategy: str
):
    server.write = writes(SAID, OTHER_SAID)

    tree = grown(server, reasoning="drop", strategy=strategy, api=api)

    assert path_texts(tree) <= {SAID, OTHER_SAID}
    assert all(leaf.terminal for leaf in tree.leaves())


@pytest.mark.parametrize("reasoning", ["grow", "fold"])
@pytest.mark.parametrize("strategy", STEPWISE)
@pytest.mark.parametrize("thoughts", EVERYWHERE)
@pytest.mark.parametrize(
    ("style", "trims"), [("vllm", True), ("llama", False), ("sglang", False), ("plain", True)]
)
def test_paths_over_chat_are_what_the_server_wrote_or_are_refused(
    server: OpenAIServer,
    style: Style,
    trims: bool,
    thoughts: Thoughts,
    strategy: str,
    reasoning: str,
):
    """Whatever the server repeats, splits off, trims or says of the end."""
    server.style, server.thoughts, server.trims = style, thoughts, trims

    tree = None
    with contextlib.suppress(BackendRefusedError):
        tree = grown(server, strategy=strategy, reasoning=reasoning)

    assert tree or reasoning == "grow"
    if tree is None:
        return
    written = {WRITTEN, OTHER}
    if thoughts != "content":
        written = {text.removeprefix("<think>").replace("</think>", "") for text in written}
    assert path_texts(tree) <= written
    assert all(leaf.terminal and leaf.text.strip() for leaf in tree.leaves())


@pytest.mark.parametrize("thoughts", EVERYWHERE)
def test_no_rollout_is_drawn_from_the_middle_of_a_thought_over_chat(
    server: OpenAIServer, thoughts: Thoughts
):
    server.thoughts, server.write = thoughts, writes(WRITTEN)

    with pytest.raises(BackendRefusedError, match=r"reasoning='fold'.*api='completions'"):
        grown(server, strategy="math_shepherd", reasoning="grow")

    assert all(asked["messages"][-1]["role"] == "user" for asked in server.requests)


UNOPENED = f"Hm, two.\n\nAnd so on.\n</think>{SAID}"


@pytest.mark.parametrize("strategy", STEPWISE)
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_steps_of_a_thought_that_nothing_opened_are_not_taken_for_the_answers(
    server: OpenAIServer, api: str, strategy: str
):
    """R1's template opens the thought, so no text shows the thought before it ends."""
    # No step of this thought answers. verify_config sees a thought even where its steps answer.
    server.write = writes(UNOPENED)
    is_known_at_once = api == "completions" and strategy != "branching"

    if is_known_at_once:  # whole solutions come first, and the server gets back what it wrote
        assert path_texts(grown(server, api=api, strategy=strategy)) == {UNOPENED}
        return
    with pytest.raises(RequestFailedError, match=r"nothing opened.*end the prompt with the"):
        grown(server, api=api, strategy=strategy)


def test_a_thought_with_and_without_line_breaks_after_it_is_one_node(server: OpenAIServer):
    """One sample ends with the delimiter after the thought, another with the thought itself."""
    thought = "<think>\nAdd.\n</think>"

    def write(prefix: str, seed: int) -> str:
        written = prefix.rpartition("Answer:")[2]
        whole = f"{thought}\n\nIt is \\boxed{{7}}."
        return thought + "\n\n" if not written and seed % 2 else whole[len(written) :]

    server.write, server.style = write, "vllm"

    tree = grown(server, api="completions", branching=(4, 1))

    (node,) = tree.children(())
    assert (node.text, node.count) == (thought, 4)
    assert path_texts(tree) == {f"{thought}\n\nIt is \\boxed{{7}}."}


@pytest.mark.parametrize("thoughts", SPLIT)
def test_a_thought_that_is_split_off_goes_back_the_way_it_came(
    server: OpenAIServer, thoughts: Thoughts
):
    server.thoughts = thoughts

    grown(server, branching=(1,))

    asked = [body["messages"][-1] for body in server.requests]
    continued = [
        one
        for one in asked
        if (one["role"] == "assistant" and "Add to" in str(one)) or "First, add" in str(one)
    ]
    assert continued
    for message in continued:
        if thoughts == "parts":
            assert [part["type"] for part in message["content"]] == ["thinking", "text"]
        else:
            assert message[thoughts].strip()
            assert "<think>" not in message["content"]


@pytest.mark.parametrize("thoughts", EVERYWHERE)
def test_a_thought_over_chat_cannot_be_grown_step_by_step(server: OpenAIServer, thoughts: Thoughts):
    server.thoughts = thoughts

    with pytest.raises(BackendRefusedError, match=r"reasoning='fold'.*api='completions'"):
        ask(server, reasoning="grow")

    assert len(server.requests) == 1


@pytest.mark.parametrize("thoughts", EVERYWHERE)
@pytest.mark.parametrize("strategy", ["sampled", "branching"])
def test_a_sample_that_is_cut_in_its_thought_is_truncated_and_keeps_it(
    server: OpenAIServer, thoughts: Thoughts, strategy: str
):
    server.thoughts = thoughts
    server.write = lambda prefix, seed: "<think>Maybe the answer is \\boxed{20}. " + "Wait. " * 600

    tree = grown(
        server, strategy=strategy, num_rollouts=1, branching=(1,), max_tokens_per_rollout=100
    )

    (leaf,) = tree.leaves()
    assert (leaf.truncated, leaf.terminal, leaf.is_thought) == (True, False, True)
    assert leaf.finish_reason == "length"
    assert "Maybe" in leaf.text
    assert tree.solution_text(leaf.path) == ""


@pytest.mark.parametrize("thoughts", SPLIT)
def test_one_sample_that_still_thinks_does_not_take_the_others_with_it(
    server: OpenAIServer, thoughts: Thoughts
):
    server.thoughts = thoughts
    long = "<think>" + "Hm. " * 300
    server.write = lambda prefix, seed: long if seed % 3 == 1 else WRITTEN
    spending = Spending()

    samples = ask(
        server, n=3, to_end=True, max_tokens_per_rollout=100, logprobs=False, spending=spending
    )

    assert [sample.ending for sample in samples] == [
        Ending.SOLUTION, Ending.LIMIT, Ending.SOLUTION,
    ]  # fmt: skip
    assert spending.completion_tokens >= 100


def test_an_answer_that_a_parser_took_for_thought_names_the_field(server: OpenAIServer):
    server.thoughts = "reasoning"
    server.write = lambda prefix, seed: "<think>It is 14."

    with pytest.raises(RequestFailedError, match="a thought in `reasoning` but no answer"):
        ask(server, to_end=True)


WHOLE = StopRules(prefix="", stop=(), step_rule=None)


def test_listed_tokens_of_a_thought_belong_to_it():
    tokens = ["<think>", "Hm", " 7.", "</think>", "\n\n", "It is", " 7.", "<|im_end|>"]
    choice = {
        "message": {"content": "\n\nIt is 7.", "reasoning": "Hm 7."},
        "logprobs": {"content": [{"token": token, "logprob": -1.0} for token in tokens]},
        "finish_reason": "stop",
    }

    ((one,), _) = read_completions({"choices": [choice]}, WHOLE)

    assert (one.thought_tokens, one.tokens) == (5, 3)
    assert one.token_logprobs == (("It is", -1.0), (" 7.", -1.0), ("<|im_end|>", -1.0))


@pytest.mark.parametrize("details", [{"completion_tokens_details": {"reasoning_tokens": 90}}, {}])
def test_counted_tokens_of_a_thought_belong_to_it(details: dict[str, Any]):
    choice = {
        "message": {"content": "x" * 10, "reasoning_content": "y" * 90}, "finish_reason": "stop"
    }  # fmt: skip
    response = {"choices": [choice], "usage": {"completion_tokens": 100, **details}}

    ((one,), _) = read_completions(response, WHOLE)

    assert (one.thought_tokens, one.tokens) == (90, 10)


def test_the_solution_is_what_is_no_thought():
    tree = ReasoningTree()
    tree.add(TreeNode((0,), "<think>20</think>", is_thought=True))
    tree.add(TreeNode((0, 0), " 14"))

    assert tree.steps_text((0, 0)) == "<think>20</think> 14"
    assert tree.solution_text((0, 0)) == " 14"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("strategy", ["branching", "sampled"])
@pytest.mark.parametrize("thoughts", ["content", "reasoning"])
def test_a_forest_stores_thoughts_and_grades_what_comes_after_them(
    model_server: OpenAIServer, thoughts: Thoughts, strategy: str
):
    def write(prefix: str, seed: int) -> str:
        written = prefix.rpartition("Answer:")[2]
        whole = f"<think>Maybe #### 20?\n\nNo.</think>\n\nAdd.\n#### {seed % 2}"
        return whole[len(written) :] if len(written) < len(whole) else ""

    model_server.write, model_server.thoughts = write, thoughts
    forest = seeded(2, api="chat", strategy=strategy, num_rollouts=4)

    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}

    assert_whole(forest)
    for stored in iter_trees(reread(forest)):
        assert any(node.is_thought and "20" in node.text for node in stored.tree)
        assert {leaf.answer for leaf in stored.tree.leaves()} <= {"0", "1"}
        assert not any(leaf.grade is Grade.UNANSWERED for leaf in stored.tree.leaves())


@pytest.mark.django_db(transaction=True)
def test_tokens_of_answers_without_a_sample_count_against_the_limits(model_server: OpenAIServer):
    model_server.spoil = lambda index, choice: choice.update(
        {"message": {"content": None, "refusal": "no"}}
    )
    forest = seeded(1, api="chat", strategy="sampled", num_rollouts=2)

    assert grow_slice(forest.name, 0, 1) == {"complete": 0, "failed": 1}

    assert Tree.objects.get().completion_tokens > 0
    assert reread(forest).completion_tokens == Tree.objects.get().completion_tokens
    assert "the model refused" in Tree.objects.get().error
