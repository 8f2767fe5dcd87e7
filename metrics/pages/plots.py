"""Plots of metrics, drawn by matplotlib as SVG.

Plots contain no text of a model or a dataset; the table beside a plot names what it shows.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from metrics.core.statistics.distributions import BINS

_INK = "#010203"
"""Placeholder for the text colour, which depends on the reader's light or dark mode."""
_STYLE = (
    "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#dfe3e8}}</style></svg>"
)
_BLUE, _GREEN, _RED, _GREY = "#3b82c4", "#2e8b57", "#c0504d", "#8b929a"
_LINES = (_BLUE, "#d98324", _GREEN, "#9467bd", _RED, "#8c6d31", "#17a2a2", "#e377c2")
_MARKERS = "osD^vP*X"
_DASHES = ("--", ":", "-.")

Line: TypeAlias = tuple[str, Sequence[Mapping[str, Any]]]
"""Name of a line, and its rows: see `metrics.core.evaluation.Row`."""
MAX_LINES = len(_LINES)

mpl.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "prm",  # the same numbers give the same file
        "text.parse_math": False,
        "font.family": "sans-serif",
        "text.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "legend.frameon": False,
    }
)


def value_histogram(distribution: Mapping[str, Any]) -> bytes:
    """Return a histogram of node values."""

    def draw(axes: Axes) -> None:
        axes.bar(BINS, distribution["bins"], color=_BLUE)
        axes.tick_params("x", rotation=45)
        axes.set_xlabel("value")
        axes.set_ylabel("nodes")

    return _svg(draw)


def value_by_depth(named: Sequence[tuple[str, Mapping[str, Any]]]) -> bytes:
    """Return a plot of the mean value by depth, a line for each named distribution.

    Bars show how many nodes the first distribution has at each depth.
    """

    def draw(axes: Axes) -> None:
        counts = axes.twinx()
        first = named[0][1]["depths"]
        counts.bar(
            [one["depth"] for one in first],
            [one["nodes"] for one in first],
            color=_GREY,
            alpha=0.25,
            label="nodes",
        )
        counts.set_ylabel("nodes (bars)")
        counts.spines["right"].set_visible(True)
        axes.set_zorder(counts.get_zorder() + 1)
        for number, (name, distribution) in enumerate(named):
            depths = [one for one in distribution["depths"] if one["mean"] is not None]
            axes.plot(
                [one["depth"] for one in depths],
                [one["mean"] for one in depths],
                label=name,
                color=_LINES[number % len(_LINES)],
                marker=_MARKERS[number % len(_MARKERS)],
            )
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("depth")
        axes.set_ylabel("mean value (lines)")
        _add_legend(axes, len(named))

    return _svg(draw, len(named))


def accuracy_by_beams(lines: Sequence[Line], references: Sequence[Line]) -> bytes:
    """Return a plot of accuracy over the number of beams, with 95 % intervals as bands.

    References are baselines over the same samples, drawn without a band.
    """
    numbers = sorted({row["k"] for _, rows in (*lines, *references) for row in rows})

    def scale(axes: Axes) -> None:
        axes.set_xscale("log", base=2)
        axes.set_xticks(numbers, labels=[str(number) for number in numbers])
        axes.minorticks_off()

    return _accuracy(lines, references, "k", "N: beams, or samples", scale)


def accuracy_by_tokens(lines: Sequence[Line], references: Sequence[Line]) -> bytes:
    """Return a plot of accuracy over the tokens that a search would have drawn.

    A reference is a horizontal line: its value for the largest number of samples.
    """

    def scale(axes: Axes) -> None:
        axes.set_xlim(left=0)

    return _accuracy(lines, references, "tokens", "completion tokens per tree", scale)


def roc(quality: Mapping[str, Any]) -> bytes:
    """Return the ROC curve: the share of good steps over that of bad steps above a threshold."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--")
        if quality["roc"]:
            axes.plot(*zip(*quality["roc"], strict=True), color=_BLUE)
        axes.set_xlabel("bad steps above threshold")
        axes.set_ylabel("good steps above threshold")
        axes.set_aspect("equal")

    return _svg(draw)


def calibration(quality: Mapping[str, Any]) -> bytes:
    """Return a plot of mean Monte Carlo value over mean score, for each decile of the scores."""

    def draw(axes: Axes) -> None:
        points = quality["calibration"]
        axes.plot(
            [one["score"] for one in points],
            [one["value"] for one in points],
            color=_BLUE,
            marker="o",
        )
        axes.axline((0, 0), slope=1, color=_GREY, linestyle="--")
        axes.set_ylim(0, 1)
        axes.set_xlabel("mean score")
        axes.set_ylabel("mean Monte Carlo value")

    return _svg(draw)


def _accuracy(
    lines: Sequence[Line],
    references: Sequence[Line],
    over: str,
    label: str,
    scale: Callable[[Axes], None],
) -> bytes:
    def draw(axes: Axes) -> None:
        lows: list[float] = []
        highs: list[float] = []
        for number, (name, rows) in enumerate(lines):
            points = sorted(
                (row[over], row["value"], row["low"], row["high"])
                for row in rows
                if row["value"] is not None and row[over] is not None
            )
            if not points:
                continue
            places, values, low, high = zip(*points, strict=True)
            colour = _LINES[number % len(_LINES)]
            axes.fill_between(places, low, high, color=colour, alpha=0.1, linewidth=0)
            axes.plot(
                places,
                values,
                label=name,
                color=colour,
                marker=_MARKERS[number % len(_MARKERS)],
                markersize=5,
            )
            lows += low
            highs += high
        for number, (name, rows) in enumerate(references):
            _draw_reference(axes, name, rows, over, _DASHES[number % len(_DASHES)])
            lows += [row["value"] for row in rows if row["value"] is not None]
            highs += [row["value"] for row in rows if row["value"] is not None]
        scale(axes)
        if lows:  # only the range of the data, without much empty space
            axes.set_ylim(max(0, min(lows) - 0.03), min(1.02, max(highs) + 0.03))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(axis="y", color=_GREY, alpha=0.25)
        axes.set_xlabel(label)
        axes.set_ylabel("trees answered correctly")
        _add_legend(axes, len(lines) + len(references))

    return _svg(draw, len(lines) + len(references))


def _draw_reference(
    axes: Axes, name: str, rows: Sequence[Mapping[str, Any]], over: str, dashes: str
) -> None:
    known = sorted((row["k"], row["value"]) for row in rows if row["value"] is not None)
    if not known:
        return
    style: dict[str, Any] = {"color": _INK, "linestyle": dashes, "linewidth": 1.2, "alpha": 0.75}
    if over == "k":
        axes.plot(*zip(*known, strict=True), label=name, **style)
    else:
        number, value = known[-1]
        axes.axhline(value, label=name.replace("@N", f"@{number}"), **style)


def _add_legend(axes: Axes, entries: int) -> None:
    if entries:
        axes.figure.legend(loc="outside lower left", ncols=2, fontsize="small")


def _svg(draw: Callable[[Axes], None], entries: int = 0) -> bytes:
    """Return a picture; `entries` is the number of lines in its legend."""
    rows = -(-entries // 2)
    figure = Figure(figsize=(6.4, 3.4 + 0.2 * rows), layout="constrained")
    FigureCanvasSVG(figure)
    draw(figure.add_subplot())
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue().replace(_INK, "currentColor").rstrip().removesuffix("</svg>")
    return (svg + _STYLE).encode()
