"""The pass@1 in the list of forests is the measured one if a run covers the present trees."""

import re
from datetime import UTC, datetime

import pytest
from django.core.management import call_command

from forests.models import Forest
from forests.progress.pass_rates import read_pass_rates
from metrics.models import MetricRun
from tests.forests.addresses import text_of
from tests.forests.factories import RIGHT, add_trees, duck_tree, leaf, make_forest, tree_of

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"


@pytest.fixture
def measured() -> Forest:
    """A forest of two trees: in one, 4 of 10 samples are right, in the other the only one."""
    forest = add_trees(make_forest(NAME), [duck_tree(), tree_of(leaf("0.0", "18", RIGHT))])
    call_command("beam_search", "--forest_name", NAME, "--num_beam_values", "1", "-v", "0")
    return forest


def rate_of(name: str = NAME) -> tuple[float, int, bool]:
    rate = read_pass_rates([Forest.objects.get(pk=name)])[name]
    assert rate.low <= rate.value <= rate.high
    return round(rate.value, 2), rate.trees, rate.measured_at is not None


def test_a_measured_number_is_the_mean_over_trees_and_counts_are_the_share_of_samples(measured):
    assert rate_of() == (0.7, 2, True)
    MetricRun.objects.all().delete()
    assert rate_of() == (0.45, 2, False)


@pytest.mark.parametrize("event", ["graded_at", "extended_at"])
def test_a_run_of_earlier_trees_or_grades_is_not_shown(measured, event):
    Forest.objects.update(**{event: datetime.now(UTC)})
    assert rate_of() == (0.45, 2, False)


def test_a_run_before_the_last_trees_is_not_shown(measured):
    add_trees(measured, [tree_of(leaf("0.0", "18", RIGHT))])
    assert rate_of() == (0.5, 3, False)


def test_a_run_over_chosen_trees_is_not_shown(measured):
    call_command("beam_search", "--forest_name", NAME, "--pass_rate", "0.9,1", "-v", "0")
    assert rate_of() == (0.7, 2, True)


def test_an_earlier_forest_of_the_same_name_has_no_say(measured):
    Forest.objects.filter(pk=NAME).update(created_at=datetime.now(UTC))
    assert rate_of() == (0.45, 2, False)


@pytest.mark.parametrize(
    "settings",
    [{"strategy": "omega_prm"}, {"strategy": "sampled", "refinement": {"goal": "pairs"}}],
)
def test_samples_of_chosen_steps_give_no_pass_rate_measured_or_not(measured, settings):
    Forest.objects.update(worker_config=settings)
    assert read_pass_rates([Forest.objects.get(pk=NAME)]) == {}


def test_the_list_shows_the_number_with_its_interval(admin_client, measured):
    add_trees(make_forest("ducks-test-other"), [duck_tree()])
    html = text_of(admin_client, "/")
    assert re.search(r'<td class="number">0\.70 <small>0\.\d\d\u20130\.\d\d</small>', html)
    data = admin_client.get("/?format=json").json()["forests"]
    assert [one["pass_at_1"]["trees"] for one in data] == [1, 2]
    assert [one["pass_at_1"]["measured_at"] is None for one in data] == [True, False]
