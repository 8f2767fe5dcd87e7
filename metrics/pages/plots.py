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

from metrics.core.statistics.distributions import BINS, AnswerShare
from metrics.tables.run_tables import PROCEDURES
from metrics.tables.scorer_tables import VALUES

_INK = "#010203"
"""Placeholder for the text colour, which depends on the reader's light or dark mode."""
_STYLE = (
    "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#dfe3e8}}</style></svg>"
)
_BLUE, _GREEN, _RED, _GREY = "#3b82c4", "#2e8b57", "#c0504d", "#8b929a"
_LINES = (_BLUE, "#d98324", _GREEN, "#9467bd", _RED, "#8c6d31", "#17a2a2", "#e377c2")
_MARKERS = "osD^vP*X"

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


def value_by_depth(distribution: Mapping[str, Any]) -> bytes:
    """Return a plot of the mean value and the number of nodes by depth."""

    def draw(axes: Axes) -> None:
        depths = [one for one in distribution["depths"] if one["mean"] is not None]
        numbers = [one["depth"] for one in depths]
        counts = axes.twinx()
        counts.bar(numbers, [one["nodes"] for one in depths], color=_GREY, alpha=0.4)
        counts.set_ylabel("nodes (bars)")
        counts.spines["right"].set_visible(True)
        axes.set_zorder(counts.get_zorder() + 1)
        axes.plot(numbers, [one["mean"] for one in depths], color=_BLUE, marker="o")
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("depth")
        axes.set_ylabel("mean value (line)")

    return _svg(draw)


def accuracy_by_beams(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a plot of the best beam's accuracy over the number of beams, with 95 % intervals."""
    named = _named(rows)
    return _accuracy(named, "k", "beams, or samples", _scale_beams(named), apart=0.02)


def accuracy_by_tokens(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a plot of the best beam's accuracy over the tokens that a search would have drawn."""
    return _accuracy(_named(rows), "tokens", "completion tokens per tree", lambda _: None)


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


def accuracy_by_values(searches: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """Return a plot of the best answer's accuracy by kind of values, and of a majority vote."""
    named = [
        (f"{VALUES[name]}: {PROCEDURES[row['procedure']]}, {row['aggregation']}", row)
        for name, rows in searches.items()
        for row in rows
        if row["metric"] == "accuracy"
    ]
    votes = [("majority vote", row) for row in searches["prm"] if row["metric"] == "majority"]
    return _accuracy([*named, *votes], "k", "beams, or samples", _scale_beams(named), apart=0.02)


def answers(shares: Sequence[AnswerShare]) -> bytes:
    """Return a bar chart of the answers of one tree, numbered as in their table."""

    def draw(axes: Axes) -> None:
        places = list(range(1, len(shares) + 1))
        bars = axes.barh(
            places,
            [one.samples for one in shares],
            color=[_GREEN if one.is_correct else _RED for one in shares],
        )
        for bar, one in zip(bars, shares, strict=True):
            if one.is_correct:
                bar.set_hatch("//")  # also visible without colours
        axes.set_yticks(places)
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("samples (hatched: correct)")
        axes.set_ylabel("answer number")

    return _svg(draw)


_NamedRow: TypeAlias = tuple[str, Mapping[str, Any]]
"""Name of the line to which a row belongs, and the row."""


def _named(rows: Sequence[Mapping[str, Any]]) -> list[_NamedRow]:
    return [
        (f"{PROCEDURES[row['procedure']]}, {row['aggregation']}", row)
        for row in rows
        if row["metric"] == "accuracy"
    ]


def _scale_beams(rows: Sequence[_NamedRow]) -> Callable[[Axes], None]:
    numbers = sorted({row["k"] for _, row in rows})

    def scale(axes: Axes) -> None:
        axes.set_xscale("log", base=2)
        axes.set_xticks(numbers, labels=[str(number) for number in numbers])
        axes.minorticks_off()

    return scale


def _accuracy(
    rows: Sequence[_NamedRow],
    over: str,
    label: str,
    scale: Callable[[Axes], None],
    apart: float = 0.0,
) -> bytes:
    """Draw one line for each name, each shifted by the share `apart` so that none is hidden."""
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for name, row in rows:
        if row["value"] is not None and row[over] is not None:
            lines.setdefault(name, []).append(row)

    def draw(axes: Axes) -> None:
        for number, (name, points) in enumerate(lines.items()):
            values = [row["value"] for row in points]
            axes.errorbar(
                [row[over] * (1 + apart) ** (number - len(lines) / 2) for row in points],
                values,
                yerr=[
                    [value - row["low"] for value, row in zip(values, points, strict=True)],
                    [row["high"] - value for value, row in zip(values, points, strict=True)],
                ],
                label=name,
                color=_LINES[number % len(_LINES)],
                # When the colours repeat, use other markers with them.
                marker=_MARKERS[(number + number // len(_LINES)) % len(_MARKERS)],
                capsize=3,
            )
        scale(axes)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel(label)
        axes.set_ylabel("trees answered correctly")
        if lines:
            axes.figure.legend(loc="outside upper center", ncols=2, fontsize="small")

    legend_rows = -(-len(lines) // 2)
    return _svg(draw, height=3.2 + 0.2 * max(0, legend_rows - 1))


def _svg(draw: Callable[[Axes], None], height: float = 3.2) -> bytes:
    figure = Figure(figsize=(6.4, height), layout="constrained")
    FigureCanvasSVG(figure)
    draw(figure.add_subplot())
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue().replace(_INK, "currentColor").rstrip().removesuffix("</svg>")
    return (svg + _STYLE).encode()
