"""The page of a forest's preference pairs as JSON."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from forests.core.naming import path_of_node
from forests.core.prefix import is_prompt
from forests.core.tree import format_path
from forests.markup.rendering import MAX_SHOWN_LENGTH
from forests.models import Forest
from forests.pages.json_twin import json_address, shown_to
from preferences.models import PreferenceSet
from preferences.pages.pair_list import PairFilter, PairPage
from preferences.pages.shown_pairs import ShownPair

_OF_A_SET = (
    "name", "parameters", "is_complete", "num_pairs", "mean_margin", "num_trees_used",
    "num_trees_with_pairs", "num_trees_incomplete", "num_accepted", "num_rejected", "num_open",
    "dropped", "created_at", "completed_at",
)  # fmt: skip


def preferences_data(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the page, given its template's context."""
    forest: Forest = context["forest"]
    chosen: PreferenceSet | None = context["set"]
    data: dict[str, Any] = {"forest": forest.name, "sets": [one.name for one in context["sets"]]}
    if chosen is None:
        return data | {"set": None, "pairs": [], "next": None}
    found: PairPage = context["found"]
    return data | {
        "set": {
            **{name: getattr(chosen, name) for name in _OF_A_SET},
            "is_of_old_grades": context["is_of_old_grades"],
            "is_of_smaller_trees": context["is_of_smaller_trees"],
        },
        "num_pages": found.num_pages,
        "is_limited": found.is_limited,
        "pairs": [_pair_data(request, forest, pair) for pair in context["pairs"]],
        "next": _next_address(forest, chosen, found, context["wanted"]),
    }


def _pair_data(request: HttpRequest, forest: Forest, shown: ShownPair) -> dict[str, Any]:
    pair, review = shown.preference, shown.review
    return {
        "tree": pair.tree_index,
        "number": pair.number,
        "page": json_address(reverse("tree", args=[forest.name, pair.tree_index])),
        "prompt": _cut_prompt(shown.prompt),
        "question": shown.question[:MAX_SHOWN_LENGTH],
        "gold_label": shown.gold_label[:MAX_SHOWN_LENGTH],
        "prefix": pair.prefix[:MAX_SHOWN_LENGTH],
        "prefix_path": format_path(path_of_node(pair.prefix_id)),
        "depth": pair.depth,
        "margin": pair.margin,
        "confidence": pair.confidence,
        "is_near_noise": shown.is_near_noise,
        "chosen": {
            **_text_data(pair.chosen),
            "value": pair.chosen_value,
            "num_leaves": pair.chosen_leaves,
            "path": format_path(path_of_node(pair.chosen_id)),
        },
        "rejected": {
            **_text_data(pair.rejected),
            "value": pair.rejected_value,
            "num_leaves": pair.rejected_leaves,
            "path": format_path(path_of_node(pair.rejected_id)),
        },
        "review": review
        and {
            "state": str(review.state),
            "note": review.note,
            "reviewer": shown_to(request, review.reviewer),
            "reviewed_at": review.reviewed_at,
        },
    }


def _text_data(text: str) -> dict[str, Any]:
    """Return the part of a text that its page shows."""
    return {
        "text": text[:MAX_SHOWN_LENGTH],
        "num_characters_missing": max(0, len(text) - MAX_SHOWN_LENGTH),
    }


def _cut_prompt(prompt: Any) -> Any:
    if isinstance(prompt, str):
        return prompt[:MAX_SHOWN_LENGTH]
    if not is_prompt(prompt):
        return None
    room, shown = MAX_SHOWN_LENGTH, []
    for message in prompt:
        shown.append({**message, "content": message["content"][:room]})
        room -= len(shown[-1]["content"])
        if room <= 0:
            break
    return shown


def _next_address(
    forest: Forest, chosen: PreferenceSet, found: PairPage, wanted: PairFilter
) -> str | None:
    """Return the address where the list continues; None at its end."""
    if found.next_page is None:
        return None
    return json_address(
        reverse("preferences", args=[forest.name]),
        set=chosen.name,
        page=found.next_page,
        min_margin=wanted.min_margin or None,
        depth=wanted.depth,
        review=wanted.state,
    )
