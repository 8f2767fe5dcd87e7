import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.urls import reverse

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import Grade, TreeNode
from forests.models import Forest, TreeStatus
from forests.storage.scores import start_scorer
from metrics.measuring.forests import runs_of
from metrics.models import MetricRun
from metrics.tables.run_tables import command_of
from tests.forests.factories import add_trees, duck_tree, make_forest, open_tree
from tests.metrics.trees import coin_tree, tree_of
from tests.metrics.trees import leaf as ended

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"


@pytest.fixture
def forest(db) -> Forest:
    forest = add_trees(make_forest(NAME), [duck_tree(), duck_tree(), open_tree()])
    forest = add_trees(forest, [open_tree()], status=TreeStatus.GROWING)
    return add_trees(forest, [open_tree()], status=TreeStatus.FAILED)


def run(capsys, *arguments: str) -> tuple[str, str]:
    call_command("beam_search", "--forest_name", NAME, *arguments)
    return tuple(capsys.readouterr())


def test_the_table_shows_searches_and_baselines_and_says_it_is_an_oracle(forest, capsys):
    words = ["--num_beam_values", "1,5", "--value_function_option", "labelled"]
    out, err = run(capsys, *words, "--aggregation", "mean")
    lines = [line.replace("│", " ").split() for line in out.splitlines()]
    assert ["beam", "search", "mean", "1", *["100.0", "%", "(34.2-100.0)"] * 4, "2", "75"] in lines
    assert ["pass@1", "40.0", "%", "(6.3-86.8)", "2"] in lines
    assert {"pass@5", "maj@5"} <= {line[0] for line in lines if line}
    assert "trees used: 2 of 5" in out
    assert "an oracle: an upper bound" in err
    assert "trees left out: 1 failed, 1 no leaf with a result, 1 not complete" in err


def test_json_has_the_rows_the_trees_and_the_warning(forest, capsys):
    out, _ = run(capsys, "--json", "--aggregation", "mean,min", "--aggregation", "last")
    found = json.loads(out)
    assert found["is_oracle"]
    assert "oracle" in found["note"]
    left_out = {"failed": 1, "not_complete": 1, "no_result": 1}
    assert found["trees"] == {"total": 5, "used": 2, "left_out": left_out}
    searches = {(row["aggregation"], row["k"]) for row in found["rows"] if row["aggregation"]}
    assert searches == {(name, k) for name in ("mean", "min", "last") for k in (1, 5)}
    pass_at_1 = next(row for row in found["rows"] if (row["metric"], row["k"]) == ("pass", 1))
    assert pass_at_1["value"] == pytest.approx(4 / 10)


def test_a_run_keeps_what_the_forest_had_cost(forest, capsys):
    assert json.loads(run(capsys, "--print_as", "json")[0])["cost"] is None
    spent = {"prompt_tokens": 2_000_000, "completion_tokens": 100_000}
    Forest.objects.filter(pk=forest.pk).update(**spent, price_in=0.5, price_out=2.0)

    assert json.loads(run(capsys, "--print_as", "json")[0])["cost"] == pytest.approx(1.2)

    (kept,) = MetricRun.objects.all()
    assert kept.forest_cost == pytest.approx(1.2)


def test_csv_has_the_same_rows_as_json(forest, capsys):
    as_json = json.loads(run(capsys, "--print_as", "json")[0])["rows"]
    as_csv = list(csv.DictReader(io.StringIO(run(capsys, "--print_as", "csv")[0])))
    assert as_csv == [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in as_json
    ]


def test_running_twice_gives_the_same_numbers_and_keeps_one_result(forest, capsys):
    options = ["--value_function_option", "random", "--seed", "5"]
    assert run(capsys, *options) == run(capsys, *options)
    [stored] = runs_of(forest)
    assert stored.parameters["seed"] == 5
    run(capsys, "--value_function_option", "random", "--seed", "6")
    assert [one.parameters["seed"] for one in runs_of(forest)] == [6, 5]


def test_no_save_stores_nothing(forest, capsys):
    run(capsys, "--no-save")
    assert not MetricRun.objects.exists()


def test_results_of_an_earlier_forest_of_the_same_name_are_not_shown(forest, capsys):
    run(capsys)
    Forest.objects.filter(pk=NAME).delete()
    assert runs_of(make_forest(NAME)) == []


def test_a_forest_without_log_probabilities_has_no_numbers_and_says_so(db, capsys):
    add_trees(make_forest(NAME), [tree_without_logprobs()])
    out, err = run(capsys, "--value_function_option", "logprob")
    assert "trees used: 0 of 1" in out
    assert "1 no node with a value" in err


def tree_without_logprobs():
    tree = coin_tree(Random(1), (2, 2))
    for node in tree:
        node.tokens = 4
    return tree


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--num_beam_values", "0,x"],
            "argument --num_beam_values: '0,x' is not allowed: give whole numbers from 1 to 1024 "
            "separated by commas, such as 1,5",
        ),
        (
            ["--num_beam_values", ""],
            "argument --num_beam_values: '' is not allowed: give whole numbers from 1 to 1024 "
            "separated by commas, such as 1,5",
        ),
        (
            ["--aggregation", "mean,median"],
            "argument --aggregation: 'median' is not among min, product, mean, last, max, sum",
        ),
    ],
)
def test_a_bad_option_is_one_line_that_says_what_is_allowed(forest, arguments, message):
    with pytest.raises(CommandError) as raised:
        call_command("beam_search", "--forest_name", NAME, *arguments)
    assert str(raised.value) == f"Error: {message}"


def test_an_unknown_forest_is_one_line_with_the_known_ones(forest):
    with pytest.raises(CommandError) as raised:
        call_command("beam_search", "--forest_name", "nope")
    assert str(raised.value) == f"no forest named 'nope'; known: {NAME}"


def test_a_forest_without_a_complete_tree_says_what_to_run(db):
    add_trees(make_forest(NAME), [open_tree()], status=TreeStatus.GROWING)
    with pytest.raises(CommandError) as raised:
        call_command("beam_search", "--forest_name", NAME)
    assert str(raised.value) == (
        f"forest {NAME!r} has no complete tree: run rollout_worker or populate_forest first"
    )
    assert raised.value.returncode == 1


def test_a_bad_option_exits_with_2_and_without_a_traceback(db):
    done = subprocess.run(
        [sys.executable, "manage.py", "beam_search", "--forest_name", "x",
         "--num_beam_values", "0,x"],
        check=False,
        cwd=Path(settings.BASE_DIR),
        env=os.environ,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_several_procedures_are_compared_with_the_tokens_each_would_have_drawn(forest, capsys):
    words = ["--procedures", "beam,dvts,best_of_n", "--num_beam_values", "2", "--json"]
    rows = json.loads(run(capsys, *words)[0])["rows"]

    found = {row["procedure"]: row for row in rows if row["metric"] == "accuracy"}
    assert list(found) == ["beam", "dvts", "best_of_n"]
    tree = duck_tree()
    samples = sum(leaf.count for leaf in tree.leaves())
    whole = sum(
        leaf.count * sum(tree.nodes[leaf.path[:depth]].tokens for depth in range(1, leaf.depth + 1))
        for leaf in tree.leaves()
    )
    assert found["best_of_n"]["tokens"] == pytest.approx(2 * whole / samples)
    assert found["beam"]["tokens"] > 0


def test_an_unknown_procedure_is_refused(forest):
    with pytest.raises(CommandError, match="'mcts' is not among beam, dvts, best_of_n"):
        call_command("beam_search", "--forest_name", NAME, "--procedures", "mcts")


class TestEstimator:
    """A strategy's own estimator is used where none is named."""

    @pytest.fixture
    def searched(self, db) -> Forest:
        """Return an OmegaPRM forest: root rollouts one right, one wrong; five wrong from a step."""
        tree = tree_of(
            TreeNode((0,), text="A step.\n", count=2, drawn={0: 2}),
            replace(ended((0, 0), Grade.CORRECT), drawn={0: 1}),
            replace(ended((0, 1), Grade.INCORRECT, count=6), drawn={0: 1, 1: 5}),
        )
        config = RolloutWorkerConfig(strategy="omega_prm").as_dict()
        return add_trees(make_forest(NAME, worker_config=config), [tree])

    def test_the_estimator_used_is_stored_and_not_that_it_was_left_open(self, searched, capsys):
        out, err = run(capsys, "--json")
        explicit, _ = run(capsys, "--json", "--estimator", "own_rollouts")

        assert json.loads(out) == json.loads(explicit)
        assert json.loads(out)["parameters"]["estimator"] == "own_rollouts"
        assert "omega_prm drew from chosen steps, so best_of_n and pass rates" in err
        [stored] = runs_of(searched)
        assert "--estimator own_rollouts" in command_of(stored)

    def test_the_command_of_a_run_repeats_its_filter_of_trees(self, searched, capsys):
        run(capsys, "--pass_rate", "0.1,0.9", "--only_majority_wrong")

        [stored] = runs_of(searched)
        words = command_of(stored)
        assert "--pass_rate 0.1,0.9" in words
        assert words.endswith("--only_majority_wrong") or "--only_majority_wrong " in words

    def test_another_estimator_is_taken_with_a_warning(self, searched, capsys):
        out, err = run(capsys, "--json", "--estimator", "leaf_mean")

        assert json.loads(out)["parameters"]["estimator"] == "leaf_mean"
        assert "omega_prm drew from chosen steps" in err
        assert "so are values of leaf_mean" in err

    @pytest.mark.parametrize("command", ["beam_search", "evaluate_scorer"])
    def test_own_rollouts_of_a_branching_forest_are_refused_in_one_line(self, forest, command):
        words = ["--forest_name", NAME, "--estimator", "own_rollouts"]
        if command == "evaluate_scorer":
            start_scorer(forest, "s", {})
            words += ["--scorer", "s"]

        with pytest.raises(
            CommandError, match=r"use leaf_mean, child_mean, any, through_rollouts$"
        ) as caught:
            call_command(command, *words)

        assert caught.value.returncode == 2
        assert not MetricRun.objects.exists()

    def test_a_run_of_an_earlier_version_is_the_same_run(self, forest, capsys):
        run(capsys, "--estimator", "leaf_mean")
        run(capsys)

        assert MetricRun.objects.count() == 1

    def test_pages_show_the_values_of_the_strategy(self, searched, client):
        client.force_login(User.objects.create_user("ron", password="secret-ron"))

        tree = client.get(reverse("tree", args=[NAME, 0])).content.decode()
        trees = client.get(reverse("forest", args=[NAME])).content.decode()

        assert "<dd>0.50 <small>(1 of 2 correct)</small></dd>" in tree
        assert "0 of 5 correct" in tree
        assert "<dt>Estimator</dt><dd>own_rollouts</dd>" in tree
        assert '<td class="of-value number">0.50</td>' in trees

    def test_the_page_of_metrics_warns_of_pass_rates_from_chosen_steps(self, searched, client):
        call_command(
            "beam_search", "--forest_name", NAME, stdout=io.StringIO(), stderr=io.StringIO()
        )
        client.force_login(User.objects.create_user("ron", password="secret-ron"))

        page = client.get(reverse("metrics", args=[NAME])).content.decode()
        add_trees(make_forest("other-test-first"), [duck_tree()])
        compared = client.get("/compare/", {"forest": ["other-test-first", NAME]}).content.decode()

        for shown in (page, compared):
            assert "pass rates of the forest&#x27;s samples are biased" in shown
