"""Stored runs side by side, in the terminal and on the page."""

import csv
import io
import json
import re
import subprocess
import sys
from random import Random

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from forests.models import Forest, Tree
from forests.storage.reader import DatabaseReader
from forests.storage.trees import delete_forest
from metrics.measuring import comparison
from metrics.measuring import forests as runs_module
from metrics.measuring.forests import evaluate_forest, runs_of
from metrics.models import RunItems
from metrics.pages import compare_views
from tests.forests.factories import add_trees, make_forest
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


def compared(capsys, *arguments: str, forests: str = NAME) -> str:
    capsys.readouterr()
    call_command("compare_runs", "--forest_name", forests, *arguments)
    return str(capsys.readouterr().out)


def keys_of(forest_name: str) -> list[str]:
    return [run.key for run in runs_of(Forest.objects.get(pk=forest_name))]


def test_a_forest_that_is_named_twice_is_no_pair(forest, capsys):
    [key, _] = keys_of(NAME)
    with pytest.raises(CommandError, match="there is one run only"):
        compared(capsys, "--runs", f"{key}, {key}", forests=f"{NAME}, {NAME}")


def test_runs_of_one_forest_are_compared_item_by_item(forest, capsys):
    out = compared(capsys, "--metrics", "accuracy", "--print_as", "csv")
    oracle, floor = reversed(runs_of(forest))
    values = [run.rows[0]["value"] for run in (oracle, floor)]

    [row] = [row for row in csv.DictReader(io.StringIO(out)) if row["k"] == "1"]

    assert [row["first"], row["other"]] == [f"{NAME}/{run.key}" for run in (oracle, floor)]
    assert row["items"] == "8"
    assert float(row["first_value"]) == pytest.approx(values[0])
    assert float(row["difference"]) == pytest.approx(values[1] - values[0])
    assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
    assert int(row["lost"]) - int(row["gained"]) == round(8 * (values[0] - values[1]))


def test_the_table_names_the_oracle_and_the_interval(forest, capsys):
    out = compared(capsys, "--metrics", "accuracy", "--print_as", "md")

    assert "| runs: number | oracle (Monte Carlo) | random (floor) | difference | items |" in out
    assert re.search(
        r"\| beam search, mean, N=1: best \| .* \| [+-][\d.]+ \([+-].* to .*\) \| 8 ", out
    )


def test_runs_are_listed_and_chosen_by_their_keys(forest, capsys):
    listed = json.loads(compared(capsys, "--list", "--json"))
    assert [one["name"] for one in listed] == ["oracle (Monte Carlo)", "random (floor)"]
    keys = [one["run"] for one in reversed(listed)]

    found = json.loads(compared(capsys, "--runs", ",".join(keys), "--json"))

    [comparison] = found["comparisons"]
    assert [one["run"] for one in comparison["subjects"]] == keys
    with pytest.raises(CommandError, match=r"no run nope of .*; known: "):
        compared(capsys, "--runs", "nope")
    with pytest.raises(CommandError, match="only: name two or more with --runs"):
        compared(capsys, "--runs", keys[0])


def test_without_a_run_it_says_what_to_do(db):
    make_forest(NAME)
    with pytest.raises(CommandError, match="run beam_search first"):
        call_command("compare_runs", "--forest_name", NAME)


def test_the_metrics_page_shows_the_runs_that_are_ticked_and_leads_to_their_comparison(
    forest, client
):
    client.force_login(User.objects.create_superuser("reader"))
    html = client.get(f"/{NAME}/metrics/").text
    assert html.count(" checked>") == 2
    assert 'formaction="/compare/"' in html
    [first, _] = runs_of(forest)
    html = client.get(f"/{NAME}/metrics/?run={first.key}").text
    assert html.count(" checked>") == 1
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
    evaluate_forest(DatabaseReader(forest), runs_module.EvaluationOptions(), told.append)
    assert told == [3, 6, 8]


class TestForests:
    """Two forests share some items; only these are compared."""

    OTHER = "ducks-test-second"

    @pytest.fixture
    def other(self, forest: Forest) -> Forest:
        """Another model's trees of the first five items, and of one that the first forest lacks."""
        trees = [coin_tree(Random(100 + n)) for n in range(6)]
        for tree in trees:
            for node in tree:
                node.model = "other"
        found = add_trees(make_forest(self.OTHER, dataset_source="example/geese"), trees)
        for index in range(8):
            item = {"item": f"item {index}"}
            Tree.objects.filter(forest_id=NAME, index=index).update(**item)
            Tree.objects.filter(forest_id=self.OTHER, index=index).update(**item)
        Tree.objects.filter(forest_id=self.OTHER, index=5).update(label="another label")
        for name in (NAME, self.OTHER):
            call_command("beam_search", "--forest_name", name, "--json")
        return found

    def compared(self, capsys, *arguments: str) -> tuple[dict, str]:
        capsys.readouterr()
        both = f"{NAME},{self.OTHER}"
        call_command("compare_runs", "--forest_name", both, "--json", *arguments)
        out, words = capsys.readouterr()
        return json.loads(out), words

    def test_samples_and_common_runs_are_compared_over_the_shared_items(self, other, capsys):
        found, _ = self.compared(capsys)

        samples, oracle = found["comparisons"]
        assert [samples["name"], oracle["name"]] == ["samples", "oracle (Monte Carlo)"]
        assert samples["num_shared"] == oracle["num_shared"] == [5]
        shares = [
            [tree.num_correct / tree.num_leaves for tree in
             Tree.objects.filter(forest_id=name, index__lt=5).order_by("index")]
            for name in (NAME, self.OTHER)
        ]  # fmt: skip
        row = samples["rows"][0]
        assert [row["metric"], row["items"]] == ["pass", 5]
        assert row["first_value"] == pytest.approx(sum(shares[0]) / 5)
        assert row["difference"] == pytest.approx((sum(shares[1]) - sum(shares[0])) / 5)

    def test_what_else_differs_is_warned_of(self, other, capsys):
        found, words = self.compared(capsys)

        told = found["comparisons"][0]["warnings"]
        assert "The datasets differ: example/ducks and example/geese" in told
        left_out = f"Left out: 3 of {NAME}, 1 of {self.OTHER}"
        assert f"Compared over 5 shared items only. {left_out}" in told
        assert words.count("warning: ") == len(told)
        models = [one["models"] for one in found["comparisons"][0]["subjects"]]
        assert models[0].startswith("not named (")
        assert models[1].startswith("other (")

    def test_nothing_is_compared_without_a_shared_item(self, other, capsys):
        Tree.objects.filter(forest_id=self.OTHER).update(label="another label")

        found, words = self.compared(capsys)

        assert found["comparisons"][0]["rows"][0]["difference"] is None
        assert f"{NAME} and {self.OTHER} share no item" in words

    def test_a_run_of_an_older_version_has_no_difference_and_says_so(self, other, capsys):
        RunItems.objects.all().delete()

        found, words = self.compared(capsys)

        assert found["comparisons"][1]["rows"] == []
        assert compared(capsys, "--print_as", "csv", "--runs", ",".join(keys_of(NAME))) == "\n"
        assert "did not store its items: run beam_search again" in words

    def test_a_repeated_run_and_a_deleted_forest_leave_no_items_behind(self, other):
        number = RunItems.objects.filter(forest_id=self.OTHER).count()
        call_command("beam_search", "--forest_name", self.OTHER, "--json")
        assert RunItems.objects.filter(forest_id=self.OTHER).count() == number == 1

        delete_forest(other)

        assert not RunItems.objects.filter(forest_id=self.OTHER).exists()


class TestPage:
    OTHER = TestForests.OTHER
    other = TestForests.other

    @pytest.fixture
    def reader(self, client):
        client.force_login(User.objects.create_superuser("reader"))
        return client

    def test_it_shows_the_same_numbers_as_the_command(self, other, reader, capsys):
        address = f"/compare/?forest={NAME}&forest={self.OTHER}&run={runs_of(other)[0].key}"
        capsys.readouterr()
        call_command("compare_runs", "--forest_name", f"{NAME},{self.OTHER}", "--json")

        page = reader.get(f"{address}&format=json").json()

        assert page["comparisons"] == json.loads(capsys.readouterr().out)["comparisons"]
        html = reader.get(address).text
        for warning in page["warnings"]:
            assert warning in html
        assert "5 shared items" in html

    def test_it_lists_the_items_that_only_one_gets_right(self, other, reader):
        Tree.objects.filter(index=0, forest_id=NAME).update(num_leaves=4, num_correct=4)
        Tree.objects.filter(index=0, forest_id=self.OTHER).update(num_leaves=4, num_correct=1)
        address = f"/compare/?forest={NAME}&forest={self.OTHER}"

        lost = reader.get(f"{address}&change=lost&format=json").json()["items"]

        assert lost[0]["item_preview"] == "item 0"
        assert [lost[0]["first"], lost[0]["other"]] == [1.0, 0.25]
        assert {one["change"] for one in lost} == {"lost"}
        html = reader.get(f"{address}&change=lost").text
        assert f'href="/{NAME}/trees/0/"' in html
        assert f'href="/{self.OTHER}/trees/0/"' in html

    def test_a_program_follows_next_from_portion_to_portion(self, other, reader, monkeypatch):
        monkeypatch.setattr(compare_views, "ITEMS_PER_PAGE", 1)
        for index in (0, 1):
            Tree.objects.filter(index=index, forest_id=NAME).update(num_leaves=4, num_correct=4)
            Tree.objects.filter(index=index, forest_id=self.OTHER).update(
                num_leaves=4, num_correct=1
            )
        address = f"/compare/?forest={NAME}&forest={self.OTHER}&change=lost&format=json"
        found = []
        while address:
            assert address.startswith("/compare/")
            page = reader.get(address).json()
            found += [one["item_preview"] for one in page["items"]]
            address = page["next"]
        assert found[:2] == ["item 0", "item 1"]
        assert len(found) == len(set(found))

    def test_a_page_compares_so_many_trees_at_most_and_says_so(self, other, reader, monkeypatch):
        for module in (comparison, compare_views):
            monkeypatch.setattr(module, "MAX_PAGE_TREES", 3)

        html = reader.get(f"/compare/?forest={NAME}&forest={self.OTHER}").text

        assert "3 shared items" in html
        assert f"compare_runs --forest_name {NAME},{self.OTHER}" in html

    def test_a_forest_without_numbers_is_compared_without_a_list_of_items(self, other, reader):
        Tree.objects.filter(forest_id=NAME).update(status="pending")

        page = reader.get(f"/compare/?forest={NAME}&forest={self.OTHER}")

        assert page.status_code == 200
        assert 'id="items"' not in page.text

    def test_without_a_pair_it_offers_what_can_be_compared(self, other, reader):
        html = reader.get("/compare/").text
        assert html.count('name="forest"') == 2
        html = reader.get(f"/compare/?forest={NAME}").text
        assert html.count('name="run"') == 2
        assert "Choose two runs or more" in html

    @pytest.mark.parametrize(
        "query",
        ["forest=nope", "row=nope", "with=2", "with=0", "in=9", "change=x", "page=0", "answer=x",
         "procedure=x", "aggregation=x", "forest=a&forest=b&forest=c&forest=d&forest=e"],
    )  # fmt: skip
    def test_what_is_not_there_is_not_found(self, other, reader, query):
        address = f"/compare/?forest={NAME}&forest={self.OTHER}&{query}"
        assert reader.get(address).status_code == 404

    def test_a_visitor_is_asked_to_log_in(self, client):
        assert client.get("/compare/").status_code == 302
