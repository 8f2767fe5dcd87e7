"""How long servers want to be left alone."""

from datetime import UTC, datetime

import pytest

from rollouts.protocol.retry_after import seconds_to_wait

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "words", "expected"),
    [
        ({"retry-after": "40"}, "", 40),
        ({"retry-after": "Sun, 29 Nov 2026 12:00:40 GMT"}, "", 40),
        ({"retry-after": "Sun, 29 Nov 2026 11:00:00 GMT"}, "", 0),
        (
            {
                "retry-after": "Sun, 29 Nov 2026 13:00:40 GMT",
                "date": "Sun, 29 Nov 2026 13:00:00 GMT",
            },
            "",
            40,
        ),
        ({"retry-after-ms": "1500", "retry-after": "9"}, "", 1.5),
        ({"x-ratelimit-reset-requests": "1m30s"}, "", 90),
        ({"x-ratelimit-reset-tokens": "120ms"}, "", 0.12),
        (
            {
                "x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "8.5s",
            },
            "", 8.5,
        ),
        ({"x-ratelimit-reset": str(int(NOW.timestamp() * 1000) + 40_000)}, "", 40),
        ({"anthropic-ratelimit-requests-reset": "2026-11-29T12:00:40Z"}, "", 40),
        ({}, "Rate limit reached. Please try again in 7.66s.", 7.66),
        ({}, "Please retry in 2m5.5s", 125.5),
        ({}, '"retryDelay": "40s"', 40),
        ({}, "slow down", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "-1"}, "", None),
    ],
)  # fmt: skip
def test_every_form_of_a_wait_is_read(headers: dict[str, str], words: str, expected: float | None):
    assert seconds_to_wait(headers, words, NOW) == (
        None if expected is None else pytest.approx(expected)
    )
