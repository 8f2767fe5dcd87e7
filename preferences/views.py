"""The pairs of a preference set, side by side."""

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from forests.markup import clean
from forests.models import Forest, Tree
from preferences.core.difference import Span, difference
from preferences.core.pairing import REASONS
from preferences.models import PAIRS_PER_PAGE, Preference, PreferenceSet
from preferences.store import read_page, sets_of


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A pair with what stands before it."""

    preference: Preference
    prompt: Any
    """A text, or a list of chat messages."""
    spans: list[Span] | None


@require_safe
def preferences(request: HttpRequest, forest_name: str) -> HttpResponse:
    forest = get_object_or_404(Forest, pk=forest_name)
    sets = sets_of(forest)
    chosen = _chosen_set(sets, request.GET.get("set"))
    context: dict[str, Any] = {"forest": forest, "sets": sets, "set": chosen}
    if chosen is not None:
        context |= _page_of(chosen, request.GET.get("page", "1"))
    return render(request, "preferences/preferences.html", context)


def _chosen_set(sets: list[PreferenceSet], name: str | None) -> PreferenceSet | None:
    """Return the set of this name, or the latest where none is named."""
    found = next((one for one in sets if name in (None, one.name)), None)
    if found is None and name is not None:
        raise Http404(f"no preference set {name!r}")
    return found


def _page_of(chosen: PreferenceSet, number: str) -> dict[str, Any]:
    num_pages = max(1, -(-chosen.num_pairs // PAIRS_PER_PAGE))
    if not number.isdecimal() or not 1 <= int(number) <= num_pages:
        raise Http404(f"no page {number!r}")
    page = int(number)
    dropped = [(REASONS.get(reason, reason), count) for reason, count in chosen.dropped.items()]
    return {
        "pairs": _shown(read_page(chosen, page - 1)),
        "page": page,
        "num_pages": num_pages,
        "previous_page": page - 1 if page > 1 else None,
        "next_page": page + 1 if page < num_pages else None,
        "parameters": chosen.parameters.items(),
        "dropped": sorted(dropped),
    }


def _shown(pairs: list[Preference]) -> list[ShownPair]:
    ids = {f"{pair.forest_id}/{pair.tree_index:07d}" for pair in pairs}
    prompts = dict(Tree.objects.filter(pk__in=ids).values_list("index", "prompt"))
    return [
        ShownPair(
            preference=pair,
            prompt=prompts.get(pair.tree_index, ""),
            spans=difference(clean(pair.chosen), clean(pair.rejected)),
        )
        for pair in pairs
    ]
