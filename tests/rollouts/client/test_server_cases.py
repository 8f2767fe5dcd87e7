"""Cases from public reports about model servers, models and data: each has its test.

`data/server_cases.jsonl` has a line for each. `says` describes the case, and `class` what goes
wrong if it is not handled; cases of the class `-` never went wrong. A case either has the parsed
JSON of an `answer` and its `expected` meaning, or it names the `test` that tries it.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core import checks
from PIL import Image

from common.errors import UserError
from experiment_configs.dataset_files import iter_split
from experiment_configs.interfaces import ConfigError, RolloutConfig
from experiment_configs.loading import load_config
from forests.models import Forest, Node, Tree
from forests.seeding import seed_forest
from forests.storage.trees import iter_trees
from rollouts.growth_arguments import check_backend
from rollouts.protocol.responses import ResponseError, StopRules, read_completions, read_usage
from rollouts.steps.rules import StepRule
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import assert_whole, reread, seeded

DATA = Path(__file__).parent / "data/server_cases.jsonl"
CASES = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
ANSWERS = [case for case in CASES if "answer" in case]
ROOT = Path(__file__).parents[3]

NUM_CASES = 150
PER_CLASS = {"-": 66, "A": 16, "B": 11, "C": 6, "D": 15, "E": 9, "F": 5, "G": 2, "H": 3, "I": 9,
             "J": 3, "K": 5}  # fmt: skip


def name_of(case: dict[str, Any]) -> str:
    return f"{case['case']} {case['says']}"


def test_each_case_is_there_once():
    assert [case["case"] for case in CASES] == list(range(1, NUM_CASES + 1))
    assert len({case["says"] for case in CASES}) == NUM_CASES
    assert Counter(case["class"] for case in CASES) == PER_CLASS


def test_each_named_test_exists():
    for case in CASES:
        if "answer" not in case:
            path, _, name = case["test"].partition("::")
            source = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"def {name}\(", source), name_of(case)


@pytest.mark.parametrize("case", ANSWERS, ids=name_of)
def test_an_answer_means_what_is_expected(case: dict[str, Any]):
    expected = case["expected"]
    rules = StopRules(
        prefix="",
        stop=(),
        step_rule=StepRule("\n\n") if case["ask"] == "step" else None,
        max_tokens=100,
    )
    if "error" in expected:
        with pytest.raises(ResponseError, match=expected["error"]):
            read_completions(case["answer"], rules)
        return

    samples, usage = read_completions(case["answer"], rules)

    assert [[one.text, str(one.ending), one.thought] for one in samples] == expected["samples"]
    assert usage == read_usage(case["answer"])
    if "spent" in expected:
        assert usage.completion_tokens == expected["spent"]
    if "tokens" in expected:
        assert [samples[0].tokens, samples[0].thought_tokens] == expected["tokens"]


@pytest.mark.django_db(transaction=True)
class TestGrowth:
    @pytest.mark.parametrize("most", [1, 2])
    def test_a_server_that_gives_fewer_samples_is_asked_for_the_rest(
        self, model_server: OpenAIServer, most: int
    ):
        model_server.most_samples = most
        forest = seeded(2)

        grow_slice(forest.name, 0, 2)

        assert_whole(forest)
        asked = [*model_server.probes, *model_server.requests]
        assert max(body["n"] for body in asked) > most

    def test_a_web_page_in_place_of_an_answer_names_the_setting(self, model_server: OpenAIServer):
        model_server.listing = "<html><body>Welcome</body></html>"

        with pytest.raises(UserError, match="did not answer with JSON: check OPENAI_BASE_URL"):
            check_backend(seeded(1))

    def test_without_a_name_the_first_of_many_models_is_asked_for_and_shown(
        self, model_server: OpenAIServer
    ):
        model_server.models = [f"vendor/model-{number}" for number in range(400)]
        forest = seeded(1, model=None)

        check_backend(forest)
        grow_slice(forest.name, 0, 1)

        assert {asked["model"] for asked in model_server.requests} == {"vendor/model-0"}
        assert set(Node.objects.filter(depth=1).values_list("model", flat=True)) == {
            "vendor/model-0"
        }

    def test_an_answer_of_a_megabyte_is_stored(self, model_server: OpenAIServer):
        long = "word " * 200_000
        model_server.write = lambda prefix, seed: f"{long}\n#### {seed % 2}\n"
        forest = seeded(
            1, strategy="sampled", num_rollouts=2, max_tokens_per_rollout=10**6,
            request_timeout_seconds=60,
        )  # fmt: skip

        assert grow_slice(forest.name, 0, 1) == {"complete": 1, "failed": 0}

        (stored,) = iter_trees(reread(forest))
        assert {len(node.text) for node in stored.tree if node.depth == 1} == {len(long) + 1}

    def test_a_text_of_numpy_is_an_answer(
        self, model_server: OpenAIServer, tmp_path: Path, settings
    ):
        settings.CONFIG_PATH = [tmp_path]
        (tmp_path / "own.py").write_text(
            "import numpy\n"
            "from experiment_configs.rollout.demo_arithmetic import Config as Demo\n\n"
            "class Config(Demo):\n"
            "    def extract_answer(self, completion):\n"
            "        return numpy.str_(completion.split()[-1])\n",
            encoding="utf-8",
        )
        forest = seed_forest(load_config("own", [tmp_path]), "train", "a", limit=1)

        assert grow_slice(forest.name, 0, 1) == {"complete": 1, "failed": 0}

        (stored,) = iter_trees(reread(forest))
        assert {leaf.answer for leaf in stored.tree.leaves()} == {"0", "1"}

    def test_equal_samples_are_one_node_with_their_number(self, model_server: OpenAIServer):
        """Some servers draw the same sample n times if they get a seed."""
        model_server.write = lambda prefix, seed: "#### 1\n"
        forest = seeded(1, strategy="sampled", num_rollouts=8)

        grow_slice(forest.name, 0, 1)

        (leaf,) = next(iter_trees(reread(forest))).tree.leaves()
        assert leaf.count == 8


class OneItem(RolloutConfig):
    """A data set of one item of any kind."""

    def __init__(self, item: Any) -> None:
        self.item = item

    def get_dataset_iterator(self, dataset_split: str) -> Iterator[Any]:
        yield self.item

    def get_root_prompt(self, item: Any) -> str:
        return str(item.get("prompt", "Q?"))

    def get_label(self, item: Any) -> Any:
        return item.get("label", "1")


def seed_one(item: Any) -> Forest:
    loaded = load_config("demo_arithmetic")
    return seed_forest(replace(loaded, name="one", config=OneItem(item)), "test", "a")


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE


@pytest.mark.django_db(transaction=True)
class TestItems:
    @pytest.mark.parametrize(
        "item",
        [
            {"when": datetime(2026, 11, 29, tzinfo=UTC), "day": date(2026, 11, 29)},
            {"raw": b"\x00\xff"},
            {"image": Image.new("RGB", (2, 2))},
            {"values": [float("nan"), float("inf")]},
            {"large": 2**80},
            {"exact": Decimal("0.1")},
            {"array": np.arange(3), "number": np.float32(0.5)},
            {"a.b": 1, "$set": 2},
            {"prompt": "Q\0?"},
            {"label": np.str_("1")},
        ],
        ids=["dates", "bytes", "image", "nan", "large", "decimal", "numpy", "keys", "nul", "label"],
    )
    def test_an_item_that_a_dataset_may_hold_is_seeded(self, item: dict[str, Any]):
        forest = seed_one(item)

        tree = Tree.objects.get(forest_id=forest.name)
        assert (tree.prompt, tree.label) == (item.get("prompt", "Q?"), "1")
        assert next(iter(item)) in tree.item

    @pytest.mark.parametrize(
        "item",
        [{(1, 2): 1}, {date(2026, 1, 1): 1}, {b"a": 1}, CYCLE, {"label": 7}],
        ids=["tuples", "dates", "bytes", "cycle", "label"],
    )
    def test_an_item_that_cannot_be_shown_is_one_line_and_nothing_stays(self, item: dict[Any, Any]):
        with pytest.raises(ConfigError, match=r"^item 0: ") as caught:
            seed_one(item)

        assert len(str(caught.value).splitlines()) == 1
        assert (Forest.objects.count(), Tree.objects.count()) == (0, 0)

    def test_a_dataset_that_warns_is_seeded(self):
        class Warns(OneItem):
            def get_dataset_iterator(self, dataset_split: str) -> Iterator[Any]:
                logging.getLogger("datasets").warning("`trust_remote_code` is not supported")
                yield from super().get_dataset_iterator(dataset_split)

        loaded = load_config("demo_arithmetic")
        forest = seed_forest(
            replace(loaded, name="one", config=Warns({"a": 1})),
            "test",
            "a",
        )

        assert forest.num_trees == 1


@pytest.mark.parametrize(
    "lines",
    [
        ['{"answer": "one"}', '{"answer": 2}'],
        ['{"answer": "one"}'] * 700 + ['{"answer": 2}'],
        ['{"answer": 1.5}', '{"answer": NaN}'],
    ],
    ids=["text, then a number", "a number after 700 texts", "NaN"],
)
def test_json_lines_of_mixed_columns_are_loaded(tmp_path: Path, monkeypatch, lines: list[str]):
    (tmp_path / "test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setenv("MIXED_DATA_DIR", str(tmp_path))

    items = list(iter_split("mixed", "test", directory_setting="MIXED_DATA_DIR"))

    assert len(items) == len(lines)


def test_an_origin_without_a_scheme_is_told(settings):
    settings.CSRF_TRUSTED_ORIGINS = ["site.example.org"]

    assert "4_0.E001" in {str(message.id) for message in checks.run_checks()}
