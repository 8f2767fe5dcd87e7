"""The page of a forest's config: its dataset, the settings of its growth, and its source."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from experiment_configs.interfaces import SAMPLE_FREE_SETTINGS
from forests.models import Forest
from forests.pages.forest_json import config_data
from forests.pages.json_twin import respond
from forests.pages.page_requests import get_forest

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "Model": ("model", "api", "reasoning", "extra_body", "max_tokens_field"),
    "Sampling": (
        "temperature", "top_p", "seed", "samples_per_request", "logprobs", "keep_tokens",
    ),
    "Steps and answers": (
        "step_delimiter", "keep_blocks", "stop", "stop_at_answer", "max_tokens_per_step",
    ),
    "Growth": (
        "strategy", "strategy_package", "num_rollouts", "rollouts_per_state", "branching",
        "num_searches", "omega_alpha", "omega_beta", "omega_length", "omega_c_puct", "refinement",
        "max_depth", "max_nodes", "max_tokens_per_rollout",
    ),
    "Requests": SAMPLE_FREE_SETTINGS,
}  # fmt: skip
"""The settings of a worker in groups, by the title of the group; all others are shown last."""

_OMEGA = (
    "num_searches", "omega_alpha", "omega_beta", "omega_length", "omega_c_puct",
)  # fmt: skip
_UNUSED: Mapping[str, tuple[str, ...]] = {
    "branching": ("num_rollouts", "rollouts_per_state", *_OMEGA),
    "sampled": ("rollouts_per_state", "branching", "max_tokens_per_step", *_OMEGA),
    "math_shepherd": ("branching", "max_tokens_per_step", *_OMEGA),
    "omega_prm": ("num_rollouts", "branching", "max_tokens_per_step"),
}
"""Settings that a strategy does not read, so that the page leaves them out.

Thoughts and refinement read `max_tokens_per_rollout` with every strategy."""


class Setting(NamedTuple):
    """A setting, with the seeded value if it was replaced."""

    name: str
    value: Any
    seeded: str


@require_safe
def config(request: HttpRequest, forest_name: str) -> HttpResponse:
    """Render the config of a forest as it was recorded."""
    context = config_context(get_forest(forest_name))
    return respond(
        request, "forests/config.html", context, lambda: _data(request, context["forest"])
    )


def config_context(forest: Forest) -> dict[str, Any]:
    """Return what the page shows."""
    unused = [one.name for one in _settings(forest) if one.name in _unused(forest)]
    return {"forest": forest, "groups": groups_of(forest), "unused": unused}


def groups_of(forest: Forest) -> list[tuple[str, list[Setting]]]:
    """Return the settings that its strategy reads, in groups; those without a group come last."""
    unused = _unused(forest)
    settings = {one.name: one for one in _settings(forest) if one.name not in unused}
    found = [
        (title, [settings.pop(name) for name in names if name in settings])
        for title, names in _GROUPS.items()
    ]
    return [(title, rows) for title, rows in (*found, ("Others", [*settings.values()])) if rows]


def _data(request: HttpRequest, forest: Forest) -> dict[str, Any]:
    return {
        "forest": forest.name,
        "config_name": forest.config_name,
        "dataset_split": forest.dataset_split,
        **config_data(request, forest),
    }


def _settings(forest: Forest) -> list[Setting]:
    return [Setting(*one) for one in forest.told_settings]


def _unused(forest: Forest) -> tuple[str, ...]:
    return _UNUSED.get(forest.strategy, ())
