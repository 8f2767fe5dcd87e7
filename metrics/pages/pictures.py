"""The pictures of metrics, each with an ETag: a picture that has not changed is not drawn again."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import cache_control
from django.views.decorators.http import condition, require_safe

from forests.core.naming import scorer_id
from forests.pages.page_requests import get_forest
from metrics.models import MetricRun, ScorerReport
from metrics.pages.shown_runs import ShownRuns
from metrics.tables.wide_tables import Search, searches_of_report

PICTURES = ("accuracy", "tokens", "depths", "values")
"""Pictures of the runs that a page shows."""
SCORER_PICTURES = ("accuracy", "roc", "calibration")
MAX_LINES = 8
"""Most searches that a picture shows; the table shows all."""


# Only the reader's browser may cache a picture, and it asks each time whether it has changed.
_KEPT_BY_BROWSER = cache_control(private=True, no_cache=True)


def _etag_of_runs(request: HttpRequest, forest_name: str, picture: str) -> str:
    shown = ShownRuns.read(get_forest(forest_name), request.GET)
    times = [(run.id, run.created_at.isoformat()) for _, run in shown.named]
    return _etag(picture, sorted(shown.filter.query.items()), times)


def _etag_of_report(request: HttpRequest, forest_name: str, scorer: str, picture: str) -> str:
    times = ScorerReport.objects.filter(pk=scorer_id(forest_name, scorer)).values_list("created_at")
    return _etag(picture, request.GET.urlencode(), [str(one) for (one,) in times])


@require_safe
@_KEPT_BY_BROWSER
@condition(etag_func=_etag_of_runs)
def runs_picture(request: HttpRequest, forest_name: str, picture: str) -> HttpResponse:
    """Draw the runs that `?run=` names, with the page's filter."""
    shown = ShownRuns.read(get_forest(forest_name), request.GET)
    with_values = [(name, run) for name, run in shown.named if run.distribution]
    if picture not in PICTURES:
        raise Http404(f"there is no picture {picture!r}: use {', '.join(PICTURES)}")
    if picture in ("accuracy", "tokens"):
        draw = "accuracy_by_beams" if picture == "accuracy" else "accuracy_by_tokens"
        return _svg(_plots(draw)(lines_of(shown.searches), lines_of(shown.baselines)))
    if not with_values:
        raise Http404("these runs have no node values: run beam_search again")
    if picture == "depths":
        return _svg(
            _plots("value_by_depth")([(name, run.distribution) for name, run in with_values])
        )
    return _svg(_plots("value_histogram")(histogram_run(with_values)[1].distribution))


@require_safe
@_KEPT_BY_BROWSER
@condition(etag_func=_etag_of_report)
def scorer_picture(
    request: HttpRequest, forest_name: str, scorer: str, picture: str
) -> HttpResponse:
    report = get_object_or_404(ScorerReport, pk=scorer_id(forest_name, scorer))
    if picture not in SCORER_PICTURES:
        raise Http404(f"there is no picture {picture!r}: use {', '.join(SCORER_PICTURES)}")
    if picture != "accuracy":
        return _svg(_plots(picture)(report.quality))
    row_filter = ShownRuns.read(get_forest(forest_name), request.GET).filter
    searches, baselines = searches_of_report(report, row_filter.matches)
    return _svg(_plots("accuracy_by_beams")(lines_of(searches), lines_of(baselines)))


def lines_of(searches: Sequence[Search]) -> list[tuple[str, list[Any]]]:
    """Return the first `MAX_LINES` searches with a result; the names show how they differ."""
    drawn = _one_of_each_first([one for one in searches if one.has_result])[:MAX_LINES]
    parts = [(one.values, one.search, one.aggregation) for one in drawn]
    differing = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    names = [
        [part for part, differs in zip(words, differing, strict=True) if differs and part] or words
        for words in parts
    ]
    return [
        (", ".join(filter(None, name)), list(one.rows.values()))
        for name, one in zip(names, drawn, strict=True)
    ]


def _one_of_each_first(searches: Sequence[Search]) -> list[Search]:
    """Return the first search of each kind of values, then the second of each, and so on."""
    seen: Counter[str] = Counter()
    rounds = []
    for one in searches:
        rounds.append(seen[one.values])
        seen[one.values] += 1
    return [
        one for _, one in sorted(zip(rounds, searches, strict=True), key=lambda found: found[0])
    ]


def histogram_run(named: Sequence[tuple[str, MetricRun]]) -> tuple[str, MetricRun]:
    """Return the run for the histogram of values: the first oracle, or else the first run."""
    oracles = [one for one in named if one[1].parameters["value_function"] == "labelled"]
    return (oracles or named)[0]


def _plots(name: str) -> Callable[..., bytes]:
    # Import late: matplotlib would cost every command and worker half a second and 30 MiB.
    found: Callable[..., bytes] = getattr(import_module("metrics.pages.plots"), name)
    return found


@cache
def _drawn_by() -> bytes:
    """Return a hash of the drawing code: another release may draw other pictures."""
    return hashlib.sha256(Path(__file__).with_name("plots.py").read_bytes()).digest()


def _etag(*parts: object) -> str:
    return f'"{hashlib.sha256(_drawn_by() + repr(parts).encode()).hexdigest()[:32]}"'


def _svg(picture: bytes) -> HttpResponse:
    # A picture contains its own style and loads nothing else.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    headers = {"Content-Security-Policy": policy}
    return HttpResponse(picture, content_type="image/svg+xml", headers=headers)
