"""Forests of solutions that are cut into other steps, on a real database."""

import io
import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from forests.core.model_counts import from_fields
from forests.models import COUNTERS, Forest, Node, Tree, TreeStatus
from forests.storage import trees as store
from forests.storage.counters import recount_forest
from forests.storage.trees import iter_trees
from rollouts.growing import fencing, leases
from rollouts.maintenance import resegmenting
from rollouts.maintenance.extending import extend_forest
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import reread, seeded, shape

pytestmark = pytest.mark.django_db(transaction=True)

NEW = "demo_arithmetic-train-new"


def write_paragraphs(prefix: str, seed: int) -> str:
    return f" First {seed % 2}.\nSo it is.\n\nThen {seed % 3}.\n\nStep 3: all\n#### {seed % 4}"


def resegmented(forest: Forest, *options: str, suffix: str = "new") -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(
        "resegment_forest", "--forest_name", forest.name, "--forest_name_suffix", suffix, *options,
        stdout=out, stderr=err,
    )  # fmt: skip
    return out.getvalue(), err.getvalue()


@pytest.fixture
def forest(model_server: OpenAIServer) -> Forest:
    model_server.write = write_paragraphs
    return grown()


def grown(suffix: str = "a", **settings: object) -> Forest:
    forest = seeded(3, suffix, **{"strategy": "sampled", "num_rollouts": 12, **settings})
    grow_slice(forest.name, 0, 3)
    return reread(forest)


def solutions(forest: Forest) -> list[tuple[object, ...]]:
    return sorted(
        (stored.index, stored.tree.steps_text(leaf.path), leaf.count, leaf.answer, leaf.grade,
         leaf.voted_answer)
        for stored in iter_trees(forest)
        for leaf in stored.tree.leaves()
    )  # fmt: skip


def test_the_new_forest_is_the_one_that_growth_by_the_new_rule_makes(
    forest: Forest, model_server: OpenAIServer
):
    other = grown("b", step_delimiter="\n\n")
    asked = len(model_server.requests)

    out, _ = resegmented(forest, "--step_delimiter", r"\n\n", "--json")

    new = Forest.objects.get(pk=NEW)
    assert shape(new) == shape(other)
    assert solutions(new) == solutions(forest)
    assert len(model_server.requests) == asked
    assert [tree.root_value for tree in Tree.objects.filter(forest_id=NEW).order_by("index")] == [
        tree.root_value for tree in Tree.objects.filter(forest_id=forest.name).order_by("index")
    ]
    told = json.loads(out)
    assert (told["trees"], told["samples"], told["left_out"]) == (3, 36, 0)
    assert (told["nodes_before"], told["nodes"]) == (forest.num_nodes, new.num_nodes)
    assert new.num_nodes < forest.num_nodes


def test_trees_that_several_workers_had_taken_keep_their_steps(forest: Forest):
    before = solutions(forest)
    Tree.objects.update(status="pending")
    for _ in range(3):
        trees = [tree.id for tree in Tree.objects.all()]
        fencing.take_over(leases.claim(trees, "one/1"), "one/1")
        leases.release(trees, "one/1")
    Tree.objects.update(status="complete")

    resegmented(forest, "--step_delimiter", r"\n\n")

    assert solutions(Forest.objects.get(pk=NEW)) == before


def test_items_settings_and_counters_are_those_of_the_forest(forest: Forest):
    resegmented(forest, "--step_regex", "NUMBERED_STEPS", "--keep_blocks")

    new = Forest.objects.get(pk=NEW)
    assert recount_forest(new) == {}
    for name in set(COUNTERS) - {"num_nodes"}:
        assert getattr(new, name) == getattr(forest, name)
    assert (new.is_seeded, new.importer, new.num_trees, new.num_complete) == (True, "", 3, 3)
    assert new.worker_config["step_delimiter"]["flags"] == "i"
    changed = {"step_delimiter", "keep_blocks", "strategy"}
    assert {n for n, v in new.worker_config.items() if forest.worker_config.get(n) != v} == changed
    for old, tree in zip(iter_trees(forest), iter_trees(new), strict=True):
        for name in ("index", "item", "label", "prompt", "question", "status", "spent"):
            assert getattr(tree, name) == getattr(old, name)
        assert [leaf.drawn for leaf in tree.tree.leaves()] == [
            {0: leaf.count} for leaf in tree.tree.leaves()
        ]
    assert shape(forest) == shape(reread(forest))


def test_a_config_may_say_how_to_cut(forest: Forest, tmp_path: Path, settings):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "mine.py").write_text("""
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    def split_steps(self, text):
        return [sentence + "." for sentence in text.split(".")[:-1]] + [text.rpartition(".")[2]]
""")
    resegmented(forest, "--config_name", "mine")

    stored = next(iter_trees(Forest.objects.get(pk=NEW)))
    (first, *_) = stored.tree.children(())
    assert first.text.endswith(".")
    assert (
        Forest.objects.get(pk=NEW)
        .worker_config["step_delimiter"]["split_steps"]
        .startswith("mine ")
    )


@pytest.mark.parametrize("written", [1, 2])
def test_the_same_command_continues_an_interrupted_one(forest: Forest, monkeypatch, written: int):
    monkeypatch.setattr(store, "TREES_PER_READ", 1)
    insert, calls = store.insert_nodes, []

    def interrupted(documents: list[store.Document]) -> None:
        calls.append(documents)
        if len(calls) > written:
            raise KeyboardInterrupt
        insert(documents)

    monkeypatch.setattr(resegmenting, "insert_nodes", interrupted)
    with pytest.raises(CommandError, match="run the same command again"):
        resegmented(forest, "--step_delimiter", r"\n\n")
    monkeypatch.setattr(resegmenting, "insert_nodes", insert)
    with pytest.raises(CommandError, match="only partly imported: run the same resegment_forest"):
        call_command("recount_forest", "--forest_name", NEW)
    with pytest.raises(CommandError, match="partly imported from something else"):
        resegmented(forest, "--step_delimiter", "x")

    resegmented(forest, "--step_delimiter", r"\n\n")

    new = Forest.objects.get(pk=NEW)
    resegmented(forest, "--step_delimiter", r"\n\n", suffix="other")
    assert shape(new) == shape(Forest.objects.get(pk="demo_arithmetic-train-other"))
    assert recount_forest(new) == {}


@pytest.mark.parametrize("strategy", ["math_shepherd", "omega_prm"])
def test_only_the_solutions_from_the_root_are_taken_of_searches(
    model_server: OpenAIServer, strategy: str
):
    model_server.write = write_paragraphs
    forest = grown(strategy=strategy, num_rollouts=4, rollouts_per_state=4, num_searches=2)

    _, err = resegmented(forest, "--step_delimiter", r"\n\n")

    new = Forest.objects.get(pk=NEW)
    assert new.num_leaves == 3 * 4
    left_out = forest.num_leaves - new.num_leaves
    assert f"{left_out} rollouts that {strategy} drew from inner steps are left out" in err
    assert left_out > 0
    assert recount_forest(new) == {}


def test_a_failed_tree_stays_failed_and_has_no_nodes(forest: Forest):
    Tree.objects.filter(forest_id=forest.name, index=1).update(
        status=TreeStatus.FAILED, error="the server broke"
    )
    recount_forest(forest)

    _, err = resegmented(forest, "--step_delimiter", r"\n\n")

    new = Forest.objects.get(pk=NEW)
    assert (new.num_complete, new.num_failed) == (2, 1)
    tree = Tree.objects.get(forest_id=NEW, index=1)
    assert (tree.status, tree.error, tree.num_nodes) == ("failed", "the server broke", 0)
    assert "1 failed trees have no nodes" in err
    assert recount_forest(new) == {}
    with pytest.raises(CommandError, match="takes no rollouts"):
        call_command("retry_failed", "--forest_name", NEW)


def test_the_new_forest_takes_no_rollouts_and_may_be_cut_again(forest: Forest, model_server):
    resegmented(forest, "--step_delimiter", "x")
    with pytest.raises(CommandError, match="takes no rollouts: grow that forest"):
        call_command("rollout_worker", "--forest_name", NEW)

    resegmented(Forest.objects.get(pk=NEW), "--step_delimiter", r"\n", suffix="back")

    assert shape(Forest.objects.get(pk="demo_arithmetic-train-back")) == shape(forest)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--step_regex", "("], r"its regular expression cannot be read: missing \)"),
        (["--step_regex", r"(a+)+\n"], "avoid repeats inside repeats"),
        (["--step_regex", "x*"], "matches between any two letters"),
        (["--config_name", "nowhere"], "no config named 'nowhere'"),
        (["--config_name", "gsm8k_baseline", "--keep_blocks"], "is a setting of the config"),
        (["--step_delimiter", ""], "at least one character"),
        ([], "one of the arguments"),
        (["--step_delimiter", "a", "--step_regex", "b"], "not allowed with"),
    ],
)
def test_bad_usage_is_one_line_and_writes_nothing(
    forest: Forest, options: list[str], complaint: str
):
    with pytest.raises(CommandError, match=complaint) as error:
        resegmented(forest, *options)
    assert len(str(error.value).splitlines()) == 1
    assert Forest.objects.count() == 1


def test_a_splitter_that_loses_text_of_a_tree_writes_nothing(
    forest: Forest, tmp_path: Path, settings
):
    settings.CONFIG_PATH = [tmp_path]
    (tmp_path / "lossy.py").write_text("""
from experiment_configs.rollout.demo_arithmetic import Config as Demo

class Config(Demo):
    def split_steps(self, text):
        return text.split("Then 0") if "Then 0" in text else [text]
""")
    with pytest.raises(CommandError, match=r"tree \S+/\d+ cannot be cut again: split_steps must"):
        resegmented(forest, "--config_name", "lossy")
    assert Forest.objects.count() == 1


def test_a_forest_that_cannot_be_cut_again_says_why(model_server: OpenAIServer, forest: Forest):
    with pytest.raises(CommandError, match="'demo_arithmetic-train-a' exists already"):
        resegmented(forest, "--step_delimiter", "x", suffix="a")
    with pytest.raises(CommandError, match="cannot be part of an address"):
        resegmented(forest, "--step_delimiter", "x", suffix="A b")
    with pytest.raises(CommandError, match="no forest named 'nowhere'"):
        resegmented(Forest(name="nowhere"), "--step_delimiter", "x")
    branching = grown("c", strategy="branching")
    with pytest.raises(CommandError, match=r"branching draws forest .* step by step"):
        resegmented(branching, "--step_delimiter", "x")
    waiting = seeded(2, "d", strategy="sampled")
    with pytest.raises(
        CommandError, match=r"2 trees of forest .* are unfinished: run rollout_worker"
    ):
        resegmented(waiting, "--step_delimiter", "x")
    assert not Forest.objects.filter(pk=NEW).exists()


@pytest.mark.parametrize("drawn", [{"0": 2}, None])
def test_imported_solutions_are_cut_where_the_file_says_that_they_come_from_the_root(
    tmp_path: Path, drawn: dict[str, int] | None
):
    told = {} if drawn is None else {"drawn": drawn}
    leaf = {"text": "b. #### 2", "count": 2, "answer": "2", "correct": True, **told}
    first = {"text": "a. ", "count": 2, "children": [leaf], **told}
    tree = {"prompt": "1 + 1?", "label": "2", "children": [first]}
    (tmp_path / "t.jsonl").write_text(json.dumps(tree))
    call_command("import_trees", str(tmp_path / "t.jsonl"), "--forest_name_suffix", "a")
    forest = Forest.objects.get()
    if drawn is None:
        with pytest.raises(CommandError, match="it does not record where its samples were drawn"):
            resegmented(forest, "--step_delimiter", "####")
        return

    resegmented(forest, "--step_delimiter", "####")

    new = Forest.objects.get(pk="imported-train-new")
    assert [(n.text, n.count, n.answer) for n in Node.objects.filter(forest_id=new.pk)] == [
        ("a. b. ####", 2, None),
        (" 2", 2, "2"),
    ]


def test_the_new_forest_keeps_the_models_and_counts_its_own_nodes(forest: Forest):
    resegmented(forest, "--step_delimiter", "####")

    new = Forest.objects.get(pk=NEW)
    assert new.grown_by == Forest.objects.get(pk=forest.pk).grown_by
    assert from_fields(new.nodes_by_model) == {"scripted": new.num_nodes}
    assert new.num_nodes == Node.objects.filter(forest_id=NEW).count()


def test_token_ids_belong_to_the_old_steps(model_server: OpenAIServer, tmp_path: Path):
    model_server.tells_ids = True
    forest = grown(keep_tokens=True)
    assert any(stored.tree.root.kept for stored in iter_trees(forest))

    _, err = resegmented(forest, "--step_delimiter", " ")

    new = Forest.objects.get(pk=NEW)
    assert "token ids are not copied" in err
    assert new.worker_config["keep_tokens"] is False
    assert not any(node.kept for stored in iter_trees(new) for node in stored.tree)
    with pytest.raises(CommandError, match=r"keeps no token ids.*resegment_forest copies none"):
        call_command(
            "export_preferences", "--forest_name", NEW, "--format", "verifiers",
            "--container", "jsonl", "--output", str(tmp_path / "out"),
        )  # fmt: skip


def test_what_happened_to_the_old_trees_did_not_happen_to_the_new_ones(forest: Forest):
    extend_forest(forest, {"num_rollouts": 13})
    grow_slice(forest.name, 0, 3)
    extended = reread(forest)
    assert extended.extended_at
    assert extended.replaced_settings == {"num_rollouts": 12}

    resegmented(extended, "--step_delimiter", r"\n\n")

    new = Forest.objects.get(pk=NEW)
    assert (new.extended_at, new.replaced_settings) == (None, {})
    assert new.worker_config["num_rollouts"] == 13


@pytest.mark.parametrize(
    ("max_nodes", "lacking"),
    [(40, 0), (9, 3)],
    ids=["only rollouts from inner steps", "solutions from the root"],
)
def test_trees_at_the_node_limit_are_those_that_lack_solutions_from_the_root(
    model_server: OpenAIServer, max_nodes: int, lacking: int
):
    model_server.write = write_paragraphs
    forest = grown(strategy="math_shepherd", num_rollouts=4, rollouts_per_state=4, max_depth=8,
                   max_nodes=max_nodes)  # fmt: skip
    assert forest.num_hit_max_nodes == 3

    resegmented(forest, "--step_delimiter", r"\n\n")

    new = Forest.objects.get(pk=NEW)
    assert new.num_hit_max_nodes == lacking
    assert Tree.objects.filter(forest_id=NEW, hit_max_nodes=True).count() == lacking


def test_trees_of_samples_that_lack_some_still_do(model_server: OpenAIServer):
    model_server.write = write_paragraphs
    forest = grown(num_rollouts=4, max_depth=8, max_nodes=9)
    assert forest.num_hit_max_nodes == 3

    resegmented(forest, "--step_delimiter", r"\n\n")
    resegmented(Forest.objects.get(pk=NEW), "--step_delimiter", r"\n", suffix="again")

    for suffix in ("new", "again"):
        assert Forest.objects.get(pk=f"demo_arithmetic-train-{suffix}").num_hit_max_nodes == 3
