"""Server time of each page in a forest of 10^2, 10^4 and 10^6 nodes.

A logged-in user requests the pages in this process; the database is another process. The cache of
rendered Markdown is cleared before each request.

usage: python benchmarks/pages.py [--quick] [--json]
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.servers import empty_database

GOAL = 1.5
CONSTANT = (
    "forests", "search", "forest", "forest, progress", "forest, last page", "tree of 2 steps",
    "step", "metrics", "preferences",
)  # fmt: skip
"""Pages whose time must not depend on the size of the forest."""
SEARCH = "forest, steps search"
MILLISECONDS_OF_SEARCH = 300.0
"""Goal of the median, for any size: a search may stop and say how far it looked."""


def main() -> None:
    options = argument_parser(__doc__, quick="up to 10^4 nodes").parse_args()
    with empty_database():
        import django  # noqa: PLC0415  the settings read the environment

        django.setup()
        from benchmarks.page_times import measure_pages  # noqa: PLC0415

        found = measure_pages(100, 10_000) if options.quick else measure_pages(100, 10_000, 10**6)
    ratios = {page: ratio(found.pages, page) for page in CONSTANT}
    if options.json:
        print_json("pages", measures(found.pages), ratios=ratios, **asdict(found))
        return
    show(found, ratios)


def measures(pages: list[Any]) -> list[Measure]:
    found = []
    for page in CONSTANT:
        smallest, *_, largest = (one for one in pages if one.page == page)
        found.append(
            Measure(
                case=f"{page}, {largest.nodes:,} nodes",
                baseline=f"the page with {smallest.nodes:,} nodes",
                unit="ms",
                figure=largest.least,
                baseline_figure=smallest.least,
                at_most=GOAL,
            )
        )
    *_, largest = (one for one in pages if one.page == SEARCH)
    found.append(
        Measure(
            case=f"{SEARCH}, {largest.nodes:,} nodes",
            baseline="goal",
            unit="ms",
            figure=largest.median,
            baseline_figure=MILLISECONDS_OF_SEARCH,
            at_most=1.0,
        )
    )
    return found


def ratio(pages: list[Any], page: str) -> float:
    """Return the ratio of a page's least times in the largest and the smallest forest."""
    times: list[float] = [one.least for one in pages if one.page == page]
    return round(times[-1] / times[0], 2)


def show(found: Any, ratios: dict[str, float]) -> None:
    print("page                     nodes  least ms  median ms    p95 ms  queries  KB")
    for one in (*found.pages, *found.trees):
        print(
            f"{one.page:22}  {one.nodes:6}  {one.least:8.1f}  {one.median:9.1f}  {one.p95:8.1f}"
            f"  {one.queries:7}  {one.kilobytes}"
        )
    print("\nlargest forest to smallest (goal: at most 1.5)")
    for page, times in ratios.items():
        print(f"{page:22}  {times:.2f}")


if __name__ == "__main__":
    main()
