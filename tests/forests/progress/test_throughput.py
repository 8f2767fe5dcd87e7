"""Rates, time left, and how the pages write numbers."""

from datetime import UTC, datetime, timedelta

import pytest

from forests.progress.throughput import MinuteOfWork, throughput, time_left
from forests.templatetags.numbers import as_json, duration, rate, share, short, thousands

NOW = datetime(2026, 11, 23, 12, 30, 30, tzinfo=UTC)


def minute(ago: int, **numbers: int) -> MinuteOfWork:
    start = NOW.replace(second=0) - timedelta(minutes=ago)
    return MinuteOfWork(start, **{"trees": 0, "nodes": 0, "tokens": 0, "requests": 0} | numbers)


def test_rates_are_over_the_time_since_work_began():
    rates = throughput([minute(1, trees=6, nodes=90), minute(0, trees=3, nodes=45)], NOW)
    assert rates is not None
    assert rates.trees_per_minute == pytest.approx(6)  # 9 trees in 90 seconds
    assert rates.nodes_per_second == pytest.approx(1.5)
    assert rates.last_minute == NOW.replace(second=0)


def test_minutes_outside_of_the_window_are_left_out():
    assert throughput([minute(11, trees=100)], NOW) is None
    rates = throughput([minute(11, trees=100), minute(1, trees=3)], NOW)
    assert rates is not None
    assert rates.trees_per_minute == pytest.approx(2)


def test_the_first_seconds_are_not_taken_for_a_rate():
    rates = throughput([minute(0, trees=5)], NOW.replace(second=1))
    assert rates is not None
    assert rates.trees_per_minute == pytest.approx(5)


def test_time_left_follows_the_rate_and_is_unknown_without_one():
    rates = throughput([minute(1, trees=9)], NOW)
    assert time_left(12, rates) == timedelta(minutes=2)
    assert time_left(12, None) is None
    assert time_left(12, throughput([minute(1, nodes=9)], NOW)) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7500, "2 h 5 min"), (200_000, "2 d 7 h")],
)
def test_durations_have_at_most_two_units(seconds, text):
    assert duration(timedelta(seconds=seconds)) == text


def test_no_result_is_a_dash_and_never_zero():
    assert [duration(None), share(None), thousands(None)] == ["-", "-", "-"]
    assert [share(0.0), thousands(0)] == ["0.00", "0"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (0.891, "0.89"), (56.78, "56.8"), (1234.5, "1,234")]
)
def test_rates_have_three_digits(value, text):
    assert rate(value) == text


def test_settings_are_written_as_json():
    assert as_json(["\n", None, "é"]) == '["\\n", null, "é"]'


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (9_999, "9,999"),
        (10_000, "10.0 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (999_999, "1.00 M"),
        (1_234_567, "1.23 M"),
        (999_499_999, "999 M"),
        (999_999_999, "1.00 G"),
    ],
)
def test_a_short_number_has_the_unit_of_what_it_is_rounded_to(number, shown):
    assert short(number) == shown
