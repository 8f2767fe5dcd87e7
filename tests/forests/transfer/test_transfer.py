"""A forest goes to a directory and comes back the same."""

import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from common.directories import checksum
from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.questions import question_of_prompt
from forests.models import Forest, Node, Scorer, Tree, TreeScores, TreeStatus
from forests.storage.counters import recount_forest
from forests.storage.scores import read_scores, start_scorer, write_scores
from forests.storage.trees import collection, delete_forest, iter_trees
from forests.transfer import archiving as transfer
from forests.transfer.archive_files import ADDED
from forests.transfer.archive_format import SCHEMAS
from tests.forests.factories import (
    RIGHT,
    UNCOMPARED,
    WRONG,
    add_tree,
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
HALF = r"\ud800"
BRACKETS = "[" * 60 + "]" * 60
BIG = "x" * 17_000_000
ODD = tree_of(
    step("0.0", "  \u0663 + \u0662 = 5, so e\u0301 \u202e \U0001f986\n", seed=2**40),
    leaf("0.0.0", "\t#### 5 \u0007?", RIGHT, answer="", logprob=-1e-17),
)


@pytest.fixture
def forest(db) -> Forest:
    forest = make_forest(
        NAME, failures={"http_500": 6}, max_requests=10, config_source="# \u00fc\n"
    )
    add_trees(forest, [duck_tree(), ODD])
    chat = [{"role": "user", "content": "How much?\n"}]
    forest = Forest.objects.get(pk=NAME)
    add_tree(forest, 2, open_tree(), status=TreeStatus.GROWING, prompt=chat, lease_holder="me")
    add_tree(forest, 3, tree_of(), status=TreeStatus.FAILED, error="no", failures={"http_500": 6})
    Tree.objects.filter(index=1).update(question="How many?", hit_max_nodes=True)
    Tree.objects.filter(index=1).update(refined_steps=["0.0", "0.0.1"])
    forest = Forest.objects.get(pk=NAME)
    scorer = start_scorer(forest, "judge", {"kind": "logprobs"})
    scores = {node.path: 0.1 for node in duck_tree() if node.path}
    write_scores(scorer, {f"{NAME}/0000000": scores})
    recount_forest(forest)
    return Forest.objects.get(pk=NAME)


def documents() -> dict[str, list[dict[str, Any]]]:
    """Return all stored documents, without the fields that fence off late writers."""
    fences = dict.fromkeys(("generation", "oldest_generation"), 0)
    return {
        model.__name__: sorted(collection(model).find({}, fences), key=lambda one: one["_id"])
        for model in (Forest, Tree, Node, Scorer, TreeScores)
    }


def as_released(before: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Return these documents after an import: nobody holds the tree that was growing."""
    [growing] = [tree for tree in before["Tree"] if tree["status"] == "growing"]
    growing |= {"status": "pending", "lease_holder": "", "lease_expires_at": None}
    return before


def export(output: Path, *arguments: str) -> None:
    call_command("export_forest", "--forest_name", NAME, "--output", str(output), *arguments)


def test_what_comes_back_is_what_went_to_the_last_field(forest, tmp_path):
    before = documents()
    export(tmp_path / "out")
    delete_forest(forest)
    assert not any(documents().values())

    call_command("import_forest", str(tmp_path / "out"))

    assert documents() == as_released(before)


def test_under_another_name_it_is_a_forest_of_its_own(forest, tmp_path):
    export(tmp_path / "out")
    call_command("import_forest", str(tmp_path / "out"), "--forest_name_suffix", "copy")
    copy = Forest.objects.get(pk="ducks-test-copy")
    for one, other in zip(iter_trees(forest), iter_trees(copy), strict=True):
        assert one.tree == other.tree
        assert (one.prompt, one.label, one.spent) == (other.prompt, other.label, other.spent)
    assert read_scores(copy, "judge", [0]) == read_scores(forest, "judge", [0])
    delete_forest(copy)
    assert Node.objects.count() == forest.num_nodes


def test_a_killed_import_is_gone_on_with(forest, tmp_path, monkeypatch):
    before = documents()
    export(tmp_path / "out")
    delete_forest(forest)
    monkeypatch.setattr(transfer, "ROWS_PER_READ", 2)
    real, calls = transfer.insert_nodes, []

    def killed(rows):
        calls.append(rows)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(rows)

    monkeypatch.setattr(transfer, "insert_nodes", killed)
    with pytest.raises(CommandError, match="interrupted"):
        call_command("import_forest", str(tmp_path / "out"))
    assert not Forest.objects.get().is_seeded
    assert 0 < Node.objects.count() < len(before["Node"])
    for command in ("populate_forest", "recount_forest", "regrade_forest", "retry_failed"):
        with pytest.raises(CommandError, match="partly imported: run the same import_forest comm"):
            call_command(command, "--forest_name", NAME)

    call_command("import_forest", str(tmp_path / "out"))
    assert documents() == as_released(before)
    assert recount_forest(Forest.objects.get()) == {}
    assert (Forest.objects.get().is_seeded, Forest.objects.get().importer) == (True, "")


def interrupted_import(monkeypatch, directory: Path, *arguments: str) -> None:
    """Import some of the trees, and none of the nodes."""

    def killed(rows):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(transfer, "insert_nodes", killed)
        with pytest.raises(CommandError, match="interrupted"):
            call_command("import_forest", str(directory), *arguments)


def test_monday_s_trees_do_not_get_friday_s_nodes(forest, tmp_path, monkeypatch):
    export(tmp_path / "monday")
    Node.objects.filter(tree_id=f"{NAME}/0000000").update(text="Friday's step\n")
    export(tmp_path / "friday")
    delete_forest(forest)
    interrupted_import(monkeypatch, tmp_path / "monday")
    before = documents()

    with pytest.raises(CommandError, match=r"partly imported from something else: .*delete_forest"):
        call_command("import_forest", str(tmp_path / "friday"))
    assert documents() == before

    shutil.copytree(tmp_path / "monday", tmp_path / "copy")
    call_command("import_forest", str(tmp_path / "copy"))
    assert "Friday's step\n" not in Node.objects.values_list("text", flat=True)
    assert Forest.objects.get().import_sha256 == ""


def test_two_splits_do_not_share_a_name(forest, tmp_path, monkeypatch):
    """Split `test` with suffix `small-x`, and `test-small` with `x`, give the same name."""
    export(tmp_path / "test")
    Forest.objects.update(dataset_split="test-small")
    export(tmp_path / "small")
    interrupted_import(monkeypatch, tmp_path / "test", "--forest_name_suffix", "small-x")

    with pytest.raises(CommandError, match="holds the dataset split 'test', not 'test-small'"):
        call_command("import_forest", str(tmp_path / "small"), "--forest_name_suffix", "x")


def test_what_an_earlier_forest_has_left_is_not_taken_for_the_archive_s(forest, tmp_path):
    before = documents()
    export(tmp_path / "out")
    Forest.objects.all().delete()
    Node.objects.update(text="stale")

    call_command("import_forest", str(tmp_path / "out"))

    assert documents()["Node"] == before["Node"]


def test_an_archive_of_an_earlier_version_has_neither_questions_nor_a_node_limit(forest, tmp_path):
    out = tmp_path / "out"
    export(out)
    _change_table(out, "trees", lambda table: table.drop_columns(["question", "hit_max_nodes"]))
    older = {k: v for k, v in _manifest(out)["forest"].items() if k != "num_hit_max_nodes"}
    _change_manifest(out, forest=older)

    call_command("import_forest", str(out), "--forest_name_suffix", "old")

    old = Forest.objects.get(pk="ducks-test-old")
    assert old.num_hit_max_nodes == 0
    for tree in iter_trees(old):
        assert not tree.hit_max_nodes
        assert tree.question == question_of_prompt(tree.prompt)


def test_a_name_that_is_taken_is_refused_also_by_a_half_seeded_forest(forest, tmp_path):
    export(tmp_path / "out")
    with pytest.raises(CommandError, match="exists already: choose another --forest_name_suffix"):
        call_command("import_forest", str(tmp_path / "out"))
    make_forest("ducks-test-half", is_seeded=False)
    with pytest.raises(CommandError, match="exists already: choose another --forest_name_suffix"):
        call_command("import_forest", str(tmp_path / "out"), "--forest_name_suffix", "half")


def _cut(out: Path) -> None:
    nodes = out / "nodes.parquet"
    nodes.write_bytes(nodes.read_bytes()[:-10])


def _change_manifest(out: Path, **changes: Any) -> None:
    path = out / "manifest.json"
    path.write_text(json.dumps(_manifest(out) | changes))


def _manifest(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return found


def _scorer(out: Path) -> dict[str, Any]:
    (scorer,) = _manifest(out)["scorers"]
    return dict(scorer)


def _change_forest(out: Path, **changes: Any) -> None:
    _change_manifest(out, forest=_manifest(out)["forest"] | changes)


def _change_table(out: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a table, and its checksum in the manifest."""
    path = out / f"{name}.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    _change_manifest(out, files=_manifest(out)["files"] | {path.name: checksum(path)})


def _extra_body(value: Any) -> str:
    return json.dumps(RolloutWorkerConfig(extra_body={"x": value}).as_dict())


def _zero_inside(out: Path) -> None:
    """Overwrite the pages of a table but not its footer, and update its checksum."""
    path = out / "trees.parquet"
    content = bytearray(path.read_bytes())
    content[4:600] = bytes(596)
    path.write_bytes(content)
    _change_manifest(out, files=_manifest(out)["files"] | {path.name: checksum(path)})


def _with_column(table: pa.Table, name: str, value: object) -> pa.Table:
    place = table.column_names.index(name)
    field = table.schema.field(name)
    return table.set_column(place, field, pa.array([value] * len(table), field.type))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, r"'nodes.parquet' of .* is missing or not what was exported"),
        (lambda out: (out / "trees.parquet").unlink(), r"'trees.parquet' of .* is missing"),
        (lambda out: (out / "manifest.json").unlink(), "has no manifest.json"),
        (lambda out: (out / "manifest.json").write_text("{"), "not JSON .*export the forest again"),
        (lambda out: _change_manifest(out, format="x"), "holds no forest"),
        (
            lambda out: _change_manifest(out, version=99),
            "this site reads 1 and 2",
        ),
        (
            lambda out: _change_manifest(out, forest={"name": "x"}),
            "lacks completion_tokens, config_git_branch",
        ),
        (
            lambda out: _change_manifest(out, files={"../nodes.parquet": {"sha256": ""}}),
            "is missing or not what was exported",
        ),
        (lambda out: _change_manifest(out, files={"nodes.parquet": 1}), "not what was exported"),
        (lambda out: _change_manifest(out, files={}), "trees.parquet is not what export_forest"),
        (lambda out: _change_manifest(out, forest=[]), "lacks forest: export the forest again"),
        (lambda out: _change_forest(out, name="admin"), "'admin' is a page of the site"),
        (lambda out: _change_forest(out, name="../x"), "'../x' cannot be part of an address"),
        (lambda out: _change_forest(out, name=7), "lacks name"),
        (lambda out: _change_forest(out, num_trees="many"), r"manifest.json is not .*many"),
        (
            lambda out: _change_forest(out, num_trees=None),
            r"manifest.json is not .*num_trees is None",
        ),
        (
            lambda out: _change_forest(out, num_trees=2**63),
            r"manifest.json is not .*num_trees is 922",
        ),
        (
            lambda out: _change_forest(out, num_trees=-1),
            r"manifest.json is not .*num_trees is -1: from 0",
        ),
        (lambda out: _change_forest(out, num_trees=5), r"it does not have 5 trees"),
        (lambda out: _change_forest(out, num_trees=3), r"it does not have 3 trees"),
        (lambda out: _change_forest(out, num_trees=10**9), r"it does not have 1000000000 trees"),
        (
            lambda out: _change_forest(out, requests=-1),
            r"manifest.json is not .*requests is -1: from 0",
        ),
        (lambda out: _change_forest(out, config_name="<b>"), "config name '<b>' cannot be part"),
        (lambda out: _change_forest(out, dataset_split=".."), "dataset split '..' cannot be part"),
        (
            lambda out: _change_forest(out, dataset_licence="x" * 99),
            "dataset_licence has more than 80",
        ),
        (
            lambda out: _change_forest(out, config_source="\ud800"),
            r"manifest.json: a text holds a lone surrogate",
        ),
        (lambda out: _change_forest(out, failures='{"x": "y"}'), "failures are not counts"),
        (
            lambda out: _change_forest(out, nodes_by_model='{"x": "y"}'),
            "nodes_by_model are not counts",
        ),
        (lambda out: _change_forest(out, nodes_by_model='{"a.b": 1}'), "keys that no model gives"),
        (lambda out: _change_forest(out, grown_by='[{"model": "a"}]'), "hold something other than"),
        (lambda out: _change_forest(out, grown_by='"x"'), r"manifest.json is not .*'str' object"),
        (lambda out: _change_forest(out, allowed_models="[1]"), "something other than texts"),
        (lambda out: _change_forest(out, failures="[]"), r"manifest.json is not .*AttributeError"),
        (
            lambda out: _change_forest(out, worker_config='{"x": 1}'),
            r"manifest.json is not .*unknown worker setting x",
        ),
        (
            lambda out: _change_forest(out, worker_config='{"concurrency": "many"}'),
            r"manifest.json is not .*concurrency is 'many'",
        ),
        (lambda out: _change_forest(out, worker_config="7"), r"manifest.json is not .*TypeError"),
        (lambda out: (out / "manifest.json").write_text("[" * 10**5), "nested too deeply"),
        (lambda out: (out / "manifest.json").write_bytes(b"\xff"), "is not UTF-8"),
        (lambda out: _change_forest(out, requests=float("nan")), "NaN is not JSON"),
        (lambda out: _change_manifest(out, version=True), "has format True, and this site reads 1"),
        (
            lambda out: _change_forest(out, worker_config="[" * 10**5),
            r"manifest.json is not .*worker_config is not usable: its brackets are nested too",
        ),
        (
            lambda out: _change_forest(out, worker_config=_extra_body(json.loads(BRACKETS))),
            "worker_config has more than 50 levels",
        ),
        (
            lambda out: _change_forest(out, worker_config=_extra_body({"a\0": 1})),
            "worker_config has a key that is not a text",
        ),
        (
            lambda out: _change_forest(out, failures=json.dumps({"x": 2**70})),
            "failures has a whole number of more than 64 bits",
        ),
        (
            lambda out: _change_manifest(out, scorers=[_scorer(out) | {"parameters": {"\0": 1}}]),
            "scorer judge: parameters has a key",
        ),
        (
            lambda out: _change_table(
                out, "nodes", lambda t: _with_column(t, "drawn", json.dumps({"1" * 5000: 1}))
            ),
            r"drawn \{'1111",
        ),
        (
            lambda out: _change_table(
                out, "trees", lambda t: _with_column(t, "failures", json.dumps({"x\0": 7}))
            ),
            "failures has a key that is not a text, or",
        ),
        (_zero_inside, "trees.parquet is damaged"),
        (
            lambda out: _change_table(out, "trees", lambda t: _with_column(t, "status", "eaten")),
            "status is 'eaten': it must be one of pending, growing, complete, failed",
        ),
        (
            lambda out: _change_table(out, "trees", lambda t: _with_column(t, "index", 10**12)),
            "index is 1000000000000: it must be a whole number",
        ),
        *(
            (
                lambda out, steps=steps: _change_table(
                    out, "trees", lambda t: _with_column(t, "refined_steps", steps)
                ),
                words,
            )
            for steps, words in (
                ("3", "refined_steps of tree 0 are"),
                ('"0.1"', "refined_steps of tree 0 are not paths"),
                ('["0"]', "refined_steps of tree 0 are not paths of steps"),
                ('["0.x"]', "'0.x' is not a node path"),
                ("[1]", "is not what export_forest writes"),
            )
        ),
        (
            lambda out: _change_table(out, "trees", lambda t: _with_column(t, "prompt", "{}")),
            "the prompt of tree 0 is neither text nor chat messages",
        ),
        (
            lambda out: _change_table(
                out, "trees", lambda t: _with_column(t, "prompt", f'"{HALF}"')
            ),
            "prompt is not usable: a text holds a lone surrogate",
        ),
        (
            lambda out: _change_table(out, "trees", lambda t: _with_column(t, "label", BIG)),
            r"is not what export_forest writes .*too large",
        ),
        (
            lambda out: _change_table(
                out, "nodes", lambda t: _with_column(t, "drawn", '{"0": 1e999}')
            ),
            "drawn is not usable: the number 1e999 is too large",
        ),
        (
            lambda out: _change_table(out, "nodes", lambda t: _with_column(t, "grade", "good")),
            "'good' is not a valid Grade",
        ),
        (
            lambda out: _change_table(out, "nodes", lambda t: _with_column(t, "tree", 4)),
            "tree 4 of 4",
        ),
        (
            lambda out: _change_table(out, "nodes", lambda t: _with_column(t, "count", -4)),
            "count -4",
        ),
        (lambda out: _change_forest(out, created_at="today"), r"manifest.json is not .*today"),
        (
            lambda out: _change_forest(out, worker_config="{"),
            r"manifest.json is not .*worker_config is not usable: not JSON",
        ),
        (
            lambda out: _change_table(out, "nodes", lambda table: table.drop_columns("text")),
            r"nodes.parquet is not what export_forest writes \(unexpected columns\)",
        ),
        (
            lambda out: _change_table(out, "nodes", lambda t: _with_column(t, "path", "0.x")),
            r"is not what export_forest writes \(ValueError: '0.x' is not a node path",
        ),
        (
            lambda out: _change_table(out, "nodes", lambda t: _with_column(t, "path", "0")),
            "not enough values to unpack",
        ),
        (
            lambda out: _change_table(out, "trees", lambda t: _with_column(t, "index", None)),
            r"is not what export_forest writes \(ValueError: index is None",
        ),
        (
            lambda out: _change_table(out, "scores", lambda t: _with_column(t, "scores", "[")),
            r"is not what export_forest writes \(JsonError: not JSON",
        ),
        (
            lambda out: _change_manifest(out, scorers=[_scorer(out) | {"name": "../judge"}]),
            "scorer '../judge' cannot be part of an address",
        ),
        (lambda out: _change_manifest(out, scorers=[{"name": "judge"}]), "KeyError: 'parameters'"),
        (lambda out: _change_manifest(out, scorers=[]), "has more than 0 scores of trees"),
        (lambda out: _change_manifest(out, scorers=[_scorer(out) | {"name": 7}]), "TypeError"),
        (
            lambda out: _change_table(out, "scores", lambda t: _with_column(t, "tree", 9)),
            "tree 9 of 4",
        ),
        (
            lambda out: _change_table(
                out, "scores", lambda t: _with_column(t, "scores", '{"1": 0}')
            ),
            "'1' is not a node path",
        ),
        (
            lambda out: _change_table(
                out, "scores", lambda t: _with_column(t, "scores", '{"0": "x"}')
            ),
            "score 'x' of step 0",
        ),
    ],
)
def test_a_damaged_directory_is_one_line_and_writes_nothing(forest, tmp_path, damage, message):
    export(tmp_path / "out")
    delete_forest(forest)
    damage(tmp_path / "out")
    with pytest.raises(CommandError, match=message):
        call_command("import_forest", str(tmp_path / "out"))
    assert not any(documents().values())


def test_an_export_is_replaced_only_when_asked_and_a_full_disk_leaves_the_earlier_one(
    forest, tmp_path
):
    export(tmp_path / "out")
    with pytest.raises(CommandError, match="or add --overwrite"):
        export(tmp_path / "out")
    earlier = (tmp_path / "out" / "manifest.json").read_text()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, limits[1]))
    try:
        with pytest.raises(CommandError, match=r"could not be written: .*nothing is left behind"):
            export(tmp_path / "out", "--overwrite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "out" / "manifest.json").read_text() == earlier
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    export(tmp_path / "out", "--overwrite")


def test_the_tables_can_be_read_without_this_program(forest, tmp_path):
    export(tmp_path / "out")
    nodes = pq.read_table(tmp_path / "out" / "nodes.parquet").to_pylist()
    assert nodes[0]["text"] == duck_tree().nodes[0,].text
    assert (nodes[0]["tree"], nodes[0]["path"]) == (0, "0.0")


def _as_an_older_version_wrote_it(out: Path) -> None:
    for name in ("trees", "nodes"):
        added = [column for column in ADDED if column in SCHEMAS[name].names]
        _change_table(out, name, lambda table, added=added: table.drop_columns(added))  # type: ignore[misc]
    manifest = _manifest(out)
    for name in ("num_uncompared", "nodes_by_model", "grown_by", "allowed_models"):
        del manifest["forest"][name]
    (out / "manifest.json").write_text(json.dumps(manifest | {"version": 1}))


def test_what_nobody_could_compare_and_what_votes_together_comes_back(db, tmp_path):
    tree = tree_of(
        leaf("0.0", "#### 1/0", UNCOMPARED, answer="1/0", voted_answer="1/0", count=3),
        leaf("0.1", "#### 7", WRONG, answer="7", voted_answer="7.0"),
    )
    forest = add_trees(make_forest(NAME), [tree])
    recount_forest(forest)
    before = documents()
    export(tmp_path / "out")
    delete_forest(forest)

    call_command("import_forest", str(tmp_path / "out"))

    assert documents() == before
    assert (Forest.objects.get().num_uncompared, Tree.objects.get().num_uncompared) == (3, 3)
    [stored] = iter_trees(forest)
    assert stored.tree == tree


def test_an_archive_of_an_older_version_is_read(forest, tmp_path):
    before = documents()
    export(tmp_path / "out")
    delete_forest(forest)
    _as_an_older_version_wrote_it(tmp_path / "out")

    call_command("import_forest", str(tmp_path / "out"))

    [growing] = [tree for tree in before["Tree"] if tree["status"] == "growing"]
    growing |= {"status": "pending", "lease_holder": "", "lease_expires_at": None}
    for tree in before["Tree"]:
        # Old archives lack these; the question follows from the prompt.
        tree |= {"question": "", "hit_max_nodes": False, "refined_steps": None}
    for stored in before["Forest"]:
        stored |= {"num_hit_max_nodes": 0}
    assert documents() == before


def test_documents_of_an_older_version_are_read_and_exported(forest, tmp_path):
    trees = [stored.tree for stored in iter_trees(forest)]
    for model in (Forest, Tree, Node):
        collection(model).update_many({}, {"$unset": dict.fromkeys(ADDED, 1)})

    assert [stored.tree for stored in iter_trees(forest)] == trees
    export(tmp_path / "out")
    delete_forest(forest)
    call_command("import_forest", str(tmp_path / "out"))

    assert [stored.tree for stored in iter_trees(forest)] == trees
    assert Forest.objects.get().num_uncompared == 0


def test_an_archive_names_no_servers_to_which_the_key_of_this_site_would_be_sent(
    forest: Forest, tmp_path: Path
):
    config = RolloutWorkerConfig(base_urls=("http://elsewhere.example.org/v1",)).as_dict()
    Forest.objects.filter(pk=NAME).update(worker_config=config)
    export(tmp_path / "out")
    delete_forest(Forest.objects.get(pk=NAME))

    call_command("import_forest", str(tmp_path / "out"))

    assert Forest.objects.get(pk=NAME).worker_config["base_urls"] == []


def test_an_imported_forest_keeps_who_grew_it(forest: Forest, tmp_path: Path):
    entry = {
        "model": "gpt-4.1",
        "server": "http://gpu1/v1",
        "chat_template_sha256": "",
        "first_at": "2026-11-29T10:00:00+00:00",
        "answered_as": ["gpt-4.1-2025"],
    }
    counted = {"gpt-4%2E1-2025": 16}
    Node.objects.update(model="gpt-4.1-2025")
    Forest.objects.filter(pk=NAME).update(
        grown_by=[entry], allowed_models=["other"], nodes_by_model=counted
    )
    export(tmp_path / "out")
    delete_forest(forest)

    call_command("import_forest", str(tmp_path / "out"))

    found = Forest.objects.get(pk=NAME)
    assert (found.grown_by, found.allowed_models) == ([entry], ["other"])
    assert found.nodes_by_model == counted
