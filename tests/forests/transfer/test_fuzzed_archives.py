"""Files with values that no program writes.

An archive is refused in one line and leaves nothing behind, or it becomes a forest. Then all pages
of the forest answer, and its counters match its nodes. Rows of other programs are refused, or can
be stored.
"""

import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from common.directories import checksum
from common.json_lines import JsonError, WrittenFloat, is_number, parse_json
from common.storable import storing_problem
from experiment_configs.interfaces import Grader
from forests.models import Forest, Node, Scorer, Tree, TreeScores, TreeStatus
from forests.storage.counters import counted, recount_forest
from forests.storage.scores import start_scorer, write_scores
from forests.storage.trees import collection, delete_forest, node_document
from forests.transfer.archive_format import SCHEMAS
from forests.transfer.foreign_trees import ForeignTreeError
from forests.transfer.readers.registry import READERS
from metrics.measuring.sample_files import SampleFileError, read_samples
from tests.forests.factories import add_tree, add_trees, duck_tree, make_forest, open_tree
from tests.forests.transfer.foreign_rows import ROWS, format_of

NAME = "ducks-test-first"
MODELS = (Forest, Tree, Node, Scorer, TreeScores)
PAGES = (
    "",
    f"{NAME}/",
    f"{NAME}/trees/0/",
    f"{NAME}/trees/1/",
    f"{NAME}/trees/0/nodes/0.0/",
    f"{NAME}/trees/0/prompt.txt",
    f"{NAME}/metrics/",
    f"{NAME}/preferences/",
)

PHASES = (Phase.explicit, Phase.generate)  # shrinking an example takes long
CANNOT_BE_APPLIED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""The first of two changes may remove the place of the second."""

DEEP: Any = json.loads("[" * 60 + "]" * 60)
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 10**30, 1.5, -0.5,
    1e308, -1e308, float("nan"), float("inf"), "", " ", "x", "a\0b", "NaN", "x" * 1000, "x" * 10**6,
    "<b>", "../x", "\n", "0", "0.0", "9999-12-31T23:59:59", "0001-01-01T00:00:00",
    "2026-01-01T00:00:00+23:59", [], {}, [[]], [None], [1], ["x"], {"x": 1}, {"x": -1},
    {"x": None}, {"x": "y"}, {"": 1}, {"a\0": 1}, {"a.b": 1}, {"$x": 1}, {"0": 1}, {"1": 1},
    {"9": 1}, {"0": True}, {"0": 10**12}, {"x": float("nan")}, {"x": 1e308}, DEEP,
    datetime.min, datetime(1, 1, 2), datetime(1969, 7, 20), datetime(9999, 12, 31, 23),  # noqa: DTZ001, DTZ901
)  # fmt: skip


@dataclass(frozen=True)
class Archive:
    """The parts of an archive before they are written to files."""

    manifest: dict[str, Any]
    tables: dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Change:
    """The place of one value in an archive, and the value to put there."""

    place: tuple[str | int, ...]
    value: Any

    def apply(self, archive: Archive) -> None:
        """Change the value, also inside the text of a JSON field."""
        whole: Any = {"manifest": archive.manifest, **archive.tables}
        _replace(whole, self.place, self.value)

    def __repr__(self) -> str:
        return f"{'.'.join(map(str, self.place))} = {self.value!r:.60}"


def _replace(whole: Any, place: tuple[str | int, ...], value: Any) -> None:
    key, *rest = place
    if not rest:
        whole[key] = value
    elif rest[0] == "JSON":
        parsed = json.loads(whole[key])
        if rest[1:]:
            _replace(parsed, tuple(rest[1:]), value)
        else:
            parsed = value
        whole[key] = json.dumps(parsed)
    else:
        _replace(whole[key], tuple(rest), value)


def places(archive: Archive) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of every value in the manifest and in the first two rows of each table."""
    yield from _inside(archive.manifest, ("manifest",))
    for name, rows in archive.tables.items():
        for number, row in enumerate(rows[:2]):
            yield from _inside(row, (name, number))


def _inside(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if place[-1:] != ("files",):
        if len(place) > 1:
            yield place
        inside: Mapping[Any, Any] = {}
        if isinstance(value, dict):
            inside = value
        elif isinstance(value, list):
            inside = dict(enumerate(value))
        elif isinstance(value, str) and value[:1] in '{["':
            with suppress(ValueError):
                inside = {"JSON": json.loads(value)}
        for key, one in inside.items():
            yield from _inside(one, (*place, key))


@pytest.fixture(scope="module")
def archive(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Archive:
    """An export of three trees: a complete one, one that was growing, one with a chat."""
    with django_db_blocker.unblock():
        forest = make_forest(
            NAME,
            max_requests=1000,
            max_tokens_total=10**6,
            max_cost=2.5,
            price_in=0.1,
            price_out=0.4,
            grown_by=[{
                "model": "small", "server": "http://one.example/v1", "chat_template_sha256": "",
                "first_at": "2026-01-01T00:00:00+00:00", "answered_as": ["small"],
            }],
            allowed_models=["other"],
            replaced_settings={"num_rollouts": 4},
        )  # fmt: skip
        add_trees(forest, [duck_tree()], failures={"timeout": 1})
        chat = [{"role": "user", "content": "How much?\n"}]
        others: list[dict[str, Any]] = [
            {"status": TreeStatus.GROWING},
            {"prompt": chat, "question": "How much?"},
        ]
        for index, fields in enumerate(others, start=1):
            add_tree(Forest.objects.get(pk=NAME), index, open_tree(), **fields)
        forest = Forest.objects.get(pk=NAME)
        scorer = start_scorer(forest, "judge", {"kind": "logprobs"})
        write_scores(scorer, {f"{NAME}/0000000": {(0,): 0.5, (0, 0): 0.25}})
        recount_forest(forest)
        directory = tmp_path_factory.mktemp("archive") / "out"
        call_command("export_forest", "--forest_name", NAME, "--output", str(directory))
        delete_forest(forest)
    return Archive(
        json.loads((directory / "manifest.json").read_text()),
        {name: pq.read_table(directory / f"{name}.parquet").to_pylist() for name in SCHEMAS},
    )


def write(archive: Archive, directory: Path) -> None:
    """Write an archive with matching checksums.

    Raises:
        ArithmeticError, TypeError, ValueError, pa.ArrowException: a table cannot hold a value.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    files = {}
    for name, rows in archive.tables.items():
        path = directory / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[name]), path)
        files[path.name] = checksum(path)
    manifest = json.dumps(archive.manifest | {"files": files}, default=str)
    (directory / "manifest.json").write_text(manifest)


def refused(directory: Path) -> str | None:
    """Import a directory; return the message of the refusal, or None."""
    try:
        call_command("import_forest", str(directory), stdout=io.StringIO(), stderr=io.StringIO())
    except CommandError as error:
        return str(error)
    return None


def outcome(archive: Archive, directory: Path) -> str:
    """Import an archive, check all that must be true afterwards, and return what happened."""
    for model in MODELS:
        collection(model).delete_many({})  # left by an example that failed
    try:
        write(archive, directory)
    except (ArithmeticError, TypeError, ValueError, pa.ArrowException):
        return "cannot be written"
    if (refusal := refused(directory)) is not None:
        assert "\n" not in refusal
        assert not any(collection(model).count_documents({}) for model in MODELS), refusal
        return "refused"
    forest = Forest.objects.get()
    client = Client(raise_request_exception=True)
    client.force_login(User.objects.get_or_create(username="reader")[0])
    for page in PAGES:
        response = client.get(f"/{page.replace(NAME, forest.name)}")
        is_there = "/nodes/" not in page or Node.objects.filter(pk=f"{forest.name}/0000000/0.0")
        assert response.status_code == (200 if is_there else 404), page
    assert recount_forest(forest) == {}
    delete_forest(forest)
    assert not any(collection(model).count_documents({}) for model in MODELS)
    return "imported"


def test_nothing_changed_is_imported(db: None, archive: Archive, tmp_path: Path):
    assert outcome(archive, tmp_path / "out") == "imported"


CHANGES = st.tuples(st.integers(min_value=0), st.sampled_from(HOSTILE))


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], phases=PHASES
)
@given(changes=st.lists(CHANGES, min_size=1, max_size=2))
def test_an_archive_with_a_value_that_nothing_wrote_is_refused_or_whole(
    changes: list[tuple[int, Any]], db: None, archive: Archive, tmp_path: Path
):
    hostile, everywhere = deepcopy(archive), list(places(archive))
    for number, value in changes:
        change = Change(everywhere[number % len(everywhere)], value)
        note(repr(change))
        with suppress(*CANNOT_BE_APPLIED):
            change.apply(hostile)

    outcome(hostile, tmp_path / "out")


@settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], phases=PHASES
)
@given(
    table=st.sampled_from(sorted(SCHEMAS)),
    order=st.lists(st.integers(min_value=0, max_value=15), max_size=20),
)
def test_rows_that_are_missing_or_doubled_or_in_another_order_are_refused_or_whole(
    table: str, order: list[int], db: None, archive: Archive, tmp_path: Path
):
    hostile = deepcopy(archive)
    rows = hostile.tables[table]
    hostile.tables[table] = [rows[number % len(rows)] for number in order]

    outcome(hostile, tmp_path / "out")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("manifest", "forest", "max_requests"), -1),
        (("manifest", "forest", "max_requests"), True),
        (("manifest", "forest", "max_requests"), 1.5),
        (("manifest", "forest", "max_requests"), 10**12),
        (("manifest", "forest", "max_tokens_total"), -1),
        (("manifest", "forest", "max_cost"), -0.5),
        (("manifest", "forest", "max_cost"), 1e300),
        (("manifest", "forest", "price_in"), -1),
        (("manifest", "forest", "price_out"), 1e10),
        (("manifest", "forest", "completion_tokens"), 2**63 - 1),
        (("manifest", "forest", "created_at"), "0001-01-01T00:00:00"),
        (("manifest", "forest", "created_at"), "9999-12-31T23:59:59"),
        (("manifest", "forest", "config_source"), "x" * 16_000_000),
        (("manifest", "forest", "replaced_settings", "JSON"), ["num_rollouts"]),
        (("manifest", "forest", "replaced_settings", "JSON"), {"num_rollouts": -1}),
        (("manifest", "forest", "worker_config", "JSON", "extra_body"), {"x": float("nan")}),
        (("manifest", "forest", "failures", "JSON"), {"x": 2**40}),
        (("manifest", "scorers", 0, "parameters"), ["x"]),
        (("manifest", "scorers", 0, "created_at"), 7),
        (("trees", 0, "prompt_tokens"), 2**63 - 1),
        (("trees", 0, "requests"), 2**40),
        (("trees", 0, "created_at"), datetime(1, 1, 2)),  # noqa: DTZ001
        (("nodes", 0, "count"), 2**40),
        (("nodes", 0, "drawn", "JSON"), {"1": 3}),
        (("nodes", 0, "drawn", "JSON"), {"00": 3}),
        (("nodes", 0, "numbered_to"), -1),
        (("nodes", 0, "numbered_to"), 10**10),
        (("nodes", 0, "logprob"), float("nan")),
        (("nodes", 0, "logprob"), float("-inf")),
        (("nodes", 0, "logprob"), 1e200),
        (("nodes", 0, "tokens"), 2**40),
        (("scores", 0, "scores", "JSON"), {"0": float("nan")}),
        (("scores", 0, "scores", "JSON"), {"0": 1e200}),
        (("scores", 0, "scores", "JSON"), {"0.1": 1.0}),
    ],
)  # fmt: skip
def test_what_no_site_can_have_written_is_refused(
    place: tuple[str | int, ...], value: Any, db: None, archive: Archive, tmp_path: Path
):
    hostile = deepcopy(archive)
    Change(place, value).apply(hostile)

    assert outcome(hostile, tmp_path / "out") == "refused"


def test_a_node_without_a_seed_is_imported(db: None, archive: Archive, tmp_path: Path):
    changed = deepcopy(archive)
    Change(("nodes", 0, "seed"), None).apply(changed)

    assert outcome(changed, tmp_path / "out") == "imported"


def test_counters_are_counted_and_not_believed(db: None, archive: Archive, tmp_path: Path):
    hostile = deepcopy(archive)
    for name in ("num_nodes", "num_leaves", "num_correct", "num_complete", "requests"):
        hostile.manifest["forest"][name] = 77
    for tree in hostile.tables["trees"]:
        tree |= {"num_nodes": 77, "num_correct": 77, "root_value": 0.77, "nodes_by_model": "{}"}
    hostile.manifest["scorers"][0] |= {"num_trees": 77, "num_nodes": 77}
    write(hostile, tmp_path / "out")

    assert refused(tmp_path / "out") is None

    forest, scorer = Forest.objects.get(), Scorer.objects.get()
    assert recount_forest(forest) == {}
    assert (forest.num_nodes, forest.num_correct) == (16, 4)
    assert (scorer.num_trees, scorer.num_nodes) == (1, 2)


def test_nodes_that_do_not_hang_together_are_left_out(db: None, archive: Archive, tmp_path: Path):
    hostile = deepcopy(archive)
    (torn,) = [row for row in hostile.tables["nodes"] if (row["tree"], row["path"]) == (0, "0.1")]
    hostile.tables["nodes"].remove(torn)
    write(hostile, tmp_path / "out")

    assert refused(tmp_path / "out") is None

    paths = {node.path for node in Node.objects.filter(tree_id=f"{NAME}/0000000")}
    assert paths == {node.path for node in duck_tree() if node.path and node.path[0] == 0}
    assert recount_forest(Forest.objects.get()) == {}


OPENR: dict[str, Any] = {
    "question": "2 + 3?",
    "final_answer": "5",
    "reasoning_steps": {
        "text": "2 + 3?",
        "mc_value": 0.5,
        "children": [
            {"text": "So 5.", "mc_value": 0.75, "children": []},
            {"text": "Add.", "mc_value": 0.5, "children": [{"text": "6", "mc_value": 0.0}]},
        ],
    },
}
JSONL: dict[str, Any] = {
    "prompt": [{"role": "user", "content": "2 + 3?"}],
    "label": 5,
    "item": "2 + 3?",
    "question": "2 + 3?",
    "rollouts": 4,
    "correct": 2,
    "children": [
        {
            "text": "Add.\n",
            "count": 4,
            "drawn": {"0": 4},
            "children": [
                {"text": "5", "count": 3, "drawn": {"0": 3}, "answer": "5", "correct": True},
                {"text": "6", "count": 1, "drawn": {"0": 1}, "rollouts": 2, "correct": 0},
            ],
        },
        {"text": "five", "count": 1, "drawn": {"0": 1}, "value": 0.9},
    ],
}


@pytest.mark.parametrize(
    ("format_name", "row"),
    [
        ("openr", OPENR),
        ("jsonl", JSONL),
        *((format_of(schema), row) for schema, row in ROWS.items()),
    ],
)
def test_trees_of_other_programs_are_refused_or_can_be_stored(format_name: str, row: Any):
    READERS[format_name](row)
    outcomes = Counter(
        _outcome_of_row(format_name, row, place, value)
        for place in _inside(row, ("row",))
        for value in HOSTILE
    )

    # No reader looks at every key, so up to two thirds of the changed rows may be read.
    assert outcomes["refused"] > outcomes["read"] / 2 > 0


def _outcome_of_row(format_name: str, row: Any, place: tuple[str | int, ...], value: Any) -> str:
    whole = {"row": deepcopy(row)}
    _replace(whole, place, value)
    try:
        written = parse_json(json.dumps(whole["row"], default=str), WrittenFloat)
        found = READERS[format_name](written)
    except (JsonError, ForeignTreeError) as error:
        assert "\n" not in str(error)  # noqa: PT017  most are refused, and some are not
        return "refused"
    counted(found.tree, "leaf_mean")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for node in found.tree:
        document = node_document(NAME, "x/0", node, now) | {"created_at": ""}
        assert storing_problem(document) is None
    texts = [found.prompt, found.label, found.item, found.question]
    assert storing_problem(texts) is None
    assert all(is_number(one) for one in found.values.values())
    return "read"


@pytest.mark.parametrize(
    "line",
    [
        {"label": 5, "answers": ["5", None, 6, 5.5], "scores": [0.5, [0.25, 1], [], 1]},
        {"label": "5", "texts": ["#### 5", "six"], "scores": None},
    ],
)
def test_samples_are_refused_or_have_an_answer_and_numbers(line: Any, tmp_path: Path):
    outcomes: Counter[str] = Counter()
    file = tmp_path / "samples.jsonl"
    for place in _inside(line, ("line",)):
        for value in HOSTILE:
            whole = {"line": deepcopy(line)}
            _replace(whole, place, value)
            file.write_text(json.dumps(whole["line"], default=str) + "\n")
            try:
                (samples,) = read_samples(file, Grader())
            except SampleFileError as error:
                assert "\n" not in str(error)  # noqa: PT017  most are refused, and some are not
                outcomes["refused"] += 1
                continue
            outcomes["read"] += 1
            assert samples
            assert all(is_number(one) for sample in samples for one in sample.scores)

    assert outcomes["refused"] > outcomes["read"] > 0
