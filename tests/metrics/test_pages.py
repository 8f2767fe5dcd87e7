import re
import shlex
from datetime import UTC, datetime, timedelta
from html import unescape
from xml.etree import ElementTree

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from forests.models import Forest
from metrics.measuring.forests import runs_of
from metrics.models import MetricRun
from metrics.pages import pictures
from tests.forests.factories import (
    RIGHT,
    UNCOMPARED,
    WRONG,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    open_tree,
    tree_of,
)

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"
ADDRESS = f"/{NAME}/metrics/"


@pytest.fixture
def reader(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("reader", password="secret-reader"))
    return client


@pytest.fixture
def forest(db) -> Forest:
    return add_trees(make_forest(NAME), [duck_tree(), duck_tree()])


def page(reader: Client) -> str:
    response = reader.get(ADDRESS)
    assert response.status_code == 200
    return response.content.decode()


def test_a_forest_without_metrics_says_how_to_compute_them(reader, forest):
    assert f"manage.py beam_search --forest_name {NAME}" in page(reader)


def test_each_result_is_a_table_with_its_warning(reader, forest):
    call_command("beam_search", "--forest_name", NAME, "--aggregation", "mean,min")
    call_command(
        "beam_search", "--forest_name", NAME, "--value_function_option", "labelled_held_out"
    )
    html = page(reader)
    assert html.index("<h3>Held-out Monte Carlo</h3>") < html.index("<h3>Oracle (Monte Carlo)</h3>")
    assert "Labelled values know the answers, so this search is an oracle" in html
    both = reader.get(f"{ADDRESS}?aggregation=any").text
    for row in (
        '<th scope="row">oracle (Monte Carlo)</th><td>beam search</td><td>min</td>',
        '<th scope="row">no search</th><td>pass@N: some sample correct</td><td>-</td>',
    ):
        assert row in both
    assert '<td class="number">97.6 % <small>(32.6-100.0)</small>' in both  # pass@5
    assert "<dd>2 of 2</dd>" in html
    for run in runs_of(forest):
        assert f'id="{run.anchor}"' in html
        assert run.get_absolute_url() == f"{ADDRESS}#{run.anchor}"


def test_the_forest_page_leads_to_the_metrics(reader, forest):
    assert f'href="{ADDRESS}"' in reader.get(forest.get_absolute_url()).content.decode()


def test_an_unknown_forest_is_not_found(reader, db):
    assert reader.get("/nope-test-first/metrics/").status_code == 404


def test_a_visitor_is_asked_to_log_in(client, forest):
    response = client.get(ADDRESS)
    assert response.status_code == 302
    assert "login" in response["Location"]


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_the_page_only_shows(reader, forest, method):
    assert getattr(reader, method)(ADDRESS).status_code == 405


def test_the_page_reads_no_trees(reader, forest, django_assert_num_queries):
    call_command("beam_search", "--forest_name", NAME)
    page(reader)
    with django_assert_num_queries(5):  # session, user, forest, its runs, its scorers
        page(reader)


def test_the_admin_shows_and_changes_nothing(reader, forest):
    call_command("beam_search", "--forest_name", NAME)
    [run] = MetricRun.objects.all()
    assert run.pk in reader.get(reverse("admin:metrics_metricrun_changelist")).content.decode()
    assert reader.get(reverse("admin:metrics_metricrun_add")).status_code == 403
    address = reverse("admin:metrics_metricrun_change", args=[run.pk])
    assert reader.get(address).status_code == 200
    assert reader.post(address, {}).status_code == 403


class TestPictures:
    """The server draws pictures that run nothing and load nothing."""

    @pytest.fixture
    def measured(self, forest: Forest) -> Forest:
        call_command(
            "beam_search", "--forest_name", NAME, "--num_beam_values", "1,2,4",
            "--procedures", "beam,best_of_n", "--aggregation", "mean,min",
        )  # fmt: skip
        return forest

    def test_every_picture_of_the_page_is_an_svg_with_its_own_policy(self, reader, measured):
        addresses = re.findall(r'<img src="([^"]+\.svg[^"]*)" width', page(reader))

        assert len(addresses) == 4
        for address in addresses:
            response = reader.get(unescape(address))
            assert response.status_code == 200
            assert response["Content-Type"] == "image/svg+xml"
            assert response["Content-Security-Policy"] == (
                "default-src 'none'; style-src 'unsafe-inline'"
            )
            root = ElementTree.fromstring(response.content)  # noqa: S314  our own
            assert root.tag == "{http://www.w3.org/2000/svg}svg"

    def test_the_same_numbers_give_the_same_picture_which_follows_light_and_dark(
        self, reader, measured
    ):
        address = f"{ADDRESS}accuracy.svg?procedure=any&aggregation=any"

        first, second = (reader.get(address).content.decode() for _ in range(2))

        assert first == second
        assert "currentColor" in first
        assert "prefers-color-scheme:dark" in first
        for line in ("beam search, mean", "best of N, min", "maj@N: majority vote"):
            assert line in first

    def test_a_picture_that_has_not_changed_is_not_drawn_again(self, reader, measured, monkeypatch):
        address = f"{ADDRESS}accuracy.svg"
        tag = reader.get(address)["ETag"]
        monkeypatch.setattr(pictures, "_plots", lambda name: pytest.fail(f"{name} was drawn"))

        unchanged = reader.get(address, headers={"If-None-Match": tag})

        assert unchanged.status_code == 304
        assert set(unchanged["Cache-Control"].split(", ")) == {"private", "no-cache"}
        monkeypatch.undo()
        call_command("beam_search", "--forest_name", NAME, "--value_function_option", "random")
        changed = reader.get(address, headers={"If-None-Match": tag})
        assert changed.status_code == 200
        assert changed["ETag"] != tag

    def test_the_numbers_of_each_picture_stand_in_a_table(self, reader, measured):
        html = page(reader)

        for caption in (
            "Nodes by value", "Mean value by depth, and the nodes that it is over",
            "Samples by answer", "Share of trees answered correctly (best), with the 95 % interval "
            "over trees",
        ):  # fmt: skip
            assert f"<caption>{caption}</caption>" in html

    def test_rows_without_a_result_are_left_out_with_the_reason(self, reader, forest):
        call_command("beam_search", "--forest_name", NAME, "--num_beam_values", "1,5,64",
                     "--procedures", "best_of_n")  # fmt: skip
        html = page(reader)

        assert '<th scope="col" class="number">N=5</th>' in html
        assert '<th scope="col" class="number">N=64</th>' not in html
        assert "Left out, because no tree gives a result: N=64." in html

    def test_what_is_not_there_is_not_found(self, reader, measured):
        for address in (
            f"{ADDRESS}nothing.svg", f"{ADDRESS}accuracy.svg?answer=nothing",
            f"{ADDRESS}scorers/nobody/roc.svg", f"{ADDRESS}?tree=99", f"{ADDRESS}?tree=-1",
            f"{ADDRESS}?aggregation=nothing",
        ):  # fmt: skip
            assert reader.get(address).status_code == 404

    def test_a_run_without_values_of_nodes_has_no_pictures_of_them(self, reader, measured):
        MetricRun.objects.update(distribution={})

        assert "Nodes by value" not in page(reader)
        assert reader.get(f"{ADDRESS}values.svg").status_code == 404
        assert reader.get(f"{ADDRESS}accuracy.svg").status_code == 200

    def test_lines_are_told_apart_and_the_rest_is_counted(self, reader, forest):
        for option in ("labelled", "random", "logprob"):
            call_command(
                "beam_search", "--forest_name", NAME, "--procedures", "beam,dvts",
                "--aggregation", "mean,min", "--value_function_option", option,
            )  # fmt: skip
        address = f"{ADDRESS}accuracy.svg?procedure=any&aggregation=any"
        root = ElementTree.fromstring(reader.get(address).content)  # noqa: S314  our own
        texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
        lines = {text for text in texts if text and text.endswith((", mean", ", min"))}
        assert len(lines) == 8
        assert {line.partition(",")[0] for line in lines} == {
            "oracle (Monte Carlo)", "random (floor)", "log-probability",
        }  # fmt: skip
        html = reader.get(f"{ADDRESS}?procedure=any&aggregation=any").text
        assert "4 more searches are in the table only" in html

    def test_the_page_says_how_to_measure_again(self, reader, forest):
        given = {
            "num_beam_values": "1,3", "value_function_option": "logprob", "aggregation": "min,sum",
            "procedures": "beam,dvts", "estimator": "child_mean", "ungraded": "exclude",
            "seed": "7",
        }  # fmt: skip
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        call_command("beam_search", "--forest_name", NAME, *words)

        (command,) = re.findall(r"<code>python manage.py (beam_search [^<]+)</code>", page(reader))
        call_command(*shlex.split(command))

        assert MetricRun.objects.count() == 1  # the same parameters

    def test_a_run_from_before_a_regrading_says_so(self, reader, measured):
        Forest.objects.filter(pk=NAME).update(graded_at=datetime.now(UTC) + timedelta(days=1))

        assert "Computed before the forest was regraded" in page(reader)


class TestAnswers:
    def test_the_answers_of_a_chosen_tree_are_shown_with_their_grades(self, reader, forest):
        html = reader.get(f"{ADDRESS}?tree=1").content.decode()

        assert "<bdi>18</bdi>" in html
        assert 'value="1"' in html
        assert html.index("<bdi>18</bdi>") < html.index("<bdi>19</bdi>")

    def test_a_tree_without_an_ended_sample_says_so(self, reader, db):
        add_trees(make_forest(NAME), [open_tree()])

        assert "No sample of this tree has ended yet" in page(reader)

    def test_hostile_answers_are_inert(self, reader, db):
        bad = "<script>alert(1)</script>$\\frac{1}{$"
        add_trees(make_forest(NAME), [tree_of(leaf("0.0", "x", WRONG, answer=bad))])

        html = page(reader)

        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)" in html


def test_what_has_no_result_and_what_votes_by_its_text_is_said_with_what_to_run(reader):
    tree = tree_of(
        leaf("0.0", "#### 18", RIGHT, answer="18"),
        leaf("0.1", "#### odd", UNCOMPARED, answer="odd", voted_answer="odd", count=3),
    )
    forest = add_trees(make_forest(NAME), [tree])
    call_command("beam_search", "--forest_name", NAME)

    html = page(reader)

    # Once for the run, once for the answers to one item.
    assert html.count("3 samples have no result, as nobody could compare their answers") == 2
    assert html.count("1 sample was graded by an older version") == 2
    assert f"run <code>regrade_forest --forest_name {forest.name}</code>." in html
    assert "<bdi>odd" not in html  # a token of the page may contain the letters
