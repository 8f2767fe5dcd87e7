import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import DatasetDict, load_dataset

from common.directories import OutputError
from forests.models import Forest
from forests.storage.reader import DatabaseReader
from preferences.core.pairing import PairingOptions
from preferences.export import containers
from preferences.export.formats.base import RowOptions
from preferences.export.formats.prompts import FormatError
from preferences.export.writing import FORMATS, ExportRequest, export
from preferences.sets.creation import SetParameters, create_preferences
from tests.preferences.trees import RIGHT, addition_tree, tree_of

pytestmark = pytest.mark.django_db

EVERY_CONTAINER = ("parquet", "jsonl", "dataset")


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def request_of(forest, tmp_path):
    """Return a maker of requests for a forest with one preference set."""
    made: dict = {}

    def make(name: str = "trl", of=forest, **changes) -> ExportRequest:
        if of.name not in made:
            parameters = SetParameters(PairingOptions(pairing="all_pairs"))
            made[of.name] = create_preferences(of, "all", parameters, report=lambda _trees: None)
        wanted = ExportRequest(
            reader=DatabaseReader(of),
            format=FORMATS[name],
            containers=EVERY_CONTAINER,
            output=tmp_path / "out",
            pairs=made[of.name],
            options=RowOptions(label_threshold=FORMATS[name].default_threshold or 0.0),
            estimator="leaf_mean",
            ungraded="incorrect",
        )
        return replace(wanted, **changes)

    return make


def write(request: ExportRequest, *, overwrite: bool = False) -> dict:
    return export(request, overwrite=overwrite, report=lambda _rows: None)


def names_under(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# The two formats left out need the votes of a judge, or kept tokens; this forest has neither.
@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"critique_pairs", "verifiers"}))
def test_datasets_reads_the_same_rows_back_from_every_container(name, request_of):
    request = request_of(name)
    manifest = write(request)
    by_card = load_dataset(str(request.output))["train"]
    on_disk = DatasetDict.load_from_disk(str(request.output / "dataset"))["train"]
    jsonl = [
        json.loads(line)
        for line in (request.output / "jsonl" / "train.jsonl").read_text("utf-8").splitlines()
    ]
    assert manifest["rows"] == {"train": len(by_card)}
    assert len(by_card) > 0
    assert by_card.features == on_disk.features
    assert by_card.to_list() == on_disk.to_list()
    if name != "prm800k":  # Parquet has null where a field of a struct is missing
        assert by_card.to_list() == jsonl


@pytest.mark.parametrize("container", EVERY_CONTAINER)
@pytest.mark.parametrize("name", ["trl", "trl_conversational", "trl_stepwise", "prm800k"])
def test_the_card_finds_the_files_of_each_container_with_their_types(name, container, request_of):
    request = request_of(name, containers=(container,))
    write(request)
    loaded = load_dataset(str(request.output))
    assert list(loaded) == ["train"]
    assert loaded["train"].features.arrow_schema.equals(request.schema)


def test_chats_are_written_as_messages(make_forest, request_of):
    chat = make_forest("chats-test-first", api="chat")
    request = request_of("trl_conversational", of=chat)
    write(request)
    first = load_dataset(str(request.output), split="train")[0]
    assert first["prompt"] == [{"role": "user", "content": "Question 0: 2 + 3?\n"}]
    assert [turn["role"] for turn in first["chosen"]] == ["assistant"]


def test_a_format_that_cannot_hold_chats_leaves_nothing_behind(make_forest, request_of, tmp_path):
    chat = make_forest("chats-test-first", api="chat")
    with pytest.raises(FormatError, match="trl_conversational"):
        write(request_of("trl", of=chat))
    assert names_under(tmp_path) == []


def test_no_prompt_is_in_two_splits(make_forest, request_of):
    prompts = [f"Question {index // 2}?\n" for index in range(24)]  # each twice, as in datasets
    many = make_forest("many-test-first", [addition_tree() for _ in prompts], prompts)
    request = request_of("trl_stepwise", of=many, test_fraction=0.3)
    manifest = write(request)
    loaded = load_dataset(str(request.output))
    assert {name: len(rows) for name, rows in loaded.items()} == manifest["rows"]
    train, test = (set(loaded[name]["prompt"]) for name in ("train", "test"))
    assert train
    assert test
    assert not train & test
    assert train | test == set(prompts)


def test_the_manifest_says_where_the_rows_come_from_and_what_each_file_holds(request_of):
    request = request_of("trl", test_fraction=0.5)
    returned = write(request)
    manifest = json.loads((request.output / "manifest.json").read_text("utf-8"))
    assert manifest == returned
    assert manifest["forest"]["config_sha256"] == "ab" * 32
    assert manifest["models"] == {"test-model": 36}
    assert manifest["preference_set"]["parameters"]["pairing"] == "all_pairs"
    assert manifest["parameters"] == {
        "test_fraction": 0.5,
        "split_seed": 0,
        "thoughts": "keep",
        "reviewed": "all",
    }
    assert sum(manifest["rows"].values()) == 18
    files = [
        path.relative_to(request.output).as_posix()
        for path in request.output.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    ]
    assert sorted(manifest["files"]) == sorted(files)
    for path, facts in manifest["files"].items():
        content = (request.output / path).read_bytes()
        assert facts == {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }


def test_every_model_that_wrote_a_node_is_named_with_its_nodes(make_forest, request_of):
    trees = [addition_tree() for _ in range(3)]
    for tree, model in zip(trees, ("early", "late", ""), strict=True):
        for node in tree:
            node.model = model
    trees[1].nodes[0,].model = "early"
    forest = make_forest("models-test-first", [*trees, addition_tree()], incomplete=[3])
    request = request_of("trl_stepwise", of=forest)
    manifest = write(request)
    assert manifest["models"] == {"early": 7, "": 6, "late": 5}
    card = (request.output / "README.md").read_text("utf-8")
    assert "| Models | early (7 nodes), not named (6 nodes), late (5 nodes) |" in card


def test_trees_at_the_node_limit_are_in_manifest_and_card(make_forest, request_of):
    forest = make_forest("limit-test-first")
    forest.num_hit_max_nodes = 2
    forest.save()
    request = request_of("trl_stepwise", of=forest)
    assert write(request)["forest"]["num_hit_max_nodes"] == 2
    card = (request.output / "README.md").read_text("utf-8")
    assert "| Trees at the node limit | 2: they lack samples" in card


def test_card_and_manifest_tell_what_the_forest_used_and_cost(forest, request_of):
    spent = {"requests": 12, "prompt_tokens": 2_000_000, "completion_tokens": 100_000}
    for name, value in spent.items():
        setattr(forest, name, value)
    request = request_of(containers=("jsonl",))

    manifest = write(request)

    card = (request.output / "README.md").read_text("utf-8")
    used = "12 requests, 2000000 prompt and 100000 completion tokens"
    assert f"| Requests and tokens | {used} |" in card
    assert "| Cost | price not known |" in card
    assert manifest["forest"]["used"] == spent
    assert manifest["forest"]["cost"] is None

    forest.price_in, forest.price_out = 0.5, 2.0
    manifest = write(request, overwrite=True)

    assert manifest["forest"]["cost"] == pytest.approx(1.2)
    assert "| Cost | $1.20 ($0.50 per million prompt" in (request.output / "README.md").read_text(
        "utf-8"
    )


def test_the_label_threshold_is_recorded_where_there_are_labels(request_of):
    manifest = write(request_of("trl_stepwise"))
    assert manifest["parameters"]["label_threshold"] == 0.0
    assert manifest["parameters"]["estimator"] == "leaf_mean"


def test_the_same_export_twice_has_the_same_data(request_of, tmp_path):
    first = write(request_of("trl", output=tmp_path / "first"))
    second = write(request_of("trl", output=tmp_path / "second"))
    for path in ("parquet/train.parquet", "jsonl/train.jsonl", "README.md"):
        assert first["files"][path] == second["files"][path]


def test_rows_are_written_in_groups_and_not_all_at_once(request_of, monkeypatch):
    monkeypatch.setattr("preferences.export.writing.ROWS_PER_WRITE", 4)
    request = request_of("trl", containers=("parquet",))
    write(request)
    file = pq.ParquetFile(request.output / "parquet" / "train.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [
        4, 4, 4, 4, 2,
    ]  # fmt: skip


def test_an_output_that_is_there_is_refused_and_stays(request_of):
    request = request_of("trl")
    write(request)
    before = (request.output / "manifest.json").read_bytes()
    with pytest.raises(OutputError, match="exists: choose another --output, or add --overwrite"):
        write(request)
    assert (request.output / "manifest.json").read_bytes() == before


def test_an_earlier_export_is_replaced_as_a_whole_when_asked(request_of, tmp_path):
    write(request_of("trl"))
    write(request_of("trl_stepwise", containers=("jsonl",)), overwrite=True)
    assert names_under(tmp_path / "out") == ["README.md", "jsonl", "manifest.json"]
    assert names_under(tmp_path) == ["out"]


def test_a_directory_that_is_no_export_is_never_replaced(request_of, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="exists and is not an export"):
        write(request_of("trl"), overwrite=True)
    assert names_under(tmp_path / "out") == ["thesis.tex"]


@pytest.mark.parametrize("is_there", [True, False])
def test_a_full_disk_leaves_the_directory_as_it_was(request_of, monkeypatch, tmp_path, is_there):
    request = request_of("trl")
    if is_there:
        write(request)
    before = [path.name for path in tmp_path.rglob("*")]

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(containers.JsonLines, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write(request, overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == before


def test_the_earlier_export_comes_back_where_the_new_one_cannot_take_its_place(
    request_of, monkeypatch, tmp_path
):
    write(request_of("trl"))
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    rename = Path.rename

    def refuse(path: Path, target: Path):
        if path.name == ".out.partial":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        write(request_of("trl_stepwise"), overwrite=True)
    assert names_under(tmp_path) == ["out"]
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("is_there", [True, False])
def test_an_export_that_a_killed_run_moved_away_is_found_again(request_of, tmp_path, is_there):
    write(request_of("trl"))
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    (tmp_path / "out").rename(tmp_path / ".out.replaced")
    if is_there:
        (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists: choose another --output, or add --overwrite"):
        write(request_of("trl_stepwise"))
    assert names_under(tmp_path) == ["out"]
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before


def test_what_a_finished_run_had_replaced_is_deleted(request_of, tmp_path):
    write(request_of("trl"))
    (tmp_path / ".out.replaced").mkdir()
    write(request_of("trl_stepwise"), overwrite=True)
    assert names_under(tmp_path) == ["out"]


def test_an_export_without_a_row_is_refused_with_the_reasons(make_forest, request_of):
    russian = make_forest("russian-test-first", [tree_of({"0.0": ("сутки", RIGHT)})])
    with pytest.raises(OutputError, match=r"no rows to write \(1 solutions"):
        write(request_of("math_shepherd", of=russian))


def test_trees_that_are_not_complete_are_not_exported(make_forest, request_of):
    partial = make_forest("partial-test-first", incomplete=[0, 1, 2])
    manifest = write(request_of("trl_stepwise", of=partial, containers=("jsonl",)))
    assert manifest["rows"] == {"train": 3 * 4}


def test_card_and_manifest_tell_the_samples_without_a_result(forest, request_of):
    Forest.objects.filter(pk=forest.pk).update(num_leaves=20, num_correct=12, num_uncompared=7)
    forest.refresh_from_db()
    request = request_of("trl")

    manifest = write(request)

    names = ("num_leaves", "num_correct", "num_uncompared")
    assert [manifest["forest"][name] for name in names] == [20, 12, 7]
    card = (request.output / "README.md").read_text()
    assert "| Samples without a result | 7 of 27 |" in card
