"""What the beam searches of a forest gave."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from forests.models import Forest
from metrics.runs import runs_of
from metrics.tables import baseline_table, left_out, note, search_table


@require_safe
def metrics(request: HttpRequest, forest_name: str) -> HttpResponse:
    forest = get_object_or_404(Forest, pk=forest_name)
    shown = [
        {
            "run": run,
            "note": note(run),
            "left_out": left_out(run),
            "tables": [search_table(run.rows), baseline_table(run.rows)],
        }
        for run in runs_of(forest)
    ]
    return render(request, "metrics/metrics.html", {"forest": forest, "shown": shown})
