"""The page that compares forests, or runs of one forest, over the items that they share."""

from collections.abc import Sequence
from itertools import islice
from math import ceil
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.http import require_safe

from common.text import as_percent
from forests.core.naming import tree_id
from forests.models import Forest, Tree
from forests.pages.json_twin import respond
from forests.pages.page_requests import get_forest, read_number
from metrics.core.comparing.paired import PairedResult
from metrics.core.evaluation import RowKey
from metrics.measuring.comparison import (
    MAX_PAGE_TREES,
    Comparison,
    ItemPair,
    compare_forests,
    compare_named,
    shared_runs,
)
from metrics.measuring.forests import runs_of
from metrics.models import MetricRun
from metrics.pages.row_filter import RowFilter
from metrics.tables.comparing import (
    comparison_data,
    difference_of,
    name_comparison,
    name_row,
    name_run,
    name_subject,
)
from metrics.tables.run_tables import Cell

MAX_SUBJECTS = 6
"""Most forests or runs that are compared at once."""
MAX_LISTED_FORESTS = 200
ITEMS_PER_PAGE = 50
_CHANGES = {"any": "right in only one", "gained": "wrong → right", "lost": "right → wrong"}


class ShownRow(NamedTuple):
    """A number of two subjects, as shown."""

    name: str
    pair: PairedResult
    first: str
    other: str
    difference: Cell
    links: dict[str, str]
    """Addresses of the lists of items that changed, by the kind of change."""

    def place(self, scale: float) -> "Place":
        """Return where to draw the interval, if `scale` is the largest difference."""
        low, high = self.pair.difference.low or 0.0, self.pair.difference.high or 0.0
        middle = self.pair.difference.value or 0.0
        return Place(*(round(100 * one / scale, 1) for one in (low, high, high - low, middle)))


class Place(NamedTuple):
    """Where an interval is drawn, from -100 to 100."""

    low: float
    high: float
    width: float
    middle: float


class ShownPair(NamedTuple):
    """Two subjects, and the numbers of both."""

    first: str
    other: str
    shared: int
    rows: list[ShownRow]
    num_empty: int
    """How many numbers were left out because no shared item has a result in both."""

    @property
    def scale(self) -> float:
        """The largest difference to draw, rounded up to tenths, and at least 0.1."""
        ends = [
            abs(end or 0.0)
            for row in self.rows
            for end in (row.pair.difference.low, row.pair.difference.high)
        ]
        return max(1, ceil(10 * max(ends, default=0.0))) / 10

    @property
    def scale_in_points(self) -> int:
        return round(100 * self.scale)

    @property
    def drawn(self) -> list[tuple[ShownRow, Place]]:
        """The rows, and where each interval is drawn."""
        return [(row, row.place(self.scale)) for row in self.rows]


class ShownComparison(NamedTuple):
    """Several subjects, as shown."""

    anchor: str
    name: str
    is_of_runs: bool
    pairs: list[ShownPair]
    data: dict[str, Any]


class Chosen(NamedTuple):
    """The number whose items are listed."""

    comparison: int
    row: RowKey | None
    """None if the first forest or run has no numbers."""
    other: int
    change: str


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Compare the forests that `?forest=` names, or the runs of one forest that `?run=` names."""
    forests = [get_forest(name) for name in dict.fromkeys(request.GET.getlist("forest"))]
    keys = list(dict.fromkeys(request.GET.getlist("run")))
    if max(len(forests), len(keys)) > MAX_SUBJECTS:
        raise Http404(f"at most {MAX_SUBJECTS} forests or runs are compared at once")
    found, runs = _comparisons(forests, keys)
    row_filter = RowFilter.read(request.GET.dict(), _keys(found))
    context: dict[str, Any] = {
        "forests": forests,
        "runs": runs,
        "filter": row_filter if any(one.subjects[0].run for one in found) else None,
        "changes": _CHANGES,
        "max_trees": MAX_PAGE_TREES if any(_is_cut(one) for one in forests) else None,
        "warnings": list(dict.fromkeys(words for one in found for words in one.warnings())),
        "comparisons": [
            _shown(one, place, row_filter, request.GET) for place, one in enumerate(found)
        ],
        **_items(found, request.GET),
    }
    if len(forests) + len(keys) < 2 or not found:  # noqa: PLR2004  a pair
        context["known"] = list(
            Forest.objects.order_by("-created_at").values_list("name", flat=True)[
                :MAX_LISTED_FORESTS
            ]
        )
    return respond(request, "metrics/compare.html", context, lambda: _data(request, context))


def _comparisons(
    forests: Sequence[Forest], keys: Sequence[str]
) -> tuple[list[Comparison], list[tuple[str, str, bool]]]:
    """Return the comparisons, and the runs to choose from: key, name, whether it is chosen."""
    if len(forests) > 1:
        shared = shared_runs(forests)
        chosen = [key for key in keys if key in shared]
        firsts = [runs[0] for runs in shared.values()]
        return compare_forests(forests, chosen, for_page=True), _choices(firsts, chosen)
    if not forests:
        return [], []
    runs = {run.key: run for run in runs_of(forests[0])}
    chosen = [key for key in keys if key in runs]
    choices = _choices(list(runs.values()), chosen)
    if len(chosen) < 2:  # noqa: PLR2004  a pair
        return [], choices
    return [compare_named([runs[key] for key in chosen], for_page=True)], choices


def _choices(runs: Sequence[MetricRun], chosen: Sequence[str]) -> list[tuple[str, str, bool]]:
    return [(run.key, name_run(run, runs), run.key in chosen) for run in runs]


def _keys(found: Sequence[Comparison]) -> list[RowKey]:
    results = (one.subjects[0].results for one in found)
    return [key for one in results if one is not None for key in one.numbers]


def _is_cut(forest: Forest) -> bool:
    return forest.num_trees > MAX_PAGE_TREES


def _shown(
    comparison: Comparison, place: int, row_filter: RowFilter, parameters: QueryDict
) -> ShownComparison:
    first, *others = comparison.subjects
    rows = [
        row for row in comparison.rows() if row.key.procedure is None or row_filter.matches(row.key)
    ]
    pairs = []
    for number, (other, shared) in enumerate(zip(others, comparison.shared, strict=True), 1):
        found = [(row.key, row.pairs[number - 1]) for row in rows]
        filled = [(key, pair) for key, pair in found if pair is not None and pair.items]
        pairs.append(
            ShownPair(
                name_subject(first, comparison.subjects),
                name_subject(other, comparison.subjects),
                len(shared),
                [
                    _shown_row(key, pair, Chosen(place, key, number, ""), parameters)
                    for key, pair in filled
                ],
                len(found) - len(filled),
            )
        )
    return ShownComparison(
        f"comparison-{place}",
        name_comparison(comparison),
        first.run is not None,
        pairs,
        comparison_data(comparison),
    )


def _shown_row(key: RowKey, pair: PairedResult, chosen: Chosen, parameters: QueryDict) -> ShownRow:
    links = {change: _address(parameters, chosen._replace(change=change)) for change in _CHANGES}
    return ShownRow(
        name_row(key), pair, as_percent(pair.first), as_percent(pair.other), difference_of(pair),
        links,
    )  # fmt: skip


def _address(parameters: QueryDict, chosen: Chosen, page: int | None = None) -> str:
    """Return the address of the list of items of a number, on the same page."""
    kept = [
        (name, value)
        for name in ("forest", "run", "answer", "procedure", "aggregation")
        for value in parameters.getlist(name)
    ]
    own = {
        "in": chosen.comparison,
        "row": _name_of(chosen.row) if chosen.row else "",
        "with": chosen.other,
        "change": chosen.change,
        **({"page": page} if page else {}),
    }
    return f"?{urlencode([*kept, *own.items()])}#items"


def _name_of(key: RowKey) -> str:
    return ".".join(str(part) if part is not None else "-" for part in key)


def _items(found: Sequence[Comparison], parameters: QueryDict) -> dict[str, Any]:
    """Return the context of the list of items that are right in one subject only."""
    if not found:
        return {}
    chosen = _chosen(found, parameters)
    page = read_number(parameters.get("page", "1"))
    if chosen is None or not page:
        raise Http404("there is no such list of items: follow a number of the table")
    if chosen.row is None:
        return {}
    comparison = found[chosen.comparison]
    all_items = comparison.disagreements(chosen.row, chosen.other)
    wanted = (one for one in all_items if chosen.change in ("any", one.change))
    start = (page - 1) * ITEMS_PER_PAGE
    shown = list(islice(wanted, start, start + ITEMS_PER_PAGE + 1))
    first, other = comparison.subjects[0], comparison.subjects[chosen.other]
    items = shown[:ITEMS_PER_PAGE]
    previews = _previews(first.forest, [one.first_tree for one in items])
    return {
        "listed": name_row(chosen.row),
        "listed_in": name_comparison(comparison),
        "change": chosen.change,
        "change_links": [
            (words, _address(parameters, chosen._replace(change=change)), change == chosen.change)
            for change, words in _CHANGES.items()
        ],
        "first": name_subject(first, comparison.subjects),
        "other": name_subject(other, comparison.subjects),
        "items": [_item_data(one, first.forest, other.forest, previews) for one in items],
        "previous_page": _address(parameters, chosen, page - 1) if page > 1 else None,
        "next_page": (
            _address(parameters, chosen, page + 1) if len(shown) > ITEMS_PER_PAGE else None
        ),
    }


def _chosen(found: Sequence[Comparison], parameters: QueryDict) -> Chosen | None:
    """Return the number that the URL names, or the first one; None if the URL is invalid."""
    comparison = read_number(parameters.get("in") or "0")
    other = read_number(parameters.get("with") or "1")
    change = parameters.get("change") or "any"
    if comparison is None or comparison >= len(found) or change not in _CHANGES:
        return None
    subjects = found[comparison].subjects
    if not other or other >= len(subjects):
        return None
    results = subjects[0].results
    known = {_name_of(key): key for key in (results.numbers if results else ())}
    name = parameters.get("row") or next(iter(known), "")
    if not known:
        return Chosen(comparison, None, other, change)
    return Chosen(comparison, known[name], other, change) if name in known else None


def _previews(forest: Forest, indexes: Sequence[int]) -> dict[int, str]:
    ids = [tree_id(forest.name, index) for index in indexes]
    return dict(Tree.objects.filter(pk__in=ids).values_list("index", "item")) if ids else {}


def _item_data(
    one: ItemPair, first: Forest, other: Forest, previews: dict[int, str]
) -> dict[str, Any]:
    return {
        "change": one.change,
        "item_preview": previews.get(one.first_tree, "")[:200],
        "first_tree": one.first_tree,
        "first_page": reverse("tree", args=[first.name, one.first_tree]),
        "first": one.first,
        "other_tree": one.other_tree,
        "other_page": reverse("tree", args=[other.name, one.other_tree]),
        "other": one.other,
    }


def _data(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the page as JSON types."""
    return {
        "forests": [forest.name for forest in context["forests"]],
        "runs": [{"key": key, "name": name} for key, name, _ in context["runs"]],
        "max_trees": context["max_trees"],
        "warnings": context["warnings"],
        "comparisons": [one.data for one in context["comparisons"]],
        "items_of": context.get("listed"),
        "items": context.get("items", []),
        "next": _json_of(request, context.get("next_page")),
    }


def _json_of(request: HttpRequest, address: str | None) -> str | None:
    if address is None:
        return None
    return f"{request.path}{address.removesuffix('#items')}&format=json"
