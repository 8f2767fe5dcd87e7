"""A measure knows its ratio, and whether the ratio meets the goal."""

import pytest

from benchmarks import peers
from benchmarks.measures import Measure


def measure(**values) -> Measure:
    return Measure(**({"case": "small", "baseline": "a bare loop", "unit": "requests/s"} | values))


def test_the_ratio_is_the_figure_to_that_of_the_baseline():
    assert measure(figure=90.0, baseline_figure=120.0).ratio == 0.75


@pytest.mark.parametrize("figures", [{}, {"figure": 9.0}, {"figure": 9.0, "baseline_figure": 0.0}])
def test_without_two_figures_there_is_no_ratio_and_no_verdict(figures: dict[str, float]):
    found = measure(at_least=0.9, **figures)

    assert found.ratio is None
    assert found.is_met is None


@pytest.mark.parametrize(
    ("goal", "is_met"),
    [
        ({"at_least": 0.75}, True),
        ({"at_least": 0.76}, False),
        ({"at_most": 0.75}, True),
        ({"at_most": 0.74}, False),
        ({}, None),
    ],
)
def test_a_goal_is_met_on_its_own_side_of_the_ratio(goal: dict[str, float], is_met: bool | None):
    assert measure(figure=90.0, baseline_figure=120.0, **goal).is_met is is_met


def test_a_measure_comes_back_from_json():
    found = measure(figure=90.0, baseline_figure=120.0, at_least=0.9, note="said")

    assert Measure.from_json(found.as_json()) == found
    assert (found.as_json()["ratio"], found.as_json()["is_met"]) == (0.75, False)


def test_a_peer_that_is_not_installed_is_a_row_that_says_how():
    without = peers.Result(
        peers.Case(16, 0.1), prompts=960, bare=133.5, forest=116.7, peers={"distilabel": None},
        cpu_ms={},
    )  # fmt: skip

    ours, peer = peers.measures([without])

    assert (ours.figure, ours.note) == (116.7, "")
    assert (peer.figure, peer.ratio, peer.note) == (None, None, "not installed: make peers")
