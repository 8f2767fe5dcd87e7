import json
from collections.abc import Iterator
from typing import Any

import pytest

from experiment_configs.interfaces import ConfigError, RolloutConfig, RolloutWorkerConfig


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
        ("extra_body", {"a": {1, 2}}), ("extra_body", {"a": (1,)}),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_named_with_its_rule(name: str, value: Any):
    (problem,) = RolloutWorkerConfig(**{name: value}).problems()

    assert problem.startswith(f"rollout_worker_config.{name} is {value!r}: it must be ")


def test_all_problems_are_told_at_once():
    assert len(RolloutWorkerConfig(temperature=-1, max_depth=0, stop=[]).problems()) == 3  # type: ignore[arg-type]


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
