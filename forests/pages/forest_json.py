"""The pages of all forests, and of one forest with its trees, as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from forests.core.model_counts import from_fields
from forests.markup.rendering import one_line
from forests.models import COUNTERS, Forest
from forests.pages.json_twin import json_address, settings_shown_to, shown_to
from forests.pages.tree_list import TreeFilter, TreePage
from forests.progress.estimating import ForestEstimate
from forests.progress.facts import Progress
from forests.progress.grown_by import models_of
from forests.progress.reading import ShownServer

_MAX_ITEM_LENGTH = 110
_OF_A_FOREST = (
    "name", "config_name", "dataset_split", "num_trees", "num_complete", "num_failed",
    "num_hit_max_nodes", *COUNTERS, "created_at", "growth_started_at", "growth_finished_at",
)  # fmt: skip
_OF_A_ROW = (
    "index", "status", "num_nodes", "num_leaves", "num_correct", "num_uncompared",
    "prompt_tokens", "completion_tokens", "requests", "retries", "root_value", "majority_value",
    "disagreement",
)  # fmt: skip
_OF_A_FILTER = ("status", "outcome", "from_value", "to_value", "disputed", "q", "sort")


def progress_data(request: HttpRequest, progress: Progress) -> dict[str, Any]:
    """Return a forest's counts, how far it has grown, and what that took."""
    forest, standing, used = progress.forest, progress.standing, progress.forest.used
    is_told = not standing.quotes_server or request.user.is_authenticated
    rates, left = progress.rates, progress.time_left
    return {
        **{name: getattr(forest, name) for name in _OF_A_FOREST},
        # Includes usage that belongs to no tree, such as requests of workers that were killed.
        "requests": used.requests,
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "cost": forest.cost,
        "page": json_address(forest.get_absolute_url()),
        "strategy": forest.strategy,
        "estimator": forest.estimator,
        "state": str(standing.state),
        "reason": standing.reason if is_told else None,
        "value": progress.value,
        "failures": dict(forest.failures or {}),
        "models": from_fields(forest.nodes_by_model),
        "workers": progress.workers.num_processes,
        "seconds_left": None if left is None else left.total_seconds(),
        "rates": rates
        and {
            "trees_per_minute": rates.trees_per_minute,
            "nodes_per_second": rates.nodes_per_second,
            "tokens_per_second": rates.tokens_per_second,
            "requests_per_second": rates.requests_per_second,
        },
    }


def forest_data(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return what the page of a forest shows, from what its template gets."""
    forest: Forest = context["forest"]
    servers: Sequence[ShownServer] = context["servers"]
    estimate: ForestEstimate | None = context["estimate"]
    next_commands = context["progress"].standing.next_commands
    return {
        "forest": {
            **progress_data(request, context["progress"]),
            "worker_message": shown_to(request, forest.worker_message),
            "limits": {
                "max_requests": forest.max_requests,
                "max_tokens_total": forest.max_tokens_total,
                "max_cost": forest.max_cost,
            },
            "models": [
                {
                    "name": one.name,
                    "nodes": one.nodes,
                    "asked_as": list(one.asked_as),
                    "chat_templates": list(one.chat_templates),
                    "servers": list(one.servers) if request.user.is_authenticated else None,
                }
                for one in models_of(forest)
            ],
            "servers": [
                {
                    "address": shown_to(request, one.address),
                    "model": one.model,
                    "does": dict(one.told),
                    "probed_at": one.probed_at,
                }
                for one in servers
            ],
            "estimate": dict(estimate.lines) if estimate else {},
            "thoughts": asdict(context["thoughts"]) if context["thoughts"] else None,
            "next_commands": [
                {"purpose": one.purpose, "command": one.command} for one in next_commands
            ],
            **config_data(request, forest),
        },
        **_trees_data(request, forest, context["trees"], context["filter"]),
    }


def config_data(request: HttpRequest, forest: Forest) -> dict[str, Any]:
    """Return a forest's config as JSON types; readers without a login get no addresses."""
    return {
        "dataset_source": forest.dataset_source,
        "dataset_licence": forest.dataset_licence,
        "config_sha256": forest.config_sha256,
        "config_git_commit": forest.config_git_commit,
        "config_git_branch": forest.config_git_branch,
        "config_source": settings_shown_to(request, forest.config_source),
        "settings": settings_shown_to(request, forest.worker_config),
        "replaced_settings": settings_shown_to(request, forest.replaced_settings or {}),
    }


def _trees_data(
    request: HttpRequest, forest: Forest, trees: TreePage, wanted: TreeFilter
) -> dict[str, Any]:
    looked_at = trees.looked_at
    return {
        "trees": [_row_data(request, forest, row) for row in trees.rows],
        "num_pages": trees.num_pages if wanted.is_plain else None,
        "looked_at": None
        if not looked_at
        else {"first": looked_at.start, "last": trees.last_looked_at},
        "num_matches": None if looked_at is None else trees.num_matches,
        "next": _next_address(request, forest, trees, wanted),
    }


def _row_data(request: HttpRequest, forest: Forest, row: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: row.get(name) for name in _OF_A_ROW},
        "page": json_address(reverse("tree", args=[forest.name, row["index"]])),
        "item_preview": one_line(row["item"], _MAX_ITEM_LENGTH),
        "label": row["label"],
        "error": shown_to(request, row["error"]),
    }


def _next_address(
    request: HttpRequest, forest: Forest, trees: TreePage, wanted: TreeFilter
) -> str | None:
    """Return where the list continues; None at its end."""
    address = forest.get_absolute_url()
    if wanted.is_plain and trees.next_start is None:
        return json_address(address, page=trees.next) if trees.next else None
    if trees.next_start is None:
        return None
    kept = {name: request.GET.get(name) for name in _OF_A_FILTER}
    return json_address(address, **kept, **{"from": trees.next_start})
