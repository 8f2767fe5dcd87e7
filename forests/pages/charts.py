"""Small pictures of a forest, as shapes that a template draws: they need no script."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

BINS = 10
WIDTH, HEIGHT = 300, 90
_GAP = 3
_TONES = 5


class Bar(NamedTuple):
    """A bar of a histogram, in the units of the picture."""

    x: float
    y: float
    width: float
    height: float
    tone: int
    """From 0, the lowest values, to 4."""
    low: float
    high: float
    """The values that it counts: up to but without `high`, unless that is 1."""
    number: int

    @property
    def last(self) -> float:
        """The largest value that it counts, to four digits: a filter includes both its borders."""
        return 1.0 if self.high == 1 else round(self.high - 0.0001, 4)


def value_bars(values: Sequence[float]) -> list[Bar]:
    """Return a histogram of values from 0 to 1, highest bar as high as the picture."""
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int(value * BINS + 1e-9))] += 1
    most = max(counts)
    if not most:
        return []
    step = WIDTH / BINS
    bars = []
    for place, number in enumerate(counts):
        height = round(HEIGHT * number / most, 2)
        bars.append(
            Bar(
                x=round(place * step + _GAP / 2, 2),
                y=round(HEIGHT - height, 2),
                width=round(step - _GAP, 2),
                height=height,
                tone=place * _TONES // BINS,
                low=place / BINS,
                high=(place + 1) / BINS,
                number=number,
            )
        )
    return bars


@dataclass(frozen=True, slots=True)
class Growth:
    """The share of complete trees over time, as a line of the picture."""

    points: str
    """For the attribute `points` of a polyline."""
    start: datetime
    end: datetime
    half_after: timedelta | None
    """Time until half of the trees were complete; None if they are not yet."""

    @property
    def length(self) -> timedelta:
        return self.end - self.start


def growth_line(
    completed_at: Sequence[datetime], number: int, start: datetime | None, end: datetime
) -> Growth | None:
    """Return how trees were completed over time; None if fewer than two were.

    Args:
        completed_at: when trees were completed, in order.
        number: all trees among which these are, complete or not.
        start: when growth began.
        end: when it ended, or now.
    """
    if start is None or len(completed_at) < 2 or completed_at[-1] <= start:  # noqa: PLR2004  a line
        return None
    end = max(end, completed_at[-1])
    seconds = (end - start).total_seconds()

    def x(moment: datetime) -> float:
        return round(WIDTH * max(0.0, (moment - start).total_seconds()) / seconds, 1)

    def y(complete: int) -> float:
        return round(HEIGHT - HEIGHT * complete / number, 1)

    points = [(0.0, float(HEIGHT))]
    for complete, moment in enumerate(completed_at, start=1):
        points += [(x(moment), points[-1][1]), (x(moment), y(complete))]
    points.append((float(WIDTH), points[-1][1]))
    half = -(-number // 2)
    return Growth(
        points=" ".join(f"{a:g},{b:g}" for a, b in dict.fromkeys(points)),
        start=start,
        end=end,
        half_after=completed_at[half - 1] - start if len(completed_at) >= half else None,
    )
