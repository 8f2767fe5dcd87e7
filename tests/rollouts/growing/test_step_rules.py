"""Growth with each kind of rule that ends a step, against a real HTTP server."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from experiment_configs.loading import load_config
from forests.models import Forest, Tree
from forests.seeding import seed_forest
from forests.storage.trees import iter_trees
from rollouts.probing.probes import THOUGHT_TOKENS
from rollouts.sampling import completion_client as client
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer, Style
from tests.rollouts.forests import reread

pytestmark = pytest.mark.django_db(transaction=True)

SOLUTION = " Let us see.\n\nStep 1: code\n\n```\na = 1\n\nb = 2\n```\n\nStep 2: so. The end\n#### 3"

CONFIG = """
import re
from experiment_configs.rollout.demo_arithmetic import Config as Demo, RolloutWorkerConfig
from experiment_configs.step_delimiters import NUMBERED_STEPS

class Config(Demo):
    rollout_worker_config = RolloutWorkerConfig(
        strategy={strategy!r}, branching=(2, 1), num_rollouts=2, rollouts_per_state=1,
        num_searches=1, concurrency=4, max_attempts=2, max_tokens_per_rollout=200, {settings}
    )
    {method}
"""
RULES = {
    "text": 'step_delimiter="\\n\\n"',
    "texts": 'step_delimiter=("\\n\\n", ". ")',
    "regex": 'step_delimiter=re.compile(r"\\n\\n+")',
    "numbered": "step_delimiter=NUMBERED_STEPS",
    "blocks": 'step_delimiter="\\n\\n", keep_blocks=True',
    "own": "",
}
STEPS = {
    "text": [" Let us see.\n\n", "Step 1: code\n\n", "```\na = 1\n\n", "b = 2\n```\n\n"],
    "texts": [" Let us see.\n\n", "Step 1: code\n\n", "```\na = 1\n\n", "b = 2\n```\n\n",
              "Step 2: so. ", "The end\n#### 3"],
    "regex": [" Let us see.\n\n", "Step 1: code\n\n", "```\na = 1\n\n", "b = 2\n```\n\n"],
    "numbered": [" Let us see.\n\n", "Step 1: code\n\n```\na = 1\n\nb = 2\n```\n\n"],
    "blocks": [" Let us see.\n\n", "Step 1: code\n\n", "```\na = 1\n\nb = 2\n```\n\n"],
    "own": [" Let us see.\n\nStep 1: code\n\n```\na = 1\n\nb = 2\n```\n\nStep 2: so."],
}  # fmt: skip
LAST = {"texts": [], "own": [" The end\n#### 3"]}
OWN = r"""
    def split_steps(self, text):
        head, mark, rest = text.partition("so.")
        return [head + mark, rest]
"""


LOSSY = """
    def split_steps(self, text):
        return text.split("so")
"""


@pytest.fixture
def configure(tmp_path: Path, settings):
    """Return a function that writes a config and seeds two trees of it."""
    settings.CONFIG_PATH = [tmp_path]

    def write(settings_: str, method: str = "", strategy: str = "branching") -> Forest:
        text = CONFIG.format(settings=settings_, method=method, strategy=strategy)
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        return seed_forest(load_config("mine", [tmp_path]), "train", "a", limit=2)

    return write


def write_on(prefix: str, seed: int) -> str:
    """Write the rest of the solution."""
    return SOLUTION.removeprefix(prefix.rpartition("Answer:")[2])


def paths(forest: Forest) -> list[list[str]]:
    return [
        [node.text for node in stored.tree.path_nodes(leaf.path)]
        for stored in iter_trees(reread(forest))
        for leaf in stored.tree.leaves()
    ]


@pytest.mark.parametrize("style", ["vllm", "llama", "fastchat"])
@pytest.mark.parametrize("strategy", ["branching", "sampled", "math_shepherd"])
@pytest.mark.parametrize("name", RULES)
def test_each_strategy_cuts_the_same_steps_of_what_the_server_wrote(
    model_server: OpenAIServer, configure, name: str, strategy: str, style: Style
):
    model_server.write, model_server.style = write_on, style
    forest = configure(RULES[name], OWN if name == "own" else "", strategy)

    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}

    expected = STEPS[name] + LAST.get(name, ["Step 2: so. The end\n#### 3"])
    assert {tuple(path) for path in paths(forest)} == {tuple(expected)}
    assert "".join(expected) == SOLUTION
    assert {leaf.answer for one in iter_trees(forest) for leaf in one.tree.leaves()} == {"3"}


def test_a_server_is_asked_to_stop_at_each_of_several_texts(model_server, configure):
    model_server.write = write_on
    grow_slice(configure(RULES["texts"]).name, 0, 2)

    assert {tuple(asked["stop"]) for asked in model_server.requests} == {("\n\n", ". ")}


def test_what_is_drawn_beyond_a_step_is_counted(model_server: OpenAIServer, configure):
    model_server.write = write_on
    by_text = configure(RULES["text"])
    grow_slice(by_text.name, 0, 2)
    spent = reread(by_text).completion_tokens
    Tree.objects.all().delete()
    Forest.objects.all().delete()
    by_regex = configure(RULES["regex"])
    model_server.requests.clear()
    grow_slice(by_regex.name, 0, 2)

    assert all("stop" not in asked for asked in model_server.requests)
    assert reread(by_regex).completion_tokens > spent


@pytest.mark.parametrize(
    ("settings_", "method", "complaint"),
    [
        ("", LOSSY, "split_steps must return steps"),
        ("", LOSSY.replace("split(", "cut("), "split_steps failed: AttributeError"),
        ('step_delimiter=re.compile(r"(([a-z]| )+)+#\\n")', "", "needs more than 0.5 s"),
    ],
    ids=["lossy", "failing", "slow"],
)  # fmt: skip
def test_a_rule_that_fails_fails_the_tree_in_one_line_and_verify_config_says_so_before(
    model_server: OpenAIServer, configure, settings_: str, method: str, complaint: str
):
    model_server.write = lambda prefix, seed: "so. " + "it is very easy to see " * 3
    forest = configure(settings_, method)
    out = io.StringIO()

    with pytest.raises(CommandError, match="1 checks failed"):
        call_command(
            "verify_config", "--config_name", "mine", "--dataset_split", "train", stdout=out
        )
    (line,) = [line for line in out.getvalue().splitlines() if line.startswith("FAIL steps: ")]
    assert complaint in line
    assert grow_slice(forest.name, 0, 2) == {"complete": 0, "failed": 2}
    for tree in Tree.objects.all():
        assert complaint in tree.error
        assert len(tree.error.splitlines()) == 1


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("strategy", ["branching", "math_shepherd"])
def test_a_server_that_never_says_which_of_several_delimiters_it_met_is_cut_here(
    model_server: OpenAIServer, configure, strategy: str, api: str
):
    model_server.write, model_server.style = write_on, "plain"
    forest = configure(f"{RULES['texts']}, api={api!r}, logprobs=False", strategy=strategy)

    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}

    expected = STEPS["texts"][1:] if api == "chat" else STEPS["texts"]
    assert {tuple(path[-len(expected) :]) for path in paths(forest)} == {tuple(expected)}


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_long_steps_that_are_cut_here_come_in_pieces(
    model_server: OpenAIServer, configure, api: str
):
    """Each piece is twice as long as the one before. None is asked for after the step has ended."""
    words = " " + " ".join(f"w{number}" for number in range(150))
    steps = [f"{words}.\n\n", "b. ", "#### 3"]
    whole = "".join(steps)
    model_server.style = "plain"
    model_server.write = lambda prefix, seed: whole.removeprefix(prefix.rpartition("Answer:")[2])
    forest = configure(f"{RULES['texts']}, api={api!r}, logprobs=False, max_tokens_per_step=500")

    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}

    texts = {"".join(path) for path in paths(forest)}
    assert {text.strip() for text in texts} == {whole.strip()}
    pieces = [asked["max_tokens"] for asked in model_server.requests if "stop" not in asked]
    assert {most for most in pieces if 64 <= most < THOUGHT_TOKENS} == {64, 128}


@pytest.mark.parametrize("limit", [2, 3, 4])
@pytest.mark.parametrize("style", ["vllm", "plain"])
def test_a_delimiter_that_lies_on_the_border_of_two_pieces_ends_the_step(
    model_server: OpenAIServer, configure, monkeypatch, style: Style, limit: int
):
    """The server sees only the second half, and does not recognise it as a delimiter."""
    monkeypatch.setattr(client, "_TOKENS_WITHOUT_STOP", limit)
    model_server.style = style
    whole = " a b c. \n d e.\n f. \n g h. \n #### 3"
    model_server.write = lambda prefix, seed: whole[len(prefix.rpartition("Answer:")[2]) :]
    forest = configure('step_delimiter=(". \\n", "never"), logprobs=False')
    expected = [" a b c. \n", " d e.\n f. \n", " g h. \n", " #### 3"]

    assert grow_slice(forest.name, 0, 2) == {"complete": 2, "failed": 0}

    assert {tuple(path) for path in paths(forest)} == {tuple(expected)}


def test_verify_config_shows_how_a_rollout_is_cut(model_server: OpenAIServer, configure):
    unanswered = SOLUTION.removesuffix("\n#### 3")
    model_server.write = lambda prefix, seed: unanswered + "\n\nand on" * 3 + " and on" * 50
    configure(RULES["blocks"])
    out = io.StringIO()
    words: list[Any] = ["--config_name", "mine", "--dataset_split", "train", "--with_backend"]
    call_command("verify_config", *words, stdout=out)

    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert r"step 1 of 7: ' Let us see.\n\n'" in lines
    assert r"step 3 of 7: '```\na = 1\n\nb = 2\n```\n\n'" in lines
    assert "step … and 2 more" in lines
    assert (
        r"ok   steps: they end with '\n\n', blocks stay whole; servers cannot stop there, so "
        "each step is drawn to max_tokens_per_step and cut" in lines
    )
