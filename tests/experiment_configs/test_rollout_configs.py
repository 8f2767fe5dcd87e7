"""The bundled configs, on items of the same shape as in their datasets."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiment_configs.dataset_files import iter_split
from experiment_configs.interfaces import ConfigError, RolloutConfig
from experiment_configs.loading import config_names, load_config
from experiment_configs.questions import question_of_prompt
from forests.core.items import check_item, item_question

ITEMS: dict[str, tuple[dict[str, Any], str]] = {
    "gsm8k_baseline": ({"question": "2 + 2?", "answer": "It is <<2+2=4>>4.\n#### 1,004"}, "1,004"),
    "math_500": ({"problem": "Find $x$.", "answer": "\\frac{1}{2}", "level": 3}, "\\frac{1}{2}"),
    "math_500_reasoning": ({"problem": "Find $x$.", "answer": "\\frac{1}{2}"}, "\\frac{1}{2}"),
    "liar_new_summarized": (
        {"statement": "Snow is hot.", "date": "May 1, 2022", "label": "pants-fire"},
        "false",
    ),
}


@pytest.fixture(autouse=True)
def chat_template(tmp_path_factory, monkeypatch) -> None:
    """Use a local template instead of the one on the hub."""
    file = tmp_path_factory.mktemp("model") / "chat_template.jinja"
    file.write_text("{% for one in messages %}<{{ one.role }}>{{ one.content }}{% endfor %}<me>")
    monkeypatch.setenv("MATH_500_CHAT_TEMPLATE", str(file))


def config(name: str) -> RolloutConfig:
    return load_config(name).config


@pytest.mark.parametrize("name", config_names())
def test_the_worker_config_has_no_problems(name: str):
    assert config(name).rollout_worker_config.problems() == []


@pytest.mark.parametrize("name", ITEMS)
def test_an_item_gives_prompt_label_and_text(name: str):
    item, expected = ITEMS[name]

    prompt, label, serialized = check_item(config(name), item)

    assert label == expected
    question = str(item.get("question") or item.get("problem") or item["statement"])
    assert question in json.dumps(prompt) + serialized


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), True, ["4"]])
@pytest.mark.parametrize(
    ("name", "key"),
    [("gsm8k_baseline", "answer"), ("math_500", "answer"), ("liar_new_summarized", "label")],
)
def test_a_field_that_is_none_is_not_taken_for_the_label_none(name: str, key: str, value: object):
    item, _ = ITEMS[name]

    with pytest.raises(ConfigError, match=rf"`{key}` is .*: it must be a text or a number"):
        check_item(config(name), item | {key: value})
    with pytest.raises(ConfigError, match=rf"`{key}` is None"):
        config(name).get_label({})


def test_a_label_may_be_a_number():
    assert config("math_500").get_label({"answer": 5}) == "5"
    assert config("math_500").get_label({"answer": 0.5}) == "0.5"


@pytest.mark.parametrize("name", ITEMS)
def test_the_question_is_the_item_s_own_without_examples_and_instructions(name: str):
    item, _ = ITEMS[name]
    own = str(item.get("question") or item.get("problem") or item["statement"])

    question = item_question(config(name), item)

    assert question.endswith(own.strip())
    assert len(question) < len(own) + 40
    assert question in question_of_prompt(config(name).get_root_prompt(item))


@pytest.mark.parametrize("name", config_names())
def test_every_bundled_config_says_what_is_asked(name: str):
    assert type(config(name)).get_question is not RolloutConfig.get_question


@pytest.mark.parametrize(
    ("label", "expected"),
    [("true", "true"), ("half-true", "true"), ("barely-true", "false"), ("false", "false")],
)
def test_liar_new_ratings_become_two_labels(label: str, expected: str):
    assert config("liar_new_summarized").get_label({"label": label}) == expected


def test_liar_new_takes_the_verdict_and_nothing_else():
    liar = config("liar_new_summarized")

    assert liar.extract_answer("It is not true.\n**Verdict: False**") == "false"
    assert liar.extract_answer("It is not true.") is None
    assert liar.has_final_answer("It is not true.\nVerdict: False")
    assert not liar.has_final_answer("It is not true.")


@pytest.mark.parametrize(
    ("answer", "is_right"), [("False", True), (" false ", True), ("true", False)]
)
def test_liar_new_compares_verdicts_whatever_their_case(answer: str, is_right: bool):
    assert config("liar_new_summarized").is_correct(answer, "false") is is_right


def test_demo_items_repeat_and_have_labels_that_fit():
    demo = config("demo_arithmetic")

    first, again = (list(demo.get_dataset_iterator("train")) for _ in range(2))

    assert first == again
    assert len(first) == 200
    assert all(int(demo.get_label(item)) > 0 for item in first)


@pytest.mark.parametrize(
    ("name", "setting"),
    [("gsm8k_baseline", "GSM8K_DATA_DIR"), ("liar_new_summarized", "LIAR_NEW_DATA_DIR")],
)
def test_local_json_lines_are_read_through_datasets(
    name: str, setting: str, tmp_path: Path, monkeypatch
):
    item, _ = ITEMS[name]
    (tmp_path / "test.jsonl").write_text(json.dumps(item) + "\n")
    monkeypatch.setenv(setting, str(tmp_path))

    assert list(config(name).get_dataset_iterator("test")) == [item]


def test_a_missing_local_split_names_those_there_are(tmp_path: Path, monkeypatch):
    (tmp_path / "train.jsonl").write_text("{}\n")
    monkeypatch.setenv("GSM8K_DATA_DIR", str(tmp_path))

    with pytest.raises(ConfigError, match=r"no split 'dev' in GSM8K_DATA_DIR=.*: it has train"):
        next(config("gsm8k_baseline").get_dataset_iterator("dev"))


def test_a_split_that_the_repository_lacks_names_those_there_are(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("DATA_DIR", raising=False)
    (tmp_path / "train.jsonl").write_text('{"a": 1}\n')

    with pytest.raises(ConfigError, match=r'Unknown split "dev".*train'):
        next(iter_split(str(tmp_path), "dev", directory_setting="DATA_DIR"))


def test_a_hub_that_cannot_be_reached_names_the_local_way():
    with pytest.raises(ConfigError, match=r"set MATH_500_DATA_DIR to a directory with test.jsonl"):
        next(config("math_500").get_dataset_iterator("test"))


def test_a_reasoning_model_is_asked_through_its_own_template():
    prompt = config("math_500_reasoning").get_root_prompt({"problem": "Find $x$."})

    assert isinstance(prompt, str)
    assert prompt.startswith("<user>Find $x$.\n\n")
    assert prompt.endswith("\\boxed{}.<me>")


def test_a_reasoning_model_is_not_stopped_at_what_it_tries():
    reasoning = config("math_500_reasoning")

    assert not reasoning.has_final_answer("<think>\nMaybe \\boxed{3}.\n\n")
    assert not reasoning.has_final_answer("Maybe \\boxed{3}.\n\n")
    assert reasoning.extract_answer("<think>\n\\boxed{3}?\n</think>\n\n\\boxed{4}") == "4"


def test_a_template_that_cannot_be_had_is_one_line(monkeypatch):
    monkeypatch.setenv("MATH_500_CHAT_TEMPLATE", "/nowhere")

    with pytest.raises(ConfigError, match=r"^no chat template '/nowhere': there is no such"):
        check_item(config("math_500_reasoning"), ITEMS["math_500_reasoning"][0])


def test_a_missing_demo_split_names_those_there_are():
    with pytest.raises(ConfigError, match="there are train, test"):
        next(config("demo_arithmetic").get_dataset_iterator("dev"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("Dataset scripts are no longer supported, but found scripted.py"),
            r"\(RuntimeError: Dataset scripts are no longer supported.*\): set GSM8K_DATA_DIR",
        ),
        (ConnectionError("offline"), r"\(ConnectionError: offline\): check the network, or set"),
    ],
)
def test_why_a_dataset_cannot_be_loaded_is_said(monkeypatch, error: Exception, said: str):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("datasets.load_dataset", fail)

    with pytest.raises(ConfigError, match=said):
        next(iter_split("a/b", "train", directory_setting="GSM8K_DATA_DIR"))
