"""The pure parts of examples/closed_loop; `make proof` runs all of it."""

import re
from collections import Counter
from pathlib import Path

import pytest

from examples.closed_loop import compare
from experiment_configs.loading import load_config

CONFIGS = [Path(compare.__file__).parent / "configs"]


@pytest.fixture(scope="module")
def config():
    return load_config("two_steps", CONFIGS).config


def solved(**shares: tuple[float | None, float | None]) -> compare.Items:
    """Return items with their share of right samples and their majority vote."""
    return {
        question: {"pass@1": share, "majority of 16": vote}
        for question, (share, vote) in shares.items()
    }


def test_no_held_out_item_has_the_numbers_of_a_training_item(config):
    splits = [list(config.get_dataset_iterator(split)) for split in ("train", "test")]
    train, held_out = ({(i["has"], i["gets"], i["loses"]) for i in items} for items in splits)

    assert len(train) == len(splits[0]) > 150
    assert len(held_out) == len(splits[1]) > 100
    assert not train & held_out


def test_the_label_is_the_answer_to_the_question(config):
    for item in config.get_dataset_iterator("test"):
        has, gets, loses = map(int, re.findall(r"\d+", config.get_question(item)))
        assert config.get_label(item) == str(has + gets - loses)
        assert config.get_root_prompt(item).count("Question:") == 3


def test_both_configs_give_the_same_items(config):
    sampled = load_config("two_steps_sampled", CONFIGS).config

    assert sampled.rollout_worker_config.strategy == "sampled"
    assert sampled.get_root_prompt(next(iter(sampled.get_dataset_iterator("test")))) == (
        config.get_root_prompt(next(iter(config.get_dataset_iterator("test"))))
    )


def test_models_are_compared_over_the_items_that_all_have_solved():
    models = {
        "base": solved(a=(0.25, 0.0), b=(0.5, 1.0), c=(1.0, 1.0)),
        "dpo": solved(a=(0.75, 1.0), b=(0.5, 1.0)),
        "control": solved(a=(0.25, 0.0), b=(0.5, 1.0), d=(0.0, 0.0)),
    }

    rows = {(row["measure"], row["model"]): row for row in compare.compared(models)}

    assert {row["items"] for row in rows.values()} == {2}
    assert rows["pass@1", "base"]["gain"] is None
    assert rows["pass@1", "dpo"]["value"] == pytest.approx(0.625)
    assert rows["pass@1", "dpo"]["gain"] == pytest.approx(0.25)
    low, high = rows["pass@1", "dpo"]["gain_interval"]
    assert low < 0.25 < high
    assert rows["majority of 16", "control"]["gain"] == 0


def test_an_item_without_a_result_is_not_counted_as_wrong():
    models = {"base": solved(a=(None, None), b=(0.5, 1.0)), "dpo": solved(a=(1, 1), b=(1, 1))}

    rows = {(row["measure"], row["model"]): row for row in compare.compared(models)}

    assert rows["pass@1", "base"]["items"] == 1
    assert rows["pass@1", "dpo"]["gain"] == pytest.approx(0.5)


def test_the_report_shows_percentages_with_intervals():
    models = {name: solved(a=(0.25, 0.0), b=(0.5, 1.0)) for name in compare.MODELS}
    row = {
        "metric": "weighted_vote", "aggregation": "min", "k": 16, "trees": 2, "value": 0.5,
        "low": 0.4, "high": 0.6, "gain": 0.1, "gain_low": -0.1, "gain_high": 0.3,
    }  # fmt: skip
    votes = compare.votes_of({"searches": {"prm": [row, row | {"metric": "accuracy"}]}})

    text = compare.as_markdown(compare.compared(models), votes)

    assert "| pass@1 | before training | 2 | 37.5 (" in text
    assert "| min of the steps | 16 | 2 | 50.0 (40.0 to 60.0) | +10.0 (-10.0 to +30.0) |" in text
    assert Counter(text)["\n"] == 2 + 6 + 1 + 2 + 1


def test_what_has_no_result_is_said():
    assert compare.shown(None, None) == "no result"
