"""The page of labels as JSON."""

from typing import Any

from django.http import HttpRequest, QueryDict

from forests.core.opinions.agreement import Kappa
from forests.core.tree import format_path
from forests.models import Forest
from forests.pages.json_twin import json_address
from forests.pages.labels.cards import LabelCard
from forests.pages.tree.tree_json import value_data


def labels_data(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows, from what its template gets.

    Names of people are for readers with a login.
    """
    forest: Forest = context["forest"]
    is_known = request.user.is_authenticated
    return {
        "forest": forest.name,
        "queue": str(context["queue"]),
        "scorers": [
            {"name": one.name, "kind": one.kind, "trees": one.num_trees, "nodes": one.num_nodes}
            for one in context["scorers"]
        ],
        "people": [
            {"name": name if is_known else None, "labels": number}
            for name, number in context["people"]
        ],
        "agreement": {
            "fleiss": _kappa_data(context["all_agree"]),
            "cohen": [
                {"people": list(people) if is_known else None, **_kappa_data(kappa)}
                for people, kappa in context["kappas"]
            ],
        },
        "num_divided": context["num_divided"],
        "num_decided": context["num_decided"],
        "steps": [_card_data(forest, card) for card in context["cards"]],
        "next": _next_address(request, context["next_page"]),
    }


def _next_address(request: HttpRequest, next_page: str) -> str | None:
    return json_address(request.path, **QueryDict(next_page).dict()) if next_page else None


def _kappa_data(kappa: Kappa) -> dict[str, Any]:
    return {"kappa": kappa.value, "steps": kappa.steps, "equal": kappa.equal}


def _card_data(forest: Forest, card: LabelCard) -> dict[str, Any]:
    why = card.disagreement
    return {
        "tree": card.index,
        "path": format_path(card.node.path),
        "address": json_address(f"/{forest.name}/trees/{card.index}/nodes/{card.name}/"),
        "text": card.node.text,
        "gold_label": card.gold_label,
        "is_blind": card.is_blind,
        "mine": str(card.mine.verdict) if card.mine else None,
        "disagreement": None
        if why is None
        else {"size": why.size, "between": [why.one, why.other]},
        **({} if card.is_blind else _what_others_say(card)),
    }


def _what_others_say(card: LabelCard) -> dict[str, Any]:
    return {
        **value_data(card.value),
        "labels": {
            "right": card.labels.counts[0],
            "neutral": card.labels.counts[1],
            "wrong": card.labels.counts[2],
        },
        "decision": str(card.labels.decision.verdict) if card.labels.decision else None,
        "scores": [
            {
                "scorer": one.scorer,
                "kind": one.kind,
                "score": one.score,
                "rationale": one.rationale,
                "votes": list(one.votes),
            }
            for one in card.judgements
        ],
    }
