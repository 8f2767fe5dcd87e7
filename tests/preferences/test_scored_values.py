"""Pairs and labels by the scores of a scorer, such as the values that an import brought."""

import json
from io import StringIO
from typing import Any

import pytest
from datasets import load_dataset
from django.core.management import CommandError, call_command

from forests.core.naming import tree_id
from forests.core.tree import NodePath
from forests.models import Forest
from forests.storage.scores import delete_scores, start_scorer, write_scores
from preferences.models import Preference, PreferenceSet
from preferences.sets.storage import sets_of

pytestmark = pytest.mark.django_db

# Right rollouts and few wrong ones, as in OpenR's files; each value is a share of 32 rollouts.
OPENR = {
    "question": "How much is 2 + 3 + 4?",
    "final_answer": "9",
    "reasoning_steps": {
        "text": "How much is 2 + 3 + 4?",
        "mc_value": 0.25,
        "children": [
            {
                "text": "2 + 3 = 6",
                "mc_value": 0.03125,
                "children": [{"text": "No: 5 + 4. The answer is 9", "mc_value": 1.0}],
            },
            {
                "text": "2 + 3 = 5",
                "mc_value": 0.9375,
                "children": [
                    {"text": "5 + 4. The answer is 9", "mc_value": 1.0},
                    {"text": "5 + 4. The answer is 10", "mc_value": 0.0},
                ],
            },
            {"text": "Let us see.", "mc_value": None, "children": [{"text": "The answer is 9"}]},
        ],
    },
}


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def imported(db, tmp_path) -> Forest:
    path = tmp_path / "omega.jsonl"
    path.write_text(json.dumps(OPENR) + "\n")
    words = ("--format", "openr", "--forest_name_suffix", "x")
    call_command("import_trees", str(path), *words, stdout=StringIO(), stderr=StringIO())
    return Forest.objects.get(pk="imported-train-x")


UNKNOWN = (
    "the confidence of these pairs is unknown, because their values are not shares of samples: "
    "--min_confidence does not apply to them\n"
)


def run(command: str, forest: Forest, *arguments: object) -> tuple[str, str]:
    """Return what a command wrote to stdout and to stderr."""
    out, err = StringIO(), StringIO()
    words = [command, "--forest_name", forest.name, *map(str, arguments)]
    call_command(*words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def made(forest: Forest, *arguments: object) -> dict[str, Any]:
    words = ("--min_confidence", 0, "--json", *arguments)
    found: dict[str, Any] = json.loads(run("create_preferences", forest, *words)[0])
    return found


def score(forest: Forest, index: int, scores: dict[NodePath, float]) -> None:
    scorer = start_scorer(forest, "judge", {})
    write_scores(scorer, {tree_id(forest.name, index): scores})


class TestPairs:
    def test_the_values_of_the_file_are_those_of_the_pairs(self, imported):
        found = made(imported, "--values", "scorer:imported", "--pairing", "all_pairs")

        pairs = Preference.objects.all()
        assert {(pair.chosen_value, pair.rejected_value) for pair in pairs} == {
            (0.9375, 0.03125),
            (1.0, 0.0),
        }
        assert found["num_pairs"] == 2
        assert found["dropped"]["nodes_without_result"] == 2  # the file has no values for these

    def test_leaves_alone_call_the_step_that_mostly_fails_right(self, imported):
        made(imported, "--pairing", "all_pairs", "--level", "step")

        assert not Preference.objects.filter(chosen_value=0.9375).exists()
        assert Preference.objects.filter(chosen="2 + 3 = 6\n\n", chosen_value=1.0).exists()

    def test_a_set_records_the_scorer_and_is_continued_with_it_alone(self, imported):
        words = ("--values", "scorer:imported", "--set_name", "mine")
        parameters = made(imported, *words)["parameters"]

        assert parameters["scorer"] == "imported"
        assert "estimator" not in parameters
        assert made(imported, *words)["num_pairs"] == 2
        with pytest.raises(CommandError, match="scorer is imported, not None"):
            run("create_preferences", imported, "--set_name", "mine")

    def test_sets_of_earlier_versions_are_known_by_their_parameters(self, forest):
        explicit = made(forest, "--estimator", "leaf_mean", "--values", "labels")
        assert made(forest)["set_name"] == explicit["set_name"]
        assert PreferenceSet.objects.count() == 1

    def test_graded_leaves_continue_the_steps_that_a_scorer_did_not_look_at(self, forest):
        score(forest, 0, {(0,): 0.9, (1,): 0.1, (0, 0): 0.5})

        made(forest, "--values", "scorer:judge", "--level", "step_to_end")

        [pair] = Preference.objects.all()
        assert (pair.chosen_value, pair.rejected_value) == (0.9, 0.1)
        assert pair.chosen.endswith("The answer is 5")
        assert pair.rejected.endswith("The answer is 1")


class TestScores:
    def test_trees_without_scores_are_left_out_counted_and_taken_later(self, forest):
        score(forest, 0, {(0,): 0.9, (1,): 0.1})
        words = ("--values", "scorer:judge", "--set_name", "mine")

        out, err = run("create_preferences", forest, *words)

        assert "num_pairs: 1\n" in out
        assert "5 of 6 complete trees have no scores of 'judge' and were left out" in err
        for index in range(1, 6):
            score(forest, index, {(0,): 0.9, (1,): 0.1})
        out, err = run("create_preferences", forest, *words)
        assert "num_pairs: 6\n" in out
        assert err == UNKNOWN

    def test_a_scorer_that_is_not_there_or_has_no_scores_is_one_line(self, forest, tmp_path):
        for command in ("create_preferences", "export_preferences"):
            words: tuple[object, ...] = ("--values", "scorer:judge")
            if command == "export_preferences":
                words = (*words, "--format", "trl_stepwise", "--output", tmp_path / "out")
            with pytest.raises(CommandError, match="has no scorer 'judge', it has none"):
                run(command, forest, *words)
            start_scorer(forest, "judge", {})
            with pytest.raises(CommandError, match=r"has no scores: run score_nodes$"):
                run(command, forest, *words)
            delete_scores(forest, "judge")
        assert not PreferenceSet.objects.exists()
        assert not (tmp_path / "out").exists()

    def test_a_set_does_not_mix_scores_from_before_and_after_a_replacement(self, forest):
        words = ("--values", "scorer:judge", "--set_name", "mine")
        score(forest, 0, {(0,): 0.9, (1,): 0.1})
        made(forest, *words)
        delete_scores(forest, "judge")
        score(forest, 0, {(0,): 0.1, (1,): 0.9})

        with pytest.raises(CommandError, match="made before scores of 'judge' changed"):
            run("create_preferences", forest, *words)

        assert made(forest, *words, "--replace")["num_pairs"] == 1

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--values", "imported"), "give labels, or scorer:NAME"),
            (("--values", "scorer:"), "give labels, or scorer:NAME"),
            (("--values", "scorer:judge", "--estimator", "any"), "leave them out"),
            (("--values", "scorer:judge", "--ungraded", "exclude"), "leave them out"),
        ],
    )
    def test_what_contradicts_itself_is_refused(self, forest, words, message):
        with pytest.raises(CommandError, match=message):
            run("create_preferences", forest, *words)


class TestHint:
    def test_it_is_given_where_the_file_had_values_and_nothing_was_said_of_them(self, imported):
        hint = "to use those of the imported file, give --values scorer:imported"
        assert hint in run("create_preferences", imported)[1]
        assert hint not in run("create_preferences", imported, "--values", "labels")[1]
        assert hint not in run("create_preferences", imported, "--values", "scorer:imported")[1]

    def test_other_forests_have_none(self, forest):
        assert run("create_preferences", forest, "--min_confidence", 0)[1] == ""


class TestExport:
    def rows(self, forest: Forest, name: str, directory, *arguments: object):
        words = ("--format", name, "--output", directory, "--overwrite", *arguments)
        out, err = run("export_preferences", forest, "--json", *words)
        return load_dataset(str(directory), split="train"), json.loads(out), err

    def test_steps_have_the_values_of_the_file(self, imported, tmp_path):
        rows, manifest, _ = self.rows(
            imported, "trl_stepwise", tmp_path / "out",
            "--values", "scorer:imported", "--with_values", "--label_threshold", "0.5",
        )  # fmt: skip
        assert [(row["values"], row["labels"]) for row in rows] == [
            ([0.03125, 1.0], [False, True]),
            ([0.9375, 1.0], [True, True]),
            ([0.9375, 0.0], [True, False]),
        ]
        assert manifest["parameters"]["scorer"] == "imported"
        assert "estimator" not in manifest["parameters"]
        card = (tmp_path / "out" / "README.md").read_text()
        assert "the value of a step is the score that `imported` gave it" in card

    def test_whether_a_solution_is_right_is_said_by_its_grade(self, forest, tmp_path):
        low = {(0,): 0.2, (1,): 0.2, (0, 0): 0.1, (0, 1): 0.3, (1, 0): 0.1, (1, 1): 0.0}
        for index in range(6):
            score(forest, index, low)
        rows, _, _ = self.rows(
            forest, "processbench", tmp_path / "out",
            "--values", "scorer:judge", "--label_threshold", "0.15",
        )  # fmt: skip
        assert [(row["final_answer_correct"], row["label"]) for row in rows][:4] == [
            (True, -1), (False, 1), (False, 1), (True, -1),
        ]  # fmt: skip

    def test_trees_without_scores_are_counted(self, forest, tmp_path):
        score(forest, 0, {(0,): 0.2, (1,): 0.4, (0, 0): 0.1, (0, 1): 0.3, (1, 0): 0.1})
        rows, manifest, _ = self.rows(
            forest, "trl_stepwise", tmp_path / "out", "--values", "scorer:judge"
        )
        assert len(rows) == 3
        assert manifest["left_out"] == {
            "trees_without_scores": 5, "solutions_without_result": 1,
        }  # fmt: skip

    def test_the_labeler_says_which_scorer_labelled(self, imported, tmp_path):
        labelers = [
            self.rows(imported, "prm800k", tmp_path / name, "--values", values)[0][0]["labeler"]
            for name, values in (("a", "labels"), ("b", "scorer:imported"))
        ]
        assert labelers[0] != labelers[1]

    def test_steps_take_the_values_of_a_set_and_pairs_the_set_by_its_values(
        self, imported, tmp_path
    ):
        made(imported, "--set_name", "leaves")
        made(imported, "--set_name", "file", "--values", "scorer:imported")
        assert len(sets_of(imported)) == 2

        _, steps, _ = self.rows(imported, "trl_stepwise", tmp_path / "a", "--set", "file")
        pairs, manifest, err = self.rows(
            imported, "trl", tmp_path / "b", "--values", "scorer:imported"
        )

        assert steps["parameters"]["scorer"] == "imported"
        assert manifest["preference_set"]["name"] == "file"
        assert len(pairs) == 2
        assert "those of the imported file" not in err
        assert (
            "those of the imported file"
            in self.rows(imported, "trl", tmp_path / "c", "--set", "leaves")[2]
        )

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--set", "leaves", "--values", "scorer:imported"), "has values of labels"),
            (("--set", "leaves", "--estimator", "any"), "has values by leaf_mean"),
            (("--set", "leaves", "--ungraded", "exclude"), "has --ungraded incorrect"),
            (("--values", "scorer:judge"), "no preference set with values of scorer:judge"),
        ],
    )
    def test_a_set_with_other_values_is_refused(self, imported, tmp_path, words, message):
        made(imported, "--set_name", "leaves")
        with pytest.raises(CommandError, match=message):
            run("export_preferences", imported, "--output", tmp_path / "out", *words)
        assert not (tmp_path / "out").exists()


def test_the_estimator_used_is_that_of_the_strategy(make_forest, tmp_path):
    forest = make_forest()
    forest.worker_config["strategy"] = "omega_prm"
    forest.save()

    assert made(forest)["parameters"]["estimator"] == "own_rollouts"
    words = ("--format", "trl_stepwise", "--output", tmp_path / "out", "--json")
    out, err = run("export_preferences", forest, *words, "--solutions", "all")
    assert json.loads(out)["parameters"]["estimator"] == "own_rollouts"
    assert "biased" not in err
    assert "so are values of any" in run("create_preferences", forest, "--estimator", "any")[1]


def test_own_rollouts_of_a_branching_forest_are_refused(forest, tmp_path):
    words = ("--format", "trl_stepwise", "--output", tmp_path / "out")
    for command, more in (("create_preferences", ()), ("export_preferences", words)):
        with pytest.raises(CommandError, match="use leaf_mean, child_mean, any") as caught:
            run(command, forest, "--estimator", "own_rollouts", *more)
        assert caught.value.returncode == 2
    assert not PreferenceSet.objects.exists()
    assert not (tmp_path / "out").exists()
