"""The page on which people label steps, and the address that takes a label."""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from experiment_configs.interfaces import ConfigError
from forests.core.naming import index_of_tree, node_anchor
from forests.core.opinions.agreement import fleiss_kappa, kappa_of_pairs
from forests.core.opinions.disagreements import Disagreement
from forests.core.opinions.verdicts import Verdict
from forests.core.tree import NodePath
from forests.labels.disagreeing import read_largest, update_disagreements_of
from forests.labels.people import names_of
from forests.labels.storage import (
    DECISIONS,
    MAX_NOTE,
    Label,
    NewLabel,
    labels_of_forest,
    note_whole,
    read_labels,
    record_label,
    whole_trees,
)
from forests.models import Forest, Scorer
from forests.pages.json_twin import respond
from forests.pages.labels.cards import (
    LabelCard,
    Place,
    cards_in,
    cards_of,
    next_solution,
    solution_to_label,
)
from forests.pages.labels.labels_json import labels_data
from forests.pages.labels.permissions import may_decide, may_label
from forests.pages.page_requests import HtmxRequest, get_forest, read_number
from forests.storage.scores import read_judgements
from forests.storage.trees import StoredTree, read_trees

CARDS_PER_PAGE = 10
MAX_PAGE = 100
SCORES_PART = "scores-"
"""Beginning of the id of the part of a tree's page that shows the scores of a step."""
TAKE_BACK = "none"
"""Sent instead of a verdict to take a label back."""

_Step = tuple[str, NodePath]
_Labels = dict[str, dict[_Step, Label]]


class Queue(StrEnum):
    """Which steps the page asks for."""

    DISAGREEMENTS = "disagreements"
    SOLUTIONS = "solutions"
    DIVIDED = "divided"


@require_safe
def labels(request: HttpRequest, forest_name: str) -> HttpResponse:
    """Render a queue of steps to label, and how far people agree."""
    forest = get_forest(forest_name)
    person = _person(request)
    by_person = labels_of_forest(forest)
    decisions = by_person.pop(DECISIONS, {})
    queue = _read_queue(request, forest)
    divided = _divided(by_person, decisions)
    if queue is Queue.SOLUTIONS:
        start = read_number(request.GET.get("from", "")) or 0
        cards, next_page = _solution(forest, person, start)
    elif queue is Queue.DIVIDED:
        cards, next_page = _page_of(forest, person, dict.fromkeys(divided), _read_page(request))
    else:
        settled = _places([*by_person.get(person, {}), *decisions])
        cards, next_page = _disagreements(forest, person, settled, _read_page(request))
    names, blind = names_of(by_person), _blind(by_person)
    context: dict[str, Any] = {
        "forest": forest,
        "queue": queue,
        "queues": list(Queue),
        "cards": cards,
        "next_page": f"queue={queue}&{next_page}" if next_page else "",
        "scorers": list(Scorer.objects.filter(forest_id=forest.name)),
        "people": sorted((names[one], len(mine)) for one, mine in by_person.items() if mine),
        "kappas": sorted(
            ((names[one], names[other]), kappa)
            for (one, other), kappa in kappa_of_pairs(blind).items()
        ),
        "all_agree": fleiss_kappa(_verdicts_of_steps(blind)),
        "num_divided": len(divided),
        "num_decided": len(decisions),
        "may_label": may_label(request.user),
        "may_decide": may_decide(request.user),
    }
    return respond(request, "forests/labels.html", context, lambda: labels_data(request, context))


@require_POST
def label(request: HtmxRequest, forest_name: str, index: int, path: NodePath) -> HttpResponse:
    """Store a label; return the card's form to htmx, and redirect other browsers."""
    is_decision = "decide" in request.POST
    if not (may_decide(request.user) if is_decision else may_label(request.user)):
        raise PermissionDenied("labelling needs the permission `label_step` or `decide_label`")
    forest = get_forest(forest_name)
    stored = next(iter(read_trees(forest, [index])), None)
    if stored is None or not path or path not in stored.tree.nodes:
        raise Http404("the tree has no such step")
    said, note = request.POST.get("verdict", ""), _note(request.POST.get("note"))
    if said not in (*Verdict, TAKE_BACK) or len(note or "") > MAX_NOTE:
        words = (
            f"a label is {', '.join(Verdict)} or {TAKE_BACK}; "
            f"a note has at most {MAX_NOTE:,} characters"
        )
        return HttpResponse(words, "text/plain", status=HTTPStatus.BAD_REQUEST)
    new = NewLabel(
        DECISIONS if is_decision else _person(request),
        None if said == TAKE_BACK else Verdict(said),
        note,
        is_blind="blind" in request.POST,
    )
    try:
        record_label(forest, index, path, new)
    except ConfigError as error:
        return HttpResponse(str(error), "text/plain", status=HTTPStatus.CONFLICT)
    if not is_decision:
        _note_whole(stored, new.person)
    update_disagreements_of(forest, stored)
    if (request.htmx.target or "").startswith(SCORES_PART):
        row = {"anchor": node_anchor(path), "judgements": read_judgements(forest, index, path)}
        return render(request, "forests/_scores.html", {"row": row})
    if request.htmx:
        [card] = cards_in(forest, [stored], [(index, path)], _person(request))
        context = {
            "forest": forest,
            "card": card,
            "may_label": may_label(request.user),
            "may_decide": may_decide(request.user),
        }
        return render(request, "forests/_label.html", context)
    return HttpResponseRedirect(reverse("node", args=[forest.name, index, path]) + "#labels")


def _person(request: HttpRequest) -> str:
    return str(request.user.pk) if request.user.is_authenticated else ""


def _note(text: str | None) -> str | None:
    """Return a note stripped of whitespace, with plain line ends; None if none was sent."""
    return None if text is None else text.replace("\r\n", "\n").strip()


def _note_whole(stored: StoredTree, person: str) -> None:
    """Note whether a person has now labelled the whole solution to label of a tree."""
    mine = {path for path, step in read_labels(stored.id).steps.items() if step.by(person)}
    is_whole = mine.issuperset(solution_to_label(stored.tree, stored.id))
    note_whole(stored.id, person, is_whole=is_whole)


def _solution(forest: Forest, person: str, start: int) -> tuple[list[LabelCard], str]:
    """Return the steps of the next solution to label, and the query of the one after it."""
    places = next_solution(forest, start, whole_trees(forest, person))
    following = places[0][0] + 1 if places else forest.num_trees
    cards = cards_of(forest, places, person, is_blind=True)
    return cards, f"from={following}" if following < forest.num_trees else ""


def _disagreements(
    forest: Forest, person: str, settled: list[Place], page: int
) -> tuple[list[LabelCard], str]:
    """Return the steps on which sources disagree that the reader has not labelled."""
    found = read_largest(forest, CARDS_PER_PAGE * page + 1, frozenset(settled))
    return _page_of(forest, person, {(index, one.path): one for index, one in found}, page)


def _page_of(
    forest: Forest, person: str, places: Mapping[Place, Disagreement | None], page: int
) -> tuple[list[LabelCard], str]:
    """Return the cards of a page, and the query of the next page; empty if there is none."""
    first, stop = CARDS_PER_PAGE * (page - 1), CARDS_PER_PAGE * page
    cards = cards_of(forest, list(places)[first:stop], person, disagreements=places)
    return cards, f"page={page + 1}" if len(places) > stop and page < MAX_PAGE else ""


def _read_queue(request: HttpRequest, forest: Forest) -> Queue:
    wanted = request.GET.get("queue")
    if wanted is None:
        return Queue.DISAGREEMENTS if read_largest(forest, 1) else Queue.SOLUTIONS
    if wanted not in list(Queue):
        raise Http404(f"there is no queue {wanted[:40]!r}: use {', '.join(Queue)}")
    return Queue(wanted)


def _read_page(request: HttpRequest) -> int:
    page = read_number(request.GET.get("page", "1"))
    if not page or page > MAX_PAGE:
        raise Http404(f"there is no page {request.GET.get('page')!r:.40}: use 1 to {MAX_PAGE}")
    return page


def _places(steps: Iterable[_Step]) -> list[Place]:
    return [(index_of_tree(tree), path) for tree, path in steps]


def _blind(by_person: _Labels) -> dict[str, dict[_Step, Verdict]]:
    """Return the verdicts that people gave without seeing what others say."""
    return {
        person: {step: label.verdict for step, label in mine.items() if label.is_blind}
        for person, mine in by_person.items()
    }


def _verdicts_of_steps(by_person: Mapping[str, Mapping[_Step, Verdict]]) -> list[list[Verdict]]:
    of_step: dict[_Step, list[Verdict]] = {}
    for mine in by_person.values():
        for step, verdict in mine.items():
            of_step.setdefault(step, []).append(verdict)
    return list(of_step.values())


def _divided(by_person: _Labels, decisions: Mapping[_Step, Label]) -> list[Place]:
    """Return the steps on which people disagree and nobody has decided, in order."""
    said: dict[_Step, Counter[Verdict]] = {}
    for mine in by_person.values():
        for step, label in mine.items():
            said.setdefault(step, Counter())[label.verdict] += 1
    undecided = (step for step, counts in said.items() if len(counts) > 1 and step not in decisions)
    return sorted(_places(undecided))
