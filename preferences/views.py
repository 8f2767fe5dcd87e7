"""The pairs of a preference set, side by side, and what reviewers think of them."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from forests.markup import clean
from forests.models import Tree
from forests.requests import HtmxRequest, get_forest, read_number
from preferences.core.difference import Span, difference
from preferences.core.pairing import REASONS
from preferences.listing import PAGES_LOOKED_AT, PairFilter, list_pairs, num_pages
from preferences.models import (
    PAIRS_PER_PAGE,
    Preference,
    PreferenceSet,
    Review,
    ReviewState,
    set_id,
    tree_key,
)
from preferences.reviews import MAX_NOTE_LENGTH, count_reviews, record_review, reviews_of
from preferences.store import sets_of


@dataclass(frozen=True, slots=True)
class ShownPair:
    """A pair with what stands before it."""

    preference: Preference
    prompt: Any
    """A text, or a list of chat messages."""
    spans: list[Span] | None
    review: Review | None


@require_safe
def preferences(request: HttpRequest, forest_name: str) -> HttpResponse:
    forest = get_forest(forest_name)
    sets = sets_of(forest)
    chosen = _chosen_set(sets, request.GET.get("set"))
    context: dict[str, Any] = {
        "forest": forest,
        "sets": sets,
        "set": chosen,
        "may_review": may_review(request.user),
        "states": ReviewState.values,
    }
    if chosen is not None:
        wanted = _filter(request)
        context |= _page_of(chosen, wanted, request.GET.get("page", "1"))
        context["is_of_old_grades"] = (
            forest.graded_at is not None and chosen.created_at < forest.graded_at
        )
    return render(request, "preferences/preferences.html", context)


@require_POST
def review(
    request: HtmxRequest, forest_name: str, set_name: str, tree_index: int, number: int
) -> HttpResponse:
    """Store a review; htmx gets the form as it is then, a browser without it its page again."""
    if not may_review(request.user):
        raise PermissionDenied("your login may not review pairs: ask for `review_preference`")
    key = tree_key(set_id(forest_name, set_name), tree_index)
    pair = get_object_or_404(Preference, pk=f"{key}/{number}")
    state, note = request.POST.get("state", ""), request.POST.get("note", "")
    if state not in ReviewState.values or len(note) > MAX_NOTE_LENGTH:
        return HttpResponse("a state, and a note of at most 2,000 characters", status=400)
    record_review(pair, ReviewState(state), note, request.user.get_username())
    if request.htmx:
        (shown,) = _shown([pair])
        context = {
            "pair": shown,
            "forest": get_forest(forest_name),
            "set": PreferenceSet.objects.get(pk=pair.preference_set_id),
            "may_review": True,
        }
        return render(request, "preferences/_review.html", context)
    page = read_number(request.POST.get("page", "")) or 1
    address = reverse("preferences", args=[forest_name])
    return HttpResponseRedirect(f"{address}?set={set_name}&page={page}#pair-{tree_index}-{number}")


def may_review(user: object) -> bool:
    """Return whether a user may judge pairs; a site open to all is open for reading only."""
    return isinstance(user, User) and user.has_perm("preferences.review_preference")


def _chosen_set(sets: list[PreferenceSet], name: str | None) -> PreferenceSet | None:
    """Return the set of this name, or the latest where none is named."""
    found = next((one for one in sets if name in (None, one.name)), None)
    if found is None and name is not None:
        raise Http404(f"no preference set {name!r}")
    return found


def _filter(request: HttpRequest) -> PairFilter:
    margin, depth = request.GET.get("min_margin", ""), request.GET.get("depth", "")
    state = request.GET.get("review", "")
    try:
        return PairFilter(
            min_margin=float(margin or 0),
            depth=int(depth) if depth else None,
            state=ReviewState(state) if state else None,
        )
    except ValueError as error:
        raise Http404("min_margin and depth are numbers, review is a state") from error


def _page_of(chosen: PreferenceSet, wanted: PairFilter, number: str) -> dict[str, Any]:
    page = read_number(number)
    if page is None or not 1 <= page <= num_pages(chosen):
        raise Http404(f"no page {number!r}")
    found = list_pairs(chosen, wanted, page)
    dropped = [(REASONS.get(reason, reason), count) for reason, count in chosen.dropped.items()]
    return {
        "pairs": _shown(found.pairs),
        "found": found,
        "wanted": wanted,
        "pairs_looked_at": PAGES_LOOKED_AT * PAIRS_PER_PAGE,
        "previous_page": page - 1 if page > 1 and wanted.is_empty else None,
        "reviews": {str(state): count for state, count in count_reviews(chosen).items()},
        "parameters": chosen.parameters.items(),
        "dropped": sorted(dropped),
    }


def _shown(pairs: list[Preference]) -> list[ShownPair]:
    ids = {f"{pair.forest_id}/{pair.tree_index:07d}" for pair in pairs}
    prompts = dict(Tree.objects.filter(pk__in=ids).values_list("index", "prompt"))
    reviews = reviews_of(pairs)
    return [
        ShownPair(
            preference=pair,
            prompt=prompts.get(pair.tree_index, ""),
            spans=difference(clean(pair.chosen), clean(pair.rejected)),
            review=reviews.get(pair.id),
        )
        for pair in pairs
    ]
