"""Scores and labels from a file, kept as a scorer of a forest."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from common.directories import checksum
from forests.core.tree import format_path, parse_path
from forests.models import Forest, Scorer, TreeScores, TreeStatus
from forests.storage.scores import get_scorer, read_judgements, read_scores
from forests.storage.trees import collection
from forests.transfer.archive_files import TransferError
from forests.transfer.archiving import export_forest, import_forest
from tests.forests.factories import (
    RIGHT,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    open_tree,
    step,
    tree_of,
)

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"


def linear_tree():
    last = leaf("0.0.0.0", "Three.", RIGHT)  # noqa: S104
    return tree_of(step("0.0", "One.\n"), step("0.0.0", "Two.\n"), last)


@pytest.fixture
def forest(db) -> Forest:
    forest = add_trees(make_forest(NAME), [linear_tree(), duck_tree()])
    return add_trees(forest, [open_tree()], status=TreeStatus.GROWING)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.jsonl"


def import_rows(file: Path, *rows: object, arguments: tuple[str, ...] = ()) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    words = [str(file), "--forest_name", NAME, "--scorer", "people", *arguments]
    call_command("import_scores", *words)


def scores_of(forest: Forest, index: int) -> dict[str, float]:
    found = read_scores(forest, "people", [index])[index]
    return {format_path(path): score for path, score in found.items()}


def test_steps_are_named_by_path_or_by_number_in_a_tree_of_one_path(forest, file):
    import_rows(
        file,
        {"tree": 0, "step": 0, "score": 1},
        {"tree": 0, "step": "0.0.0", "score": 0.25},
        {"tree": 0, "step": 2, "score": 0},
        {"tree": 1, "step": "0.1.0.1", "score": 0.5},
    )
    assert scores_of(forest, 0) == {"0.0": 1.0, "0.0.0": 0.25, "0.0.0.0": 0.0}  # noqa: S104
    assert scores_of(forest, 1) == {"0.1.0.1": 0.5}
    scorer = get_scorer(forest, "people")
    assert (scorer.kind, scorer.num_trees, scorer.num_nodes) == ("imported", 2, 4)


def test_labels_from_minus_one_to_one_have_a_neutral_zero(forest, file, capsys):
    rows = [{"tree": 0, "step": n, "score": score} for n, score in enumerate((1, 0, -1))]
    import_rows(file, *rows)
    assert list(scores_of(forest, 0).values()) == [1.0, 0.5, 0.0]
    assert "numbers on the scale signed" in capsys.readouterr().err
    import_rows(file, *rows[:2], arguments=("--scale", "signed", "--replace"))
    assert list(scores_of(forest, 0).values()) == [1.0, 0.5]
    import_rows(file, *rows[:2], arguments=("--scale", "unit", "--replace"))
    assert list(scores_of(forest, 0).values()) == [1.0, 0.0]
    assert "numbers on the scale unit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scale", "expected"), [("unit", [0.0, 1.0, 1.0]), ("signed", [0.5, 1.0, 1.0])]
)
def test_a_number_written_as_a_text_is_on_the_scale_too(forest, file, scale, expected):
    rows = [{"tree": 0, "step": n, "score": one} for n, one in enumerate(("0", " 1.0", "+1"))]
    import_rows(file, *rows, arguments=("--scale", scale))
    assert list(scores_of(forest, 0).values()) == expected


def test_a_negative_number_as_a_text_shows_the_scale(forest, file):
    rows = [{"tree": 0, "step": n, "score": one} for n, one in enumerate(("0", "-1", "1"))]
    import_rows(file, *rows)
    assert list(scores_of(forest, 0).values()) == [0.5, 0.0, 1.0]
    with pytest.raises(CommandError, match="line 2: `score` is -1: the scale unit"):
        import_rows(file, *rows, arguments=("--scale", "unit", "--replace"))


@pytest.mark.parametrize("numbers", [(0, 1), (1,), ("0", "1"), (0.0, "right"), ("1", None)])
def test_whole_numbers_without_a_negative_one_need_a_scale(forest, file, numbers):
    rows = [{"tree": 0, "step": n, "score": one} for n, one in enumerate(numbers)]
    with pytest.raises(CommandError, match=r"--scale unit if 0 is wrong, or --scale signed if"):
        import_rows(file, *rows)
    assert not Scorer.objects.exists()


def test_words_name_a_class_and_null_is_no_result(forest, file, capsys):
    words = ["correct", "Neutral", "wrong"]
    import_rows(file, *[{"tree": 0, "step": n, "score": one} for n, one in enumerate(words)])
    assert list(scores_of(forest, 0).values()) == [1.0, 0.5, 0.0]
    rows = [{"tree": 0, "step": 0, "score": None}, {"tree": 0, "step": 1, "score": True}]
    import_rows(file, *rows, arguments=("--replace",))
    assert scores_of(forest, 0) == {"0.0.0": 1.0}
    assert "1 rows give no result" in capsys.readouterr().err


def test_rationales_are_kept_and_travel_in_archives(forest, file, tmp_path):
    rationale = "It adds **twice**.\n<script>alert(1)</script>"
    rows = [
        {"tree": 0, "step": 1, "score": "wrong", "rationale": rationale},
        {"tree": 0, "step": "0", "score": "wrong", "rationale": "The task fails."},
    ]
    import_rows(file, *rows, arguments=("--kind", "human"))
    assert get_scorer(forest, "people").num_nodes == 1  # the root is not a step
    export_forest(Forest.objects.get(pk=NAME), tmp_path / "archive", overwrite=False)
    copy = import_forest(tmp_path / "archive", "ducks-test-copy")
    scorer = get_scorer(copy, "people")
    assert (scorer.kind, scorer.num_trees, scorer.num_nodes) == ("human", 1, 1)
    [one] = read_judgements(copy, 0, parse_path("0.0.0"))
    assert (one.verdict, one.rationale) == ("wrong", rationale)
    assert read_judgements(copy, 0, ())[0].rationale == "The task fails."


def test_the_same_file_again_changes_nothing_and_another_is_refused(forest, file):
    row = {"tree": 0, "step": 0, "score": "right"}
    import_rows(file, row)
    import_rows(file, row)
    assert get_scorer(forest, "people").num_nodes == 1
    with pytest.raises(CommandError, match=r"sha256 was .*choose another --scorer, or --replace"):
        import_rows(file, row | {"score": "wrong"})
    with pytest.raises(CommandError, match="of the kind 'imported', not 'human'"):
        import_rows(file, row, arguments=("--kind", "human"))
    assert scores_of(forest, 0) == {"0.0": 1.0}


GOOD = {"tree": 0, "step": 0, "score": "right"}
BAD = [
    ("{", "line 2: not JSON"),
    ([], "line 2: the line must be a JSON object"),
    ({"tree": 0, "step": 1}, "line 2: no `score`"),
    ({"tree": 3, "step": 1, "score": 1}, "line 2: .* has 3 trees, from 0, and no tree 3"),
    ({"tree": 2, "step": "0.0", "score": 1}, "line 2: tree 2 is not complete"),
    ({"tree": -1, "step": 1, "score": 1}, "line 2: `tree` is -1"),
    ({"tree": 10**400, "step": 1, "score": 1}, "line 2: `tree` is above 1000000000: give"),
    ({"tree": 0, "step": -(10**400), "score": 1}, "line 2: `step` is below -1000000000: give"),
    ({"tree": 0, "step": 1, "score": 10**400}, "line 2: `score` is "),
    ({"tree": 0, "step": 1, "score": "nan"}, "line 2: `score` is 'nan'"),
    ({"tree": 0, "step": 1, "score": "1e999"}, "line 2: `score` is "),
    ({"tree": True, "step": 1, "score": 1}, "line 2: `tree` is True"),
    ({"tree": 0, "step": 3, "score": 1}, "line 2: tree 0 has 3 steps, from 0, and no step 3"),
    ({"tree": 0, "step": -1, "score": 1}, "line 2: tree 0 has 3 steps"),
    ({"tree": 0, "step": "0.7", "score": 1}, "line 2: tree 0 has no step 0.7"),
    ({"tree": 0, "step": "2", "score": 1}, "line 2: `step` is '2': paths begin with 0"),
    ({"tree": 0, "step": "", "score": 1}, "line 2: `step` is ''"),
    ({"tree": 0, "step": 1.5, "score": 1}, "line 2: `step` is 1.5"),
    ({"tree": 1, "step": 1, "score": 1}, "line 2: tree 1 has more than one path"),
    ({"tree": 0, "step": "0.0", "score": 1}, "line 2: step 0.0 of tree 0 appears twice"),
    ({"tree": 0, "step": 1, "score": 1.01}, "line 2: `score` is 1.01: the scale unit"),
    ({"tree": 0, "step": 1, "score": -2}, "line 2: `score` is -2: the scale signed"),
    ({"tree": 0, "step": 1, "score": "maybe"}, "line 2: `score` is 'maybe'"),
    ({"tree": 0, "step": 1, "score": [1]}, r"line 2: `score` is \[1\]"),
    ('{"tree": 0, "step": 1, "score": NaN}', "line 2: NaN is not JSON"),
    ({"tree": 0, "step": 1, "score": 1, "why": "x"}, "line 2: unknown key 'why'"),
    ({"tree": 0, "step": 1, "score": 1, "rationale": 5}, "line 2: `rationale` must be a text"),
    ({"tree": 0, "step": 1, "score": 1, "rationale": "x" * 4001}, "line 2: `rationale` has more"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_bad_row_is_one_line_with_its_number_and_stores_nothing(forest, file, row, message):
    with pytest.raises(CommandError, match=message) as raised:
        import_rows(file, GOOD, row)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
    assert not Scorer.objects.exists()
    assert not TreeScores.objects.exists()


def test_a_bad_file_does_not_delete_what_it_would_replace(forest, file):
    import_rows(file, GOOD)
    with pytest.raises(CommandError, match="line 1"):
        import_rows(file, {"tree": 9, "step": 0, "score": 1}, arguments=("--replace",))
    assert scores_of(forest, 0) == {"0.0": 1.0}


def test_an_empty_file_and_a_missing_one_are_refused(forest, file):
    with pytest.raises(CommandError, match="has no score"):
        import_rows(file)
    file.unlink()
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_scores", str(file), "--forest_name", NAME, "--scorer", "people")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rationales": {"0-0": 5}}, "a rationale that is not a text"),
        ({"rationales": {"0-0": "x" * 20_001}}, "or is too long"),
        ({"rationales": {"0.0": "x"}}, "is not a step"),
        ({"rationales": []}, "AttributeError"),
        ({"rationales": {"0-0": "\ud800"}}, "surrogate"),
        ({"votes": {"0-0": [1, 2]}}, "votes"),
        ({"votes": {"0-0": [1, 2, -1]}}, "votes"),
        ({"votes": {"0-0": "abc"}}, "votes"),
    ],
)
def test_an_archive_with_other_rationales_or_votes_is_refused(
    forest, file, tmp_path, changes, message
):
    import_rows(file, GOOD)
    collection(TreeScores).update_one({}, {"$set": {"votes": {}, "rationales": {}}})
    export_forest(Forest.objects.get(pk=NAME), tmp_path / "archive", overwrite=False)
    rewrite_scores(tmp_path / "archive", changes)
    with pytest.raises(TransferError, match=message):
        import_forest(tmp_path / "archive", "ducks-test-copy")
    assert Scorer.objects.count() == 1


def rewrite_scores(archive: Path, changes: dict[str, object]) -> None:
    """Change the scores of an archive and their checksum, as a stranger could."""
    table = pq.read_table(archive / "scores.parquet")
    [row] = table.to_pylist()
    row |= {name: json.dumps(value) for name, value in changes.items()}
    pq.write_table(pa.Table.from_pylist([row], schema=table.schema), archive / "scores.parquet")
    manifest = json.loads((archive / "manifest.json").read_text())
    manifest["files"]["scores.parquet"] = checksum(archive / "scores.parquet")
    (archive / "manifest.json").write_text(json.dumps(manifest))
