"""Stored runs side by side, in the terminal and on the page."""

import csv
import io
import json
import subprocess
import sys
from random import Random

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from forests.models import Forest, Tree
from metrics.measuring import forests as runs_module
from metrics.measuring.forests import evaluate_forest, runs_of
from metrics.models import MetricRun
from tests.forests.factories import add_trees, duck_tree, make_forest
from tests.metrics.trees import coin_tree
from tests.processes import on_test_database

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"


@pytest.fixture
def forest(db) -> Forest:
    forest = add_trees(make_forest(NAME), [coin_tree(Random(n)) for n in range(8)])
    for option in ("labelled", "random"):
        call_command(
            "beam_search", "--forest_name", NAME, "--value_function_option", option, "--json"
        )
    return forest


def compared(capsys, *arguments: str) -> str:
    capsys.readouterr()
    call_command("compare_runs", "--forest_name", NAME, *arguments)
    return str(capsys.readouterr().out)


def test_the_later_runs_show_the_points_between_them_and_the_first(forest, capsys):
    out = compared(capsys, "--metrics", "accuracy", "--print_as", "md")
    oracle, lot = reversed(runs_of(forest))
    values = [run.rows[0]["value"] for run in (oracle, lot)]
    points = 100 * (values[1] - values[0])
    assert "| search | aggregation | N | answer | labelled | random |" in out
    assert f"{100 * values[1]:.1f} % [{points:+.1f}]" in out


def test_runs_are_listed_and_chosen_by_their_keys(forest, capsys):
    listed = json.loads(compared(capsys, "--list", "--json"))
    assert [one["name"] for one in listed] == ["labelled", "random"]
    key = listed[1]["run"]
    rows = list(csv.DictReader(io.StringIO(compared(capsys, "--runs", key, "--print_as", "csv"))))
    assert rows[0].keys() == {"procedure", "metric", "aggregation", "k", key}
    with pytest.raises(CommandError, match=r"no run nope of .*; known: "):
        compared(capsys, "--runs", "nope")


def test_runs_of_several_forests_are_named_by_their_forests(forest, capsys):
    add_trees(make_forest("ducks-test-second"), [coin_tree(Random(9))])
    call_command("beam_search", "--forest_name", "ducks-test-second", "--num_beam_values", "3")
    capsys.readouterr()
    call_command("compare_runs", "--forest_name", f"{NAME},ducks-test-second", "--json")
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["runs"]][-1] == "ducks-test-second, labelled"
    only_there = [row for row in found["rows"] if row["k"] == 3]
    assert all(row["found"][:2] == [None, None] for row in only_there)


def test_without_a_run_it_says_what_to_do(db):
    make_forest(NAME)
    with pytest.raises(CommandError, match="run beam_search first"):
        call_command("compare_runs", "--forest_name", NAME)


def test_the_page_compares_the_runs_that_are_ticked(forest, client):
    client.force_login(User.objects.create_superuser("reader"))
    html = client.get(f"/{NAME}/metrics/").content.decode()
    assert "Runs side by side" in html
    assert html.count(" checked>") == 2
    [first, _] = runs_of(forest)
    html = client.get(f"/{NAME}/metrics/?run={first.key}").content.decode()
    assert html.count(" checked>") == 1
    assert "Choose two runs or more." in html
    assert client.get(f"/{NAME}/metrics/?run=%00").status_code == 200


def test_processes_change_nothing_in_the_numbers(forest, monkeypatch):
    words = ["beam_search", "--forest_name", NAME, "--num_beam_values", "1,4", "--json"]
    done = subprocess.run(
        [sys.executable, "manage.py", *words, "--procedures", "beam,best_of_n",
         "--processes", "2"],
        env=on_test_database(),
        capture_output=True,
        check=True,
        text=True,
    )  # fmt: skip
    [run, *_] = runs_of(forest)
    assert json.loads(done.stdout)["rows"] == run.rows

    monkeypatch.setattr(runs_module, "TREES_PER_PART", 3)
    call_command(*words, "--procedures", "beam,best_of_n")
    [again, *_] = runs_of(forest)
    for one, other in zip(run.rows, again.rows, strict=True):
        assert one["value"] == pytest.approx(other["value"])
        assert (one["trees"], one["no_result"]) == (other["trees"], other["no_result"])


def test_progress_is_told_part_by_part(forest, monkeypatch):
    monkeypatch.setattr(runs_module, "TREES_PER_PART", 3)
    told: list[int] = []
    evaluate_forest(forest, runs_module.EvaluationOptions(), told.append)
    assert told == [3, 6, 8]


class TestModelsAndItems:
    """What must be the same in two runs, so that their difference tells of one thing."""

    OTHER = "ducks-test-second"

    def other(self, number: int, model: str = "other") -> None:
        trees = [coin_tree(Random(n)) for n in range(number)]
        for tree in trees:
            for node in tree:
                node.model = model
        add_trees(make_forest(self.OTHER), trees)
        call_command("beam_search", "--forest_name", self.OTHER, "--json")

    def compared(self, capsys, *arguments: str) -> tuple[str, str]:
        capsys.readouterr()
        call_command("compare_runs", "--forest_name", f"{NAME},{self.OTHER}", *arguments)
        out, words = capsys.readouterr()
        return out, words

    def test_each_run_shows_its_trees_and_models(self, forest, capsys):
        self.other(5)

        out, _ = self.compared(capsys, "--print_as", "md")

        assert "| run | - | - | trees used | 8 of 8 | 8 of 8 | 5 of 5 |" in out
        nodes = {name: Forest.objects.get(pk=name).num_nodes for name in (NAME, self.OTHER)}
        named = f"not named ({nodes[NAME]} nodes)"
        assert f"| models | {named} | {named} | other ({nodes[self.OTHER]} nodes) |" in out

    def test_different_items_are_one_line_of_warning(self, forest, capsys):
        self.other(5)

        _, words = self.compared(capsys)
        [warning] = [line for line in words.splitlines() if "warning" in line]
        assert "different items (8 trees and 5 trees)" in warning

        found = json.loads(self.compared(capsys, "--json")[0])
        assert "different items" in found["items_differ"]

    def test_the_same_items_of_two_models_are_not(self, forest, capsys):
        """Items are known by their texts, so two forests of one split can be compared."""
        self.other(8)

        out, words = self.compared(capsys, "--json")

        assert "warning" not in words
        assert json.loads(out)["items_differ"] is None
        models = {one["models"] for one in json.loads(out)["runs"]}
        assert len(models) == 2

    def test_as_many_other_items_are_different_ones(self, forest, capsys):
        self.other(8)
        Tree.objects.filter(forest_id=self.OTHER, index=3).update(label="19")
        call_command("beam_search", "--forest_name", self.OTHER, "--json")

        assert "different items (8 trees)" in self.compared(capsys)[1]

    def test_of_runs_of_an_older_version_it_is_said_that_nobody_knows(self, forest, capsys):
        self.other(8)
        MetricRun.objects.all().update(items_sha256="", nodes_by_model={})

        out, words = self.compared(capsys, "--print_as", "md")

        assert "warning: the runs may have used different items" in words
        assert "| models | - | - | - |" in out

    def test_the_page_warns_too(self, forest, client):
        client.force_login(User.objects.create_superuser("reader"))
        assert "different items" not in client.get(f"/{NAME}/metrics/").content.decode()
        add_trees(forest, [coin_tree(Random(9))])
        call_command("beam_search", "--forest_name", NAME, "--json")

        html = client.get(f"/{NAME}/metrics/").content.decode()

        assert "The runs used different items" in html
        assert "trees used" in html

    def test_a_run_keeps_the_models_of_its_time(self, forest, client):
        tree = coin_tree(Random(9))
        for node in tree:
            node.model = "younger"
        add_trees(forest, [tree])

        [run, *_] = runs_of(forest)

        assert "younger" not in run.models_in_words
        client.force_login(User.objects.create_superuser("reader"))
        html = client.get(f"/{NAME}/metrics/").content.decode()
        assert f"<bdi>{run.models_in_words}</bdi>" in html


def test_runs_of_two_forests_with_the_same_options_have_a_column_each(forest, capsys):
    other = add_trees(make_forest("ducks-test-other"), [duck_tree()] * 2)
    call_command(
        "beam_search", "--forest_name", other.name, "--value_function_option", "labelled", "--json"
    )
    key = runs_of(other)[0].key
    both = f"{NAME},{other.name}"
    capsys.readouterr()

    call_command("compare_runs", "--forest_name", both, "--runs", key, "--print_as", "csv")

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {f"{NAME}/{key}", f"{other.name}/{key}"} <= rows[0].keys()
