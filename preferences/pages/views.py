"""Views of the pairs of a preference set, and of their reviews."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from common.text import printable
from experiment_configs.questions import question_of_prompt
from forests.core.naming import node_anchor, node_id, path_of_node, tree_id
from forests.core.tree import NodePath
from forests.markup.difference import difference
from forests.markup.rendering import PageTexts
from forests.models import Node, Tree
from forests.pages.json_twin import respond
from forests.pages.page_requests import HtmxRequest, get_forest, read_number
from forests.pages.tree.query import TreeQuery
from forests.storage.trees import collection, in_batches
from preferences.core.pairing import REASONS
from preferences.models import (
    PAIRS_PER_PAGE,
    Preference,
    PreferenceSet,
    Review,
    ReviewState,
    set_id,
    tree_key,
)
from preferences.pages.pair_list import (
    PAGES_LOOKED_AT,
    PairFilter,
    PairFilterError,
    list_pairs,
    num_pages,
)
from preferences.pages.pairs_json import preferences_data
from preferences.pages.shown_pairs import ShownPair, ShownPiece
from preferences.pages.thought_pieces import Piece, split_at_thoughts
from preferences.sets.reviews import (
    MAX_NOTE_LENGTH,
    ReviewConflictError,
    record_review,
    reviews_of,
    stamp_of,
)
from preferences.sets.storage import sets_of


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
        context |= _page_of(chosen, request.GET)
        context["is_of_old_grades"] = (
            forest.graded_at is not None and chosen.created_at < forest.graded_at
        )
        context["is_of_smaller_trees"] = (
            forest.extended_at is not None and chosen.created_at < forest.extended_at
        )
    return respond(
        request, "preferences/preferences.html", context, lambda: preferences_data(request, context)
    )


@require_POST
def review(
    request: HtmxRequest, forest_name: str, set_name: str, tree_index: int, number: int
) -> HttpResponse:
    """Store a review; return the updated form to htmx, and redirect other browsers to the page."""
    if not may_review(request.user):
        raise PermissionDenied("reviewing needs the permission `review_preference`")
    chosen = get_object_or_404(PreferenceSet, pk=set_id(forest_name, set_name))
    pair = get_object_or_404(Preference, pk=f"{tree_key(chosen.id, tree_index)}/{number}")
    state, note = request.POST.get("state", ""), _note(request.POST.get("note", ""))
    if state not in ReviewState.values or len(note) > MAX_NOTE_LENGTH:
        words = f"a review is {', '.join(ReviewState.values)}; a note has at most 2,000 characters"
        return HttpResponse(words, "text/plain", status=HTTPStatus.BAD_REQUEST)
    problem = _record(chosen, pair, ReviewState(state), note, request)
    if request.htmx:
        return _form_again(request, chosen, pair, problem, note)
    if problem:
        messages.warning(request, problem)
    # Parse and encode `back` again, so that it can only be a query string.
    back = QueryDict(request.POST.get("back", ""), mutable=True)
    back["set"] = set_name
    address = reverse("preferences", args=[forest_name])
    return HttpResponseRedirect(f"{address}?{back.urlencode()}#pair-{tree_index}-{number}")


def may_review(user: object) -> bool:
    """Return whether a user may review pairs; anonymous users of a public site can only read."""
    return isinstance(user, User) and user.has_perm("preferences.review_preference")


def _note(text: str) -> str:
    """Return a note stripped of whitespace, with plain line ends."""
    return text.replace("\r\n", "\n").strip()


def _record(
    chosen: PreferenceSet, pair: Preference, state: ReviewState, note: str, request: HtmxRequest
) -> str:
    """Store a review; return why it was not stored, or an empty text."""
    if not chosen.is_complete:
        return "Not stored: the set is being made. Review it when it is complete."
    try:
        reviewer = request.user.get_username()
        record_review(pair, state, note, reviewer, seen=request.POST.get("seen"))
    except ReviewConflictError:
        return "Not stored: somebody reviewed this pair since you saw it. This is their review."
    return ""


def _form_again(
    request: HtmxRequest, chosen: PreferenceSet, pair: Preference, problem: str, note: str
) -> HttpResponse:
    chosen.refresh_from_db(fields=["num_pairs", "num_accepted", "num_rejected"])
    review = reviews_of([pair]).get(pair.id)
    context = {
        "pair": {"preference": pair, "review": review, "stamp": stamp_of(review)},
        "forest": get_forest(pair.forest_id),
        "set": chosen,
        "may_review": True,
        "problem": problem,
        "typed": note,
        "back": request.POST.get("back", ""),
    }
    return render(request, "preferences/_reviewed.html", context)


def _chosen_set(sets: list[PreferenceSet], name: str | None) -> PreferenceSet | None:
    """Return the set of this name; without a name, the latest set."""
    found = next((one for one in sets if name in (None, one.name)), None)
    if found is None and name is not None:
        raise Http404(f"there is no preference set {name!r}")
    return found


def _page_of(chosen: PreferenceSet, parameters: QueryDict) -> dict[str, Any]:
    try:
        wanted = PairFilter.read(parameters.dict())  # type: ignore[arg-type]  # reads only texts
    except PairFilterError as error:
        raise Http404(str(error)) from error
    page = read_number(parameters.get("page", "1"))
    if page is None or not 1 <= page <= num_pages(chosen):
        raise Http404(f"there is no page {parameters.get('page')!r} of {num_pages(chosen)}")
    found = list_pairs(chosen, wanted, page)
    dropped = [(REASONS.get(reason, reason), count) for reason, count in chosen.dropped.items()]
    return {
        "pairs": _shown(found.pairs),
        "found": found,
        "wanted": wanted,
        "back": parameters.urlencode(),
        "pairs_looked_at": PAGES_LOOKED_AT * PAIRS_PER_PAGE,
        "previous_page": page - 1 if page > 1 and wanted.is_empty else None,
        "parameters": chosen.parameters.items(),
        "dropped": sorted(dropped),
    }


def _shown(pairs: list[Preference]) -> list[ShownPair]:
    ids = {f"{pair.forest_id}/{pair.tree_index:07d}" for pair in pairs}
    trees = {tree.index: tree for tree in Tree.objects.filter(pk__in=ids)}
    reviews, thoughts, texts = reviews_of(pairs), _thoughts_of(pairs), PageTexts()
    return [
        _shown_pair(
            pair,
            thoughts,
            texts,
            tree=trees.get(pair.tree_index),
            review=reviews.get(pair.id),
        )
        for pair in pairs
    ]


def _shown_pair(
    pair: Preference,
    thoughts: Mapping[str, str],
    texts: PageTexts,
    *,
    tree: Tree | None,
    review: Review | None,
) -> ShownPair:
    def shown(pieces: list[Piece]) -> list[ShownPiece]:
        return [
            ShownPiece(texts.markdown(text), is_thought, len(text)) for text, is_thought in pieces
        ]

    def pieces(side_id: str, text: str) -> tuple[list[Piece], list[Piece]]:
        found = (thoughts.get(step, "") for step in _steps_to(pair, side_id))
        return split_at_thoughts(pair.prefix, text, found)

    prompt = tree.prompt if tree else ""
    question = tree.question or question_of_prompt(prompt) if tree else ""
    before, chosen = pieces(pair.chosen_id, pair.chosen)
    _, rejected = pieces(pair.rejected_id, pair.rejected)
    return ShownPair(
        preference=pair,
        chosen=shown(chosen),
        rejected=shown(rejected),
        before=shown(before),
        prompt=prompt,
        question=question,
        question_html=texts.markdown(question),
        gold_label=tree.label if tree else "",
        prompt_html=texts.prompt(prompt),
        spans=difference(printable(pair.chosen), printable(pair.rejected)),
        review=review,
        stamp=stamp_of(review),
        step=_step_in_tree(pair),
    )


def _thoughts_of(pairs: list[Preference]) -> dict[str, str]:
    """Return the texts of the thoughts in these pairs, by the id of the step."""
    steps = {
        step for pair in pairs for side in (pair.chosen_id, pair.rejected_id)
        for step in _steps_to(pair, side)
    }  # fmt: skip
    texts = {}
    for ids in in_batches(sorted(steps)):
        # Django would join both with `$and`, and the embedded server would then read all nodes.
        query = {"_id": {"$in": ids}, "is_thought": True}
        found = collection(Node).find(query, {"text": 1})
        texts.update({node["_id"]: node["text"] for node in found})
    return texts


def _steps_to(pair: Preference, side_id: str) -> list[str]:
    """Return the ids of the steps from the root to the end of a side."""
    path: NodePath = path_of_node(side_id)
    tree = tree_id(pair.forest_id, pair.tree_index)
    return [node_id(tree, path[:depth]) for depth in range(1, len(path) + 1)]


def _step_in_tree(pair: Preference) -> str:
    path = path_of_node(pair.chosen_id)
    return f"{TreeQuery().leads_to(path)}#{node_anchor(path)}"
