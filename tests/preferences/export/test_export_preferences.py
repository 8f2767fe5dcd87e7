import json
from io import StringIO
from uuid import UUID

import pytest
from datasets import load_dataset
from django.core.management import call_command
from django.core.management.base import CommandError

from preferences.core.pairing import PairingOptions
from preferences.models import PreferenceSet
from preferences.sets.creation import SetParameters, create_preferences
from tests.preferences.export.formats.test_annotation import SHEPHERD

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def with_set(forest):
    create_preferences(forest, "mine", SetParameters(), report=lambda _trees: None)
    return forest


def run(*arguments: object) -> tuple[str, str]:
    """Return what the command wrote to stdout and to stderr."""
    out, err = StringIO(), StringIO()
    call_command("export_preferences", *map(str, arguments), stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refused(*arguments: object) -> CommandError:
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_only_set_of_a_forest_is_exported_and_the_line_that_reads_it_is_shown(
    with_set, tmp_path
):
    output = tmp_path / "out"
    out, err = run(
        "--forest_name", with_set.name, "--container", "jsonl,parquet,dataset",
        "--output", output,
    )  # fmt: skip
    assert out.startswith(f"output: {output}\n")
    assert "parquet/train.parquet" in out
    assert f'read it back: datasets.load_dataset("{output}")' in err
    assert "train: 18 rows" in err
    assert len(load_dataset(str(output), split="train")) == 18


def test_a_set_can_be_named_with_its_forest(with_set, tmp_path):
    out, _ = run("--set", f"{with_set.name}/mine", "--output", tmp_path / "out", "--json")
    assert json.loads(out)["rows"] == {"train": 18}


def test_steps_are_exported_without_a_set(forest, tmp_path):
    out, _ = run(
        "--forest_name", forest.name, "--format", "trl_stepwise", "--label_threshold", "0.5",
        "--with_values", "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    assert json.loads(out)["parameters"]["label_threshold"] == 0.5
    row = load_dataset(str(tmp_path / "out"), split="train")[3]
    assert (row["labels"], row["values"]) == ([False, True], [0.25, 1.0])


def test_a_labeler_is_an_uuid_that_says_how_values_are_estimated(forest, tmp_path):
    labelers = []
    for number, estimator in enumerate(("leaf_mean", "leaf_mean", "child_mean")):
        output = tmp_path / str(number)
        run(
            "--forest_name", forest.name, "--format", "prm800k", "--estimator", estimator,
            "--output", output,
        )  # fmt: skip
        labelers.append(UUID(load_dataset(str(output), split="train")[0]["labeler"]))
    assert labelers[0] == labelers[1] != labelers[2]


def test_what_is_missing_is_one_line_with_what_to_do(forest, tmp_path):
    output = ("--output", tmp_path / "out")
    assert "give --forest_name, or --set" in str(refused(*output))
    assert "no forest named 'x'" in str(refused("--forest_name", "x", *output))
    assert "no preference set: run create_preferences" in str(
        refused("--forest_name", forest.name, *output)
    )
    assert refused("--forest_name", "a", "--set", "b/c", *output).returncode == 2
    usage = refused("--forest_name", forest.name, "--test_fraction", "1", *output)
    assert usage.returncode == 2


def test_one_of_several_sets_has_to_be_named(with_set, tmp_path):
    other = SetParameters(PairingOptions(min_margin=0.6))
    create_preferences(with_set, "strict", other, report=lambda _trees: None)
    output = ("--output", tmp_path / "out")
    several = str(refused("--forest_name", with_set.name, *output))
    assert several == (
        "forest 'sums-test-first' has several sets; choose one by --set: strict, mine"
    )
    unknown = str(refused("--forest_name", with_set.name, "--set", "lax", *output))
    assert unknown == "forest 'sums-test-first' has no preference set 'lax'; known: strict, mine"
    run("--forest_name", with_set.name, "--set", "strict", *output)
    assert len(load_dataset(str(tmp_path / "out"), split="train")) == 12


def test_a_set_that_is_still_being_made_is_refused(with_set, tmp_path):
    PreferenceSet.objects.filter(forest_id=with_set.name).update(is_complete=False)
    error = refused("--forest_name", with_set.name, "--output", tmp_path / "out")
    assert "is not complete: run the same create_preferences command again" in str(error)


def test_an_output_that_cannot_be_written_is_one_line(with_set, tmp_path):
    (tmp_path / "file").write_text("")
    error = refused("--forest_name", with_set.name, "--output", tmp_path / "file" / "out")
    assert "could not be written" in str(error)


@pytest.mark.parametrize(
    ("offline", "token", "message"),
    [
        (True, "hf_token", "HF_HUB_OFFLINE is set: unset it"),
        (False, None, "needs a token: set HF_TOKEN, or run `hf auth login`"),
    ],
)
def test_the_hub_is_checked_before_anything_is_written(
    with_set, tmp_path, monkeypatch, offline, token, message
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("preferences.export.hub.get_token", lambda: token)
    error = refused(
        "--forest_name", with_set.name, "--output", tmp_path / "out", "--push_to_hub", "me/sums"
    )
    assert message in str(error)
    assert not (tmp_path / "out").exists()


def test_an_unreachable_hub_is_one_line_and_the_export_stays(with_set, tmp_path, monkeypatch):
    monkeypatch.setattr("preferences.export.hub.get_token", lambda: "hf_token")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    error = refused(
        "--forest_name", with_set.name, "--output", tmp_path / "out", "--push_to_hub", "me/sums"
    )
    assert "me/sums could not be pushed" in str(error)
    assert len(load_dataset(str(tmp_path / "out"), split="train")) == 18


@pytest.fixture
def annotated(make_forest):
    """Return a forest that Math-Shepherd's strategy grew: one solution, and its rollouts."""
    forest = make_forest("annotated-test-first", [SHEPHERD])
    forest.worker_config |= {"strategy": "math_shepherd"}
    forest.save()
    return forest


def test_a_forest_of_math_shepherd_gives_what_was_annotated_unless_all_is_asked_for(
    annotated, tmp_path
):
    steps = ("--forest_name", annotated.name, "--format", "trl_stepwise", "--json")
    out, _ = run(*steps, "--output", tmp_path / "auto")
    manifest = json.loads(out)
    assert manifest["parameters"]["solutions"] == "annotated"
    assert manifest["rows"] == {"train": 1}
    assert manifest["left_out"] == {"rollouts_that_only_annotate": 3}
    card = (tmp_path / "auto" / "README.md").read_text("utf-8")
    assert "| Solutions | only what the strategy annotated" in card

    out, _ = run(*steps, "--output", tmp_path / "all", "--solutions", "all")
    assert json.loads(out)["parameters"]["solutions"] == "all"
    assert json.loads(out)["rows"] == {"train": 4}


def test_other_forests_give_all_solutions_and_have_none_that_are_annotated(forest, tmp_path):
    steps = ("--forest_name", forest.name, "--format", "math_shepherd", "--output", tmp_path / "o")
    message = str(refused(*steps, "--solutions", "annotated"))
    assert "is for forests of math_shepherd or omega_prm, and branching grew" in message
    out, _ = run(*steps, "--json")
    assert json.loads(out)["parameters"]["solutions"] == "all"


def test_solutions_are_not_chosen_where_rows_are_pairs(with_set, tmp_path):
    error = refused(
        "--forest_name", with_set.name, "--solutions", "all", "--output", tmp_path / "out"
    )
    assert "--solutions is for formats of steps" in str(error)
    assert error.returncode == 2
