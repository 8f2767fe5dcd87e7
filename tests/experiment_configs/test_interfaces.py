import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from experiment_configs.interfaces import ConfigError, RolloutConfig, RolloutWorkerConfig
from experiment_configs.worker_settings import WorkerSettings


class Plain(RolloutConfig):
    def get_dataset_iterator(self, dataset_split: str) -> Iterator[Any]:
        yield {"question": "é?"}

    def get_root_prompt(self, item: Any) -> str:
        return str(item["question"])

    def get_label(self, item: Any) -> str:
        return "1"


class OwnExtraction(Plain):
    def extract_answer(self, completion: str) -> str | None:
        return completion


def test_a_worker_config_survives_storing():
    config = RolloutWorkerConfig(stop=("a", "b"), branching=(3, 1), extra_body={"min_p": 0.1})

    assert RolloutWorkerConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_a_stored_config_of_another_version_is_refused():
    with pytest.raises(ConfigError, match="unknown worker setting warp"):
        RolloutWorkerConfig.from_dict({"warp": 9})


def test_the_last_branching_number_serves_deeper_nodes():
    config = RolloutWorkerConfig(branching=(4, 2))

    assert [config.branching_at(depth) for depth in range(4)] == [4, 2, 2, 2]


def test_the_defaults_have_no_problems():
    assert RolloutWorkerConfig().problems() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api", "grpc"), ("step_delimiter", ""), ("stop", ["a"]), ("stop", ("",)),
        ("temperature", 3), ("top_p", 0), ("branching", ()), ("branching", (0,)),
        ("max_depth", 0), ("num_rollouts", True), ("request_timeout_seconds", -1), ("model", ""),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_named_with_its_rule(name: str, value: Any):
    (problem,) = RolloutWorkerConfig(**{name: value}).problems()

    assert problem.startswith(f"rollout_worker_config.{name} is {value!r}: it must be ")


def test_all_problems_are_told_at_once():
    assert len(RolloutWorkerConfig(temperature=-1, max_depth=0, stop=[]).problems()) == 3  # type: ignore[arg-type]


def test_every_setting_has_a_rule():
    assert list(WorkerSettings.__annotations__) == [one.name for one in fields(RolloutWorkerConfig)]


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("max_depth", 1.0, "a whole number of at least 1"),
        ("concurrency", 0, "a whole number of at least 1, or None"),
        ("temperature", "x", "a number from 0 to 2"),
        ("temperature", float("nan"), "a number from 0 to 2"),
        ("top_p", 0, "a number above 0, up to 1"),
        ("api", "grpc", "one of chat, completions"),
        ("keep_blocks", 1, "True or False"),
        ("stop_at_answer", 1, "True or False, or None"),
        ("seed", True, "a whole number"),
        ("stop", ("",), "a tuple, each entry a text that is not empty"),
        ("branching", (4, 0), "a tuple with at least one entry, each entry a whole number of at "
         "least 1"),
        ("step_delimiter", (), "a text, a tuple of texts, or a regular expression such as "
         r"re.compile(r'\n+')"),
    ],
)  # fmt: skip
def test_a_rule_is_told_in_words(name: str, value: Any, rule: str):
    (problem,) = RolloutWorkerConfig(**{name: value}).problems()

    assert problem == f"rollout_worker_config.{name} is {value!r}: it must be {rule}"


def test_a_long_value_is_shown_in_part():
    for value in ("x" * 10**6, 10**5000):
        (problem,) = RolloutWorkerConfig(temperature=value).problems()  # type: ignore[arg-type]

        assert len(problem) < 300


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("extra_body", {"api_key": "sk-1", "a": {1}}),
        ("extra_body", {"headers": {"Authorization": "Bearer sk-1", "t": (1,)}}),
        ("extra_body", {"api_key": b"sk-1"}),
        ("extra_body", {"x": float("inf"), "key": "sk-1"}),
        ("extra_body", "sk-1"),
        ("base_urls", ("http://a/v1?key=sk-1",)),
    ],
)
def test_no_secret_is_shown(name: str, value: Any):
    (problem,) = RolloutWorkerConfig(**{name: value}).problems()

    assert "sk-1" not in problem


def test_an_item_is_shown_as_json_by_default():
    assert Plain().serialize_dataset_item({"question": "é?"}) == (
        '```json\n{\n  "question": "é?"\n}\n```'
    )


def test_only_the_default_extraction_ends_a_solution_unasked():
    asked = OwnExtraction()
    asked.rollout_worker_config = RolloutWorkerConfig(stop_at_answer=True)

    assert Plain().has_final_answer("#### 5")
    assert not OwnExtraction().has_final_answer("5")
    assert asked.has_final_answer("5")
    assert not asked.has_final_answer("<think>5")


def test_nothing_ends_a_solution_where_that_is_asked():
    told = Plain()
    told.rollout_worker_config = RolloutWorkerConfig(stop_at_answer=False)

    assert not told.has_final_answer("#### 5")
