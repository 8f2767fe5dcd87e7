"""The shapes of a forest's pictures."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from forests.pages.charts import BINS, HEIGHT, WIDTH, growth_line, value_bars

START = datetime(2026, 11, 30, tzinfo=UTC)
VALUES = st.fractions(0, 1, max_denominator=64).map(float)


@given(st.lists(VALUES, min_size=1))
def test_every_value_is_in_one_bar_and_the_highest_bar_fills_the_picture(values):
    bars = value_bars(values)
    assert len(bars) == BINS
    assert sum(bar.number for bar in bars) == len(values)
    assert max(bar.height for bar in bars) == HEIGHT
    for bar in bars:
        # The filter that a bar leads to finds what the bar counts.
        found = [value for value in values if bar.low - 1e-9 <= value <= bar.last + 1e-9]
        assert len(found) == bar.number
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert bar.y + bar.height == HEIGHT


def test_ends_of_bars_belong_to_the_bar_above_but_one_to_the_last():
    numbers = [bar.number for bar in value_bars([0.0, 0.1, 0.3, 0.99, 1.0, 1.0])]
    assert numbers == [1, 1, 0, 1, 0, 0, 0, 0, 0, 3]
    assert value_bars([]) == []
    assert [bar.tone for bar in value_bars([0.5])] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def test_growth_rises_with_each_complete_tree():
    line = growth_line([at(10), at(20), at(30)], 4, START, at(40))
    assert line is not None
    assert line.points == "0,90 75,90 75,67.5 150,67.5 150,45 225,45 225,22.5 300,22.5"
    assert line.half_after == timedelta(minutes=20)
    assert line.length == timedelta(minutes=40)


def test_growth_of_fewer_than_two_trees_or_of_unknown_times_is_not_drawn():
    assert growth_line([at(10)], 4, START, at(40)) is None
    assert growth_line([at(10), at(20)], 4, None, at(40)) is None
    assert growth_line([START, START], 4, START, START) is None
    line = growth_line([at(1), at(2)], 8, START, at(1))
    assert line is not None
    assert line.half_after is None
    assert line.end == at(2)
