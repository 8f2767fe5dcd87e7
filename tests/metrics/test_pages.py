import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from forests.models import Forest
from metrics.models import MetricRun
from metrics.runs import runs_of
from tests.forests.factories import add_trees, duck_tree, make_forest

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
    assert html.index("over labelled_held_out values") < html.index("over labelled values")
    assert "Labelled values know the answers: this search is an oracle" in html
    assert '<th scope="row">beam search</th><td class="number">min</td>' in html
    assert (
        '<th scope="row">pass@5</th><td class="number">97.6 % <small>(32.6-100.0)</small>' in html
    )
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
    with django_assert_num_queries(4):  # session, user, forest, its results
        page(reader)


def test_the_admin_shows_and_changes_nothing(reader, forest):
    call_command("beam_search", "--forest_name", NAME)
    [run] = MetricRun.objects.all()
    assert run.pk in reader.get(reverse("admin:metrics_metricrun_changelist")).content.decode()
    assert reader.get(reverse("admin:metrics_metricrun_add")).status_code == 403
    address = reverse("admin:metrics_metricrun_change", args=[run.pk])
    assert reader.get(address).status_code == 200
    assert reader.post(address, {}).status_code == 403
