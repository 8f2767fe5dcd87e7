"""Finished forests that get more rollouts where a step is undecided."""

import io
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from experiment_configs.interfaces import ConfigError
from experiment_configs.refinements import Refinement
from forests.core.certainty.contests import ContestStanding, contests, steps_to_rank
from forests.core.certainty.standings import Standing
from forests.core.estimators import EstimatorError, caution, choose_estimator
from forests.core.tree import format_path, parse_path
from forests.core.values import root_value
from forests.models import Forest, Node, Tree
from forests.progress.reading import read_standing_of
from forests.progress.states import ForestState
from forests.storage.counters import recount_forest
from forests.storage.trees import delete_forest, iter_trees, retry_failed
from preferences.models import Preference, PreferenceSet
from prm_site import open_forest
from rollouts.client import failures
from rollouts.growing import grower as growth
from rollouts.growing.fencing import forget_nodes
from rollouts.maintenance import extending, refining
from rollouts.maintenance.extending import extend_forest
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer
from tests.rollouts.forests import reread, seeded, shape, statuses

pytestmark = pytest.mark.django_db(transaction=True)

NUM_TREES = 2
MOST = 4
CASES: dict[str, dict[str, Any]] = {
    "sampled": {"num_rollouts": 4},
    "branching": {"branching": [2, 2, 1]},
    "math_shepherd": {"num_rollouts": 2, "rollouts_per_state": 2},
    "omega_prm": {"rollouts_per_state": 2, "num_searches": 1},
}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(growth, "SECONDS_BETWEEN_LOOKS_AT_FOREST", 0.05)


def write_walk(prefix: str, seed: int) -> str:
    """Write three lines of few kinds, and an answer that is right one time in eight."""
    question = prefix.rpartition("Question:")[2]
    before, _, written = question.partition("Answer:")
    has, gets, loses = map(int, re.findall(r"\d+", before))
    chance = random.Random(f"{seed} {written}")
    lines = [f" Try {chance.randrange(9)}.\n" for _ in range(3 - written.count("\n"))]
    return "".join(lines) + f"#### {has + gets - loses + chance.randrange(8)}\n"


def write_differing(prefix: str, seed: int) -> str:
    """Write two lines and an answer; the first line decides how often the answer is right."""
    question = prefix.rpartition("Question:")[2]
    before, _, written = question.partition("Answer:")
    has, gets, loses = map(int, re.findall(r"\d+", before))
    chance = random.Random(f"{seed} {question}")
    lines = [f" Try {chance.randrange(9)}.\n" for _ in range(2 - written.count("\n"))]
    first = int(re.findall(r"\d+", written + "".join(lines))[0])
    is_right = chance.random() < (0.95 if first > 3 else 0.05)
    return "".join(lines) + f"#### {has + gets - loses + (not is_right)}\n"


@pytest.fixture
def server(model_server: OpenAIServer) -> OpenAIServer:
    model_server.write = write_walk
    return model_server


def refine(forest: Forest, *options: str, most: int = MOST) -> tuple[dict[str, Any], str]:
    """Return the JSON of the command, and its messages."""
    out, err = io.StringIO(), io.StringIO()
    call_command(
        "refine_forest", "--forest_name", forest.name, "--max_rollouts", str(most), "--json",
        *options, stdout=out, stderr=err,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(out.getvalue())
    return told, err.getvalue()


def refusal(forest: Forest, *options: str, most: int = MOST) -> str:
    """Return the refusal, one line, after a check that nothing changed."""
    before = stored(forest)
    with pytest.raises(CommandError, match=r"^[^\n]+$") as raised:
        refine(forest, *options, most=most)
    assert stored(forest) == before
    return str(raised.value)


def stored(forest: Forest) -> tuple[object, ...]:
    return (
        Forest.objects.filter(pk=forest.pk).values().get(),
        list(Tree.objects.order_by("pk").values()),
    )


def grow(forest: Forest) -> None:
    grow_slice(forest.name, 0, forest.num_trees)


def grown(case: str = "sampled", suffix: str = "a", **settings: Any) -> Forest:
    forest = seeded(NUM_TREES, suffix, strategy=case, **CASES[case] | settings)
    grow(forest)
    return reread(forest)


def asked(server: OpenAIServer) -> Counter[tuple[str, int]]:
    return Counter((request["prompt"], request["seed"]) for request in server.requests)


@pytest.mark.parametrize("later_steps", ["draw", "infer"])
@pytest.mark.parametrize("case", CASES)
def test_every_step_of_a_finished_forest_is_decided(
    case: str, later_steps: str, server: OpenAIServer
):
    forest = grown(case)
    before = len(server.requests)

    told, said = refine(forest, "--later_steps", later_steps)

    assert told["num_decided"] < told["num_steps"]
    assert len(server.requests) == before  # planning asks nobody
    assert statuses(forest).get("pending") == told["num_trees"] > 0
    assert "rollout_worker" in said

    grow(forest)

    assert read_standing_of(reread(forest)).state is ForestState.FINISHED
    assert max(asked(server).values()) == 1
    drawn = sum(request["n"] for request in server.requests[before:])
    assert 0 < drawn <= told["num_rollouts_at_most"]
    after, said = refine(forest, "--later_steps", later_steps)
    assert after["num_decided"] == after["num_steps"] == told["num_steps"]
    assert after["num_trees"] == 0
    assert "no complete tree needs more rollouts" in said
    assert (after["standings"]["inferred"] > 0) <= (later_steps == "infer")
    assert recount_forest(reread(forest)) == {}


def test_a_dry_run_changes_nothing(server: OpenAIServer):
    forest = grown()
    before = stored(forest)

    told, said = refine(forest, "--dry_run", "--max_tokens_total", "5")

    assert told["num_trees"] > 0
    assert told["num_tokens_at_most"] > 0
    assert "nothing was changed" in said
    assert stored(forest) == before


def test_values_are_hard_labels_from_then_on(server: OpenAIServer):
    """Drawing stops at the first right rollout, so the share of right ones comes out too high."""
    forest = grown()

    refine(forest)
    grow(forest)

    forest = reread(forest)
    assert forest.estimator == choose_estimator("sampled", "auto", forest.refined_for) == "any"
    assert "biased upwards" in caution("sampled", "own_rollouts", forest.refined_for)
    for one in iter_trees(forest):
        tree = Tree.objects.get(pk=one.id)
        assert tree.root_value == root_value(one.tree, "any")
    with pytest.raises(EstimatorError):
        choose_estimator("branching", "own_rollouts", forest.refined_for)


def test_exports_of_steps_have_the_solutions_of_the_strategy_only(
    server: OpenAIServer, tmp_path: Path
):
    forest = grown()
    solutions = sum(len(one.tree.leaves()) for one in iter_trees(forest))
    refine(forest)
    grow(forest)

    call_command(
        "export_preferences", "--forest_name", forest.name, "--format", "trl_stepwise",
        "--output", str(tmp_path / "out"),
    )  # fmt: skip

    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["parameters"]["solutions"] == "annotated"
    assert sum(manifest["rows"].values()) == solutions


def test_a_larger_maximum_draws_more_and_a_smaller_one_is_refused(server: OpenAIServer):
    forest = grown()
    refine(forest)
    grow(forest)

    assert "can only become larger" in refusal(forest, most=MOST - 1)
    told, _ = refine(forest, most=2 * MOST)
    assert told["num_trees"] > 0
    grow(forest)

    after, _ = refine(forest, most=2 * MOST)
    assert after["num_decided"] == after["num_steps"] == told["num_steps"]
    assert max(asked(server).values()) == 1


def test_a_failed_tree_continues_its_refinement(server: OpenAIServer):
    forest, other = grown(concurrency=1), grown(suffix="b", concurrency=1)
    for one in (forest, other):
        refine(one)
    tree = Tree.objects.filter(forest_id=forest.pk, status="pending").first()
    assert tree is not None
    Tree.objects.filter(pk=tree.pk).update(status="failed", error="the server refused")
    grow(forest)

    retry_failed(reread(forest))
    grow(reread(forest))
    grow(other)

    assert shape(forest) == shape(other)


def test_a_tree_at_the_node_limit_is_refined_further_once_the_limit_is_raised(
    server: OpenAIServer,
):
    forest = grown(max_depth=5, max_nodes=22)
    refine(forest)
    grow(forest)

    told, said = refine(forest)
    assert told["num_trees"] == 0
    assert told["num_decided"] < told["num_steps"]
    assert "--max_nodes N" in said
    extend_forest(reread(forest), {"max_nodes": 4000})
    grow(forest)

    told, _ = refine(forest)
    assert told["num_decided"] == told["num_steps"]
    assert max(asked(server).values()) == 1


def test_an_emptied_tree_is_grown_by_its_strategy_again(server: OpenAIServer):
    """Its steps are gone, and with them the list of those to decide."""
    forest = grown()
    refine(forest)
    tree = Tree.objects.filter(refined_steps__isnull=False).first()
    assert tree is not None
    assert forget_nodes([(tree.id, tree.generation)], {}) == 1

    grow(forest)

    tree.refresh_from_db()
    assert tree.status == "complete"
    assert tree.num_leaves == CASES["sampled"]["num_rollouts"]


def test_only_steps_of_the_strategy_are_drawn_from(server: OpenAIServer):
    forest = grown("branching")
    nodes = {(one.index, node.path) for one in iter_trees(forest) for node in one.tree}

    refine(forest)

    steps = {
        (one.index, parse_path(step))
        for one in iter_trees(reread(forest))
        for step in one.refined_steps or ()
    }
    assert steps
    assert steps <= nodes


def test_unsuitable_forests_are_refused_with_the_remedy(server: OpenAIServer):
    unfinished = seeded(NUM_TREES, "u", strategy="sampled")
    assert "run rollout_worker" in refusal(unfinished)
    forest = grown()
    refine(forest)
    grow(forest)
    forest = reread(forest)
    with pytest.raises(ConfigError, match="was refined"):
        extend_forest(forest, {"num_rollouts": 20})
    with pytest.raises(CommandError, match="refine_forest"):
        call_command("configure_forest", "--forest_name", forest.name, "--set", "refinement=null")
    Forest.objects.filter(pk=forest.pk).update(is_paused=True)
    assert "paused" in refusal(forest, most=2 * MOST)


def test_its_settings_say_that_it_was_refined(server: OpenAIServer):
    """They do not know the setting `refinement`, and refuse unknown settings."""
    forest = grown()
    refine(forest)

    assert reread(forest).worker_config["refinement"]["most_rollouts"] == MOST
    assert reread(forest).replaced_settings["refinement"] is None


WIDE: dict[str, dict[str, Any]] = {
    "branching": {"branching": [4, 2, 1]},
    "sampled": {"num_rollouts": 12},
}
PAIRS = ("--goal", "pairs", "--target_confidence", "0.6")


GOALS = {"labels": (), "pairs": PAIRS}


def wide(suffix: str = "a", **settings: Any) -> Forest:
    """Return a grown forest in which labels and pairs are undecided."""
    return grown(suffix=suffix, **WIDE["sampled"] | settings)


def interrupt(*_args: object, **_options: object) -> None:
    raise KeyboardInterrupt


def root_values(forest: Forest) -> dict[int, float | None]:
    return dict(Tree.objects.filter(forest_id=forest.pk).values_list("index", "root_value"))


def root_values_of(forest: Forest) -> dict[int, float | None]:
    """Return the root values that the estimator of the forest gives."""
    return {one.index: root_value(one.tree, forest.estimator) for one in iter_trees(forest)}


@pytest.mark.parametrize("goal", GOALS)
def test_a_limit_ends_it_and_the_same_call_with_a_larger_one_lets_it_finish(
    goal: str, server: OpenAIServer
):
    server.write = write_differing
    forest = wide()
    spent = reread(forest).used.tokens

    refine(forest, *GOALS[goal], "--max_tokens_total", str(spent + 1), most=16)
    grow(forest)

    forest = reread(forest)
    assert forest.spent_limit
    assert forest.num_pending > 0
    _, said = refine(forest, *GOALS[goal], "--max_tokens_total", str(100 * spent), most=16)
    assert "rollout_worker" in said
    assert reread(forest).max_tokens_total == 100 * spent
    grow(reread(forest))
    assert refine(forest, *GOALS[goal], most=16)[0]["num_trees"] == 0


@pytest.mark.parametrize(
    "interrupted", ["_write_steps", "reopen", "set_settings", "_write_root_values"]
)
@pytest.mark.parametrize("goal", GOALS)
def test_a_call_that_was_interrupted_is_finished_by_the_same_call(
    goal: str, interrupted: str, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
):
    server.write = write_differing
    forest, other = wide(), wide("b")
    options = (*GOALS[goal], "--max_tokens_total", "1000000")

    with monkeypatch.context() as patch:
        module = extending if interrupted == "set_settings" else refining
        patch.setattr(module, interrupted, interrupt)
        with pytest.raises(CommandError, match="run the same command again"):
            refine(forest, *options, most=8)
    assert bool(reread(forest).refined_for) == (interrupted == "_write_root_values")
    if not reread(forest).refined_for:
        assert root_values(forest) == root_values_of(reread(forest))
    for one in (forest, other):
        refine(one, *options, most=8)
        assert reread(one).refined_for == goal
        assert reread(one).max_tokens_total == 1000000
        assert root_values(one) == root_values_of(reread(one))
        grow(one)

    assert shape(forest) == shape(other)
    assert root_values(forest) == root_values_of(reread(forest))


def test_steps_of_an_interrupted_call_do_not_outlast_another_goal(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
):
    server.write = write_differing
    forest = wide()
    with monkeypatch.context() as patch:
        patch.setattr(extending, "set_settings", interrupt)
        with pytest.raises(CommandError, match="run the same command again"):
            refine(forest)

    refine(forest, *PAIRS, most=8)

    for one in iter_trees(reread(forest)):
        assert one.refined_steps == [format_path(step) for step in steps_to_rank(one.tree)]


def test_a_tree_that_needs_nothing_keeps_no_steps_of_an_interrupted_call(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
):
    """Its strategy may have drawn other steps by then, and exports would keep only listed ones."""
    server.write = write_differing
    forest = wide()
    tree = Tree.objects.filter(forest_id=forest.pk).first()
    assert tree is not None
    lacking = refining.num_lacking
    Tree.objects.filter(pk=tree.pk).update(refined_steps=["0"])
    looked = iter([0, 1])
    monkeypatch.setattr(refining, "num_lacking", lambda *all_: next(looked) and lacking(*all_))

    refine(forest)

    tree.refresh_from_db()
    assert tree.refined_steps is None


def test_an_extension_that_is_unfinished_is_not_given_up_for_a_refinement(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
):
    forest = grown()
    with monkeypatch.context() as patch:
        patch.setattr(refining, "reopen", interrupt)
        with pytest.raises(CommandError, match="run the same command again"):
            refine(forest)
    extend_forest(reread(forest), {"num_rollouts": 8})

    assert "run rollout_worker" in refusal(forest)


def test_a_decided_forest_is_told_as_its_settings_are(server: OpenAIServer):
    forest = grown()
    refine(forest)
    grow(forest)

    told, _ = refine(forest, "--later_steps", "infer")

    assert told["num_trees"] == 0
    assert told["standings"]["inferred"] > 0
    assert reread(forest).worker_config["refinement"]["infers_later"]
    assert read_standing_of(reread(forest)).state is ForestState.FINISHED


@pytest.mark.parametrize("case", ["branching", "sampled"])
def test_pairs_are_refined_until_none_is_open(case: str, server: OpenAIServer):
    server.write = write_differing
    forest = grown(case, **WIDE[case])
    before = len(server.requests)

    told, said = refine(forest, *PAIRS, "--dry_run", most=16)
    assert told["num_pairs"] > told["num_decided"]
    assert told["standings"]["open"] > 0
    assert "would grow further" in said
    assert reread(forest).refined_for == ""

    told, said = refine(forest, *PAIRS, most=16)
    assert "--estimator through_rollouts" in said
    assert len(server.requests) == before  # planning asks nobody
    prior = reread(forest).worker_config["refinement"]["prior"]
    assert prior["num_groups"] > 0
    grow(forest)

    drawn = sum(request["n"] for request in server.requests[before:])
    assert 0 < drawn <= told["num_rollouts_at_most"]
    assert max(asked(server).values()) == 1
    forest = reread(forest)
    assert forest.estimator == choose_estimator(case, "auto", forest.refined_for)
    assert forest.estimator == "through_rollouts"
    goal = Refinement.from_dict(forest.worker_config["refinement"])
    for one in iter_trees(forest):
        assert Tree.objects.get(pk=one.id).root_value == root_value(one.tree, "through_rollouts")
        steps = [parse_path(step) for step in one.refined_steps or ()]
        known = {contest.standing for contest in contests(one.tree, steps, goal)}
        assert ContestStanding.OPEN not in known
    assert recount_forest(forest) == {}


def test_a_second_call_learns_from_the_added_rollouts(server: OpenAIServer):
    server.write = write_differing
    forest = seeded(8, "a", strategy="branching", **WIDE["branching"])
    grow(forest)
    forest = reread(forest)
    refine(forest, "--goal", "pairs", "--target_confidence", "0.8", most=16)
    first = reread(forest).worker_config["refinement"]["prior"]
    steps = {one.index: one.refined_steps for one in iter_trees(reread(forest))}
    grow(forest)

    told, _ = refine(reread(forest), "--goal", "pairs", "--target_confidence", "0.9", most=32)

    assert told["num_trees"] > 0
    assert reread(forest).worker_config["refinement"]["prior"] != first
    after = {one.index: one.refined_steps for one in iter_trees(reread(forest))}
    assert all(after[index] == paths for index, paths in steps.items() if paths is not None)
    grow(forest)
    assert max(asked(server).values()) == 1


def test_preference_sets_pair_only_the_steps_that_were_compared(server: OpenAIServer):
    """An added rollout brings a step with one sample, which would be the best or the worst."""
    server.write = write_differing
    forest = grown("branching", **WIDE["branching"])
    there = {(one.index, node.path) for one in iter_trees(forest) for node in one.tree}
    refine(forest, *PAIRS, most=16)
    grow(forest)

    call_command(
        "create_preferences", "--forest_name", forest.name, "--set_name", "p",
        "--min_confidence", "0", "--level", "step",
    )  # fmt: skip

    made = PreferenceSet.objects.get(name="p")
    pairs = list(Preference.objects.filter(preference_set=made.pk))
    assert made.parameters["estimator"] == "through_rollouts"
    assert made.dropped["nodes_of_added_rollouts"] > 0
    assert pairs
    sides = {
        (pair.tree_index, parse_path(one.rpartition("/")[2]))
        for pair in pairs
        for one in (pair.chosen_id, pair.rejected_id)
    }
    assert sides <= there
    assert all(0 < (pair.confidence or 0) <= 1 for pair in pairs)


def test_the_python_api_pairs_the_same_steps_of_a_refined_forest(
    server: OpenAIServer, tmp_path: Path
):
    server.write = write_differing
    forest = grown("branching", **WIDE["branching"])
    refine(forest, *PAIRS, most=16)
    grow(forest)
    archive = str(tmp_path / "archive")
    call_command("export_forest", "--forest_name", forest.name, "--output", archive)

    call_command("create_preferences", "--forest_name", forest.name)

    made = {
        (one.tree_index, one.prefix, one.chosen, one.rejected, one.confidence)
        for one in Preference.objects.all()
    }
    assert made
    for opened in (open_forest(forest.name), open_forest(archive)):
        assert made == {
            (one.tree_index, one.prefix_text, one.chosen.text, one.rejected.text, one.confidence)
            for one in opened.pairs(min_confidence=0.8)
        }


@pytest.mark.parametrize("case", WIDE)
def test_exports_of_steps_leave_out_the_rollouts_that_compared_pairs(
    case: str, server: OpenAIServer, tmp_path: Path
):
    server.write = write_differing
    forest = grown(case, **WIDE[case])
    whole = {
        (one.tree.steps_text(leaf.path), one.index)
        for one in iter_trees(forest)
        for leaf in one.tree.leaves()
    }
    refine(forest, *PAIRS, most=16)
    grow(forest)

    rows: dict[str, int] = {}
    left_out: dict[str, int] = {}
    for name in ("trl_stepwise", "prm800k", "processbench"):
        call_command(
            "export_preferences", "--forest_name", forest.name, "--format", name,
            "--output", str(tmp_path / name),
        )  # fmt: skip
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert manifest["parameters"]["solutions"] == "annotated"
        rows[name] = sum(manifest["rows"].values())
        left_out[name] = manifest["left_out"]["rollouts_that_only_annotate"]

    assert rows["trl_stepwise"] == rows["processbench"]
    # A rollout that ends in its first step looks like a step that `branching` drew.
    assert rows["processbench"] >= len(whole)
    assert rows["processbench"] == len(whole) or case == "branching"
    assert min(left_out.values()) > 0


def test_a_forest_refined_for_pairs_moves_to_another_database_and_is_regraded(
    server: OpenAIServer, tmp_path: Path
):
    server.write = write_differing
    forest = wide()
    refine(forest, *PAIRS, most=8)
    grow(forest)
    forest = reread(forest)
    settings, trees = forest.worker_config, shape(forest)
    steps = dict(Tree.objects.values_list("index", "refined_steps"))
    archive = str(tmp_path / "archive")

    call_command("export_forest", "--forest_name", forest.name, "--output", archive)
    delete_forest(forest)
    call_command("import_forest", archive)

    forest = reread(forest)
    assert (forest.worker_config, shape(forest)) == (settings, trees)
    assert dict(Tree.objects.values_list("index", "refined_steps")) == steps
    Node.objects.filter(grade="correct").update(grade="incorrect")
    call_command("regrade_forest", "--forest_name", forest.name)
    assert root_values(forest) == root_values_of(reread(forest))
    with pytest.raises(ConfigError, match="was refined"):
        extend_forest(reread(forest), {"num_rollouts": 20})


def test_a_refined_forest_is_cut_again_without_the_added_rollouts(server: OpenAIServer):
    server.write = write_differing
    forest, plain = wide(), wide("b")
    refine(forest, *PAIRS, most=8)
    grow(forest)

    told: dict[str, dict[str, int]] = {}
    for one in (forest, plain):
        out = io.StringIO()
        call_command(
            "resegment_forest", "--forest_name", one.name, "--step_delimiter", "\\n\\n",
            "--forest_name_suffix", f"new{one.name[-1]}", "--json", stdout=out,
        )  # fmt: skip
        told[one.name] = json.loads(out.getvalue())

    assert told[forest.name]["samples"] == told[plain.name]["samples"]
    assert told[forest.name]["left_out"] > told[plain.name]["left_out"] == 0


def test_options_and_goals_that_do_not_fit_are_refused_with_the_remedy(server: OpenAIServer):
    forest = grown()
    assert "--goal labels" in refusal(forest, "--goal", "pairs", "--later_steps", "draw")
    assert "--goal pairs" in refusal(forest, "--target_confidence", "0.9")
    for text in ("1", "0.4", "nan", "much"):
        assert "from 0.5 to below 1" in refusal(forest, "--target_confidence", text)
    refine(forest)
    grow(forest)
    assert "was refined for labels" in refusal(reread(forest), *PAIRS)
    assert "values of leaf_mean" in caution("branching", "leaf_mean", "pairs")
    assert "values of through_rollouts are not" in caution("sampled", "through_rollouts", "pairs")


def test_standings_name_every_outcome():
    assert [str(one) for one in Standing] == ["right", "wrong", "inferred", "unknown", "open"]
