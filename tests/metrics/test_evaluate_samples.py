"""Published samples are measured like a forest."""

import csv
import io
import json
from itertools import combinations
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.hostile_lines import BAD_FILES, BAD_LABELS, GOOD_LABELS, LABELLED


@pytest.fixture
def evaluate(tmp_path: Path, capsys):
    def run(lines: list[object], *options: str) -> tuple[str, str]:
        file = tmp_path / "samples.jsonl"
        file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        call_command("evaluate_samples", str(file), *options)
        return tuple(capsys.readouterr())

    return run


def numbers(out: str) -> dict[tuple[str, str | None, int], float | None]:
    return {
        (row["metric"], row["aggregation"], row["k"]): row["value"]
        for row in json.loads(out)["rows"]
    }


def test_answers_give_pass_at_k_and_majority_vote(evaluate):
    lines = [
        {"problem": "2 + 2?", "answers": ["4", "4.0", "5", None], "label": "4"},
        {"problem": "3 + 3?", "answers": ["5", "7", "7", "6"], "label": 6},
    ]

    found = numbers(evaluate(lines, "--num_samples", "1,2,4", "--json")[0])

    assert found["pass", None, 1] == pytest.approx((2 / 4 + 1 / 4) / 2)
    # Codex (2107.03374): 1 - C(n - c, k) / C(n, k).
    assert found["pass", None, 2] == pytest.approx((1 - 1 / 6 + 1 - 3 / 6) / 2)
    assert found["majority", None, 4] == pytest.approx((1 + 0) / 2)
    assert {metric for metric, _, _ in found} == {"pass", "majority"}


def test_scores_give_best_of_n_as_brute_force_does(evaluate):
    answers, scores = ["4", "5", "4", "6"], [0.2, 0.9, 0.7, 0.4]

    out, _ = evaluate(
        [{"answers": answers, "scores": scores, "label": "4"}],
        "--num_samples", "2", "--aggregation", "last", "--json",
    )  # fmt: skip

    pairs = list(combinations(zip(answers, scores, strict=True), 2))
    best = [max(pair, key=lambda sample: sample[1])[0] == "4" for pair in pairs]
    assert numbers(out)["accuracy", "last", 2] == pytest.approx(sum(best) / len(best))


def test_step_scores_are_aggregated_as_asked(evaluate):
    line = {"answers": ["4", "5"], "scores": [[0.9, 0.1], [0.4, 0.6, 0.5]], "label": "4"}

    found = numbers(
        evaluate([line], "--num_samples", "2", "--aggregation", "max,last,min", "--json")[0]
    )

    assert found["accuracy", "max", 2] == 1.0  # 0.9 against 0.6
    assert found["accuracy", "last", 2] == 0.0  # 0.1 against 0.5
    assert found["accuracy", "min", 2] == 0.0


def test_answers_are_found_in_texts(evaluate):
    line = {
        "texts": ["2 + 2 = 4.\n#### 4", "So the answer is \\boxed{5}.", "who knows"],
        "label": 4,
    }

    assert numbers(evaluate([line], "--num_samples", "1", "--json")[0])["pass", None, 1] == (
        pytest.approx(1 / 3)
    )


def test_a_config_grades_where_it_is_named(evaluate, tmp_path: Path, settings):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "parity.py").write_text(
        "from experiment_configs.rollout.demo_arithmetic import Config as Demo\n"
        "class Config(Demo):\n"
        "    def is_correct(self, answer, label):\n"
        "        return int(answer) % 2 == int(label) % 2\n",
        encoding="utf-8",
    )

    out, _ = evaluate(
        [{"answers": ["1", "3", "2"], "label": "7"}],
        "--dataset_config_name", "parity", "--num_samples", "1", "--json",
    )  # fmt: skip

    assert numbers(out)["pass", None, 1] == pytest.approx(2 / 3)


def test_the_formats_hold_the_same_numbers(evaluate):
    lines = [{"answers": ["4", "5"], "scores": [0.9, 0.1], "label": "4"}]

    as_json = json.loads(evaluate(lines, "--num_samples", "1,2", "--json")[0])["rows"]
    as_csv = list(
        csv.DictReader(io.StringIO(evaluate(lines, "--num_samples", "1,2", "--print_as", "csv")[0]))
    )
    markdown, _ = evaluate(lines, "--num_samples", "1,2", "--print_as", "md")

    assert as_csv == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in as_json
    ]
    assert "| best of N | mean | 2 | 100.0 %" in markdown
    assert "| pass@2 | 100.0 %" in markdown
    assert markdown.count("|\n\n|") == 1, "a blank line parts the two tables"


def test_a_problem_with_too_few_samples_has_no_result_and_is_not_wrong(evaluate):
    lines = [{"answers": ["4"], "label": "4"}, {"answers": ["4", "4"], "label": "4"}]

    rows = json.loads(evaluate(lines, "--num_samples", "2", "--json")[0])["rows"]

    (row,) = [row for row in rows if (row["metric"], row["k"]) == ("pass", 2)]
    assert (row["value"], row["trees"], row["no_result"]) == (1.0, 1, 1)


def test_problems_without_scores_are_counted_if_the_first_has_some(evaluate):
    scored = {"answers": ["4", "5"], "scores": [0.9, 0.1], "label": "4"}
    out, said = evaluate([scored, {"answers": ["5", "5"], "label": "4"}], "--json")
    assert json.loads(out)["problems"] == {"used": 1, "left_out": {"no_value": 1}}
    assert "problems left out: 1 no node with a value" in said


def test_scores_that_come_after_a_problem_without_are_not_ignored(evaluate):
    scored = {"answers": ["4", "5"], "scores": [0.9, 0.1], "label": "4"}
    unscored = {"answers": ["5", "5"], "scores": None, "label": "4"}
    complaint = "problem 2 has scores and the first problem has none: move a problem with scores"
    with pytest.raises(CommandError, match=complaint):
        evaluate([unscored, scored])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ([], "it must be a JSON object"),
        ({"answers": ["4"]}, "`label` must be a text that is not blank, or a number"),
        ({"label": "4"}, "needs either `answers` or `texts`"),
        ({"label": "4", "answers": ["4"], "texts": ["4"]}, "needs either"),
        ({"label": "4", "answers": []}, "`answers` must be a list with at least one entry"),
        ({"label": "4", "answers": [["4"]]}, "`answers[0]` must be a text, a number or null"),
        ({"label": "4", "texts": [4]}, "`texts[0]` must be a text"),
        ({"label": "4", "answers": ["4"], "scores": [0.1, 0.2]}, "`scores` must be a list of 1"),
        ({"label": "4", "answers": ["4"], "scores": []}, "`scores` must be a list of 1"),
        (
            {"label": "4", "answers": ["4"], "scores": ["high"]},
            "`scores[0]` must be a number from -1e+100 to 1e+100",
        ),
        (
            {"label": "4", "answers": ["4"], "scores": [[0.1, None]]},
            "`scores[0][1]` must be a number",
        ),
        ({"label": "4", "answers": ["4"], "scores": [10**400]}, "`scores[0]` must be a number"),
        (
            {"label": "4", "answers": ["4"], "scores": [[1e308, 1e308]]},
            "`scores[0][0]` must be a number",
        ),
        ({"label": "4", "answers": ["4"], "scores": [float("nan")]}, "NaN is not JSON: write null"),
        ({"label": "4", "answers": ["4"], "scores": [[[0.1]]]}, "`scores[0][0]` must be a number"),
        ({"label": "4", "answers": [float("nan")]}, "NaN is not JSON: write null"),
        ({"label": "4", "texts": ["4 \ud83d"]}, "a text holds a lone surrogate"),
    ],
)
def test_a_bad_line_is_named_with_what_it_needs(evaluate, line, complaint):
    good = {"answers": ["4"], "label": "4"}

    with pytest.raises(CommandError) as raised:
        evaluate([good, line])

    assert "samples.jsonl line 2: " in str(raised.value)
    assert complaint in str(raised.value)


@pytest.mark.parametrize("name", BAD_LABELS)
def test_a_label_that_is_none_is_named_by_its_line(tmp_path: Path, name: str):
    written, complaint = BAD_LABELS[name]
    file = tmp_path / "samples.jsonl"
    file.write_bytes((LABELLED % b"4") + b"\r\n" + (LABELLED % written))

    with pytest.raises(CommandError, match=rf"samples\.jsonl line 2:? .*{complaint}"):
        call_command("evaluate_samples", str(file))


@pytest.mark.parametrize("name", GOOD_LABELS)
def test_an_answer_and_a_label_are_compared_as_they_are_spelled(tmp_path: Path, capsys, name: str):
    written, text = GOOD_LABELS[name]
    file = tmp_path / "samples.jsonl"
    line = b'\xef\xbb\xbf{"label": %s, "answers": [%s, %s]}\r\n'
    file.write_bytes(line % (written, written, json.dumps(text).encode()))

    call_command("evaluate_samples", str(file), "--num_samples", "1", "--json")

    assert numbers(capsys.readouterr().out)["pass", None, 1] == 1.0


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_of_another_kind_is_one_line(tmp_path: Path, name: str):
    content, complaint = BAD_FILES[name]
    file = tmp_path / "samples.jsonl"
    file.write_bytes(content)

    with pytest.raises(CommandError, match=complaint):
        call_command("evaluate_samples", str(file))


def test_a_file_that_cannot_be_used_is_one_line(evaluate, tmp_path: Path):
    with pytest.raises(CommandError, match="has no problem"):
        evaluate([])
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        call_command("evaluate_samples", str(tmp_path / "missing.jsonl"))
    with pytest.raises(CommandError, match="cannot be read: Is a directory"):
        call_command("evaluate_samples", str(tmp_path))
    (tmp_path / "torn.jsonl").write_text('{"answers": ["4"', encoding="utf-8")
    with pytest.raises(CommandError, match=r"torn\.jsonl line 1: "):
        call_command("evaluate_samples", str(tmp_path / "torn.jsonl"))


def test_votes_go_by_what_the_grader_calls_the_same(evaluate):
    line = {"answers": ["1", "3", "50%", "0.5"], "label": "9"}
    right = {"answers": ["1", "3", r"\\frac{\\sqrt2}{2}", r"\\frac1{\\sqrt2}"], "label": "0.5"}
    right["label"] = right["answers"][2]

    found = numbers(evaluate([line, right], "--num_samples", "4", "--json")[0])

    assert found["majority", None, 4] == 0.5


def test_samples_that_cannot_be_compared_have_no_result_and_are_said(
    evaluate, tmp_path: Path, settings
):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "unsure.py").write_text(
        "from experiment_configs.answers import NotComparedError\n"
        "from experiment_configs.rollout.demo_arithmetic import Config as Demo\n"
        "class Config(Demo):\n"
        "    def is_correct(self, answer, label):\n"
        "        if '?' in answer:\n"
        "            raise NotComparedError('no time')\n"
        "        return answer == label\n",
        encoding="utf-8",
    )
    lines = [
        {"answers": ["1", "2", "?", "??"], "label": "1"},
        {"texts": ["#### 5 (?)"], "label": "1"},
    ]
    options = ("--dataset_config_name", "unsure", "--num_samples", "1")

    out, _ = evaluate(lines, *options, "--json")
    _, err = evaluate(lines, *options)

    assert numbers(out)["pass", None, 1] == 0.5
    assert json.loads(out)["samples"] == {"uncompared": 3}
    assert json.loads(out)["problems"] == {"used": 1, "left_out": {"no_result": 1}}
    assert "3 samples have no result, as nobody could compare their answers" in err
