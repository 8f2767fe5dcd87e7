"""CPU time of rendering hostile Markdown and LaTeX, for one text and for a page of many.

The length of a text bounds the work (docs/decisions/008-one-parser.md), and tests count that. This
benchmark measures the time on a machine, with a goal of 50 ms for a text.

usage: python benchmarks/rendering.py [--quick] [--json]
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json

GOAL_SECONDS = 0.05
LENGTHS = (5_000, 50_000)
TEXTS_OF_A_PAGE = 60
"""Texts of ten pairs: a prompt of up to three messages, the steps before, and both sides."""
UNITS = (
    "|\n|-\n", "a|b\n-|-\n", "\n- ", "a\n---\n", "|a|b|\n|-|-|\n", "\\```_a ", "* * > ", ">",
    "# a\n", "`*", "---\n", "> > ", "_{`a`", "*_", "1. ", "***a", "~~~\n", "``", "- a\n  ",
    "\\begin{align}", "$x$ ", "$$", "\\(", "*a*", "a*b", "&amp;", "[x](", "<b>", "\n\n", "\t",
    "$\\frac", "{", "é*", "~", "`", "+\n-\n", "- a\n", "- a\n - b\n", "1. a\n", "a\n\n", "a\n",
    "**a** ", "**a*", "_*a", "[", "![", "\n- **", "$_x$", "$'$",
    "$((((((a$ ", "$" + "(a" * 16 + "$ ", "$∑$ ",
)  # fmt: skip
"""Pieces that make hostile texts if repeated: the most expensive of thousands of candidates."""
SHAPES = {
    "lines below nested quotes": "> " * 18 + "a\n" + "b\n" * 50_000,
    "tables below nested quotes": "> - " * 6 + "a\n" + "b|c\n-|-\n" * 10_000,
    "nested lists": ("- " * 9 + "a\n") * 3_000,
    "lists that go in": "".join("  " * level + "- a\n" for level in range(9)) * 600,
    "rows without cells": "|a" * 99 + "\n" + "|-" * 99 + "\n" + "a|\n" * 17_000,
    "runs of backticks": "".join("`" * length + "a" for length in range(320)),
    "fences that nothing ends": "".join("`" * length + "a\n" for length in range(320, 2, -1)),
    "environments that nothing ends": "\\begin{align}\\begin{gather}\\begin{cases}" * 1_200,
    "lists in a list, then formulas": "* a\n1. a\n" * 250 + "^\n- # $x$\n" * 4_200,
    "brackets of a formula": "$" + "(a" * 1_900 + "$\n" + "$" + "[" * 3_900 + "$\n",
    "brackets": "[" * 25_000 + "](" * 13_000,
}
"""Texts of about 50,000 characters in which a mark causes work far away from it."""


def main() -> None:
    options = argument_parser(__doc__, quick="every fifth text").parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prm_site.settings")
    import django  # noqa: PLC0415  the settings read the environment

    django.setup()
    found = measure(quick=options.quick)
    if options.json:
        print_json("rendering", found)
        return
    for one in found:
        print(f"{one.case:<24}{one.figure:10.1f} ms, {one.note}; goal {one.baseline_figure:.0f} ms")


def hostile_texts(length: int) -> dict[str, str]:
    """Return each hostile text of at most this many characters, by its unit or name."""
    texts = {repr(unit): unit * (length // len(unit) + 1) for unit in UNITS} | SHAPES
    return {name: text[:length] for name, text in texts.items()}


def measure(*, quick: bool) -> list[Measure]:
    """Return the times of the slowest texts in milliseconds, each the least of three."""
    from forests.markup.rendering import MAX_TEXTS_OF_PAGE, PageTexts, render_markdown  # noqa: PLC0415

    def show_page(text: str) -> None:
        texts = PageTexts()
        for number in range(TEXTS_OF_A_PAGE):
            texts.markdown(f"{number} {text}")  # the cache must not answer

    step = 5 if quick else 1
    found = [
        _dearest(f"a text of {length:,}", length, step, render_markdown, GOAL_SECONDS)
        for length in LENGTHS
    ]
    goal = GOAL_SECONDS * MAX_TEXTS_OF_PAGE
    return [*found, _dearest("a page of pairs", LENGTHS[0], step, show_page, goal)]


def _dearest(
    case: str, length: int, step: int, show: Callable[[str], object], goal: float
) -> Measure:
    texts = list(hostile_texts(length).items())[::step]
    times = {name: _seconds(show, text) for name, text in texts}
    dearest = max(times, key=times.__getitem__)
    return Measure(
        case=case,
        baseline="the goal",
        unit="ms",
        figure=round(1000 * times[dearest], 1),
        baseline_figure=1000 * goal,
        at_most=1.0,
        note=f"of {dearest}",
    )


def _seconds(show: Callable[[str], object], text: str) -> float:
    from forests.markup.rendering import _rendered  # noqa: PLC0415

    taken = []
    for _ in range(3):
        _rendered.cache_clear()
        began = time.thread_time()
        show(text)
        taken.append(time.thread_time() - began)
    return min(taken)


if __name__ == "__main__":
    main()
