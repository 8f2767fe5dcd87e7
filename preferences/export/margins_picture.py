"""Histogram of a dataset's margins, for its card."""

import io
from collections.abc import Mapping
from typing import Any

from preferences.core.statistics import MARGIN_BINS

_BLUE = "#3b82c4"


def margins_picture(by_split: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return a PNG histogram of the margins in all splits; equal figures give equal bytes."""
    # Import late: it takes a second, and refused arguments should be reported before.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    pairs = [
        sum(found["margins"][number] for found in by_split.values())
        for number in range(MARGIN_BINS)
    ]
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.bar(
        [(number + 0.5) / MARGIN_BINS for number in range(MARGIN_BINS)], pairs, 0.09, color=_BLUE
    )
    axes.set_xlim(0, 1)
    axes.set_xlabel("margin")
    axes.set_ylabel("pairs")
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
