"""The models of a forest on pages, from its document only."""

from collections.abc import Sequence

from django import template

from forests.models import Forest
from forests.progress.grown_by import ModelOfForest, models_of, num_uncounted

register = template.Library()


@register.filter
def models(forest: Forest) -> Sequence[ModelOfForest]:
    """Return the models that wrote nodes of a forest, busiest first."""
    return models_of(forest)


@register.filter
def uncounted(forest: Forest) -> int:
    """Return the number of nodes without a model count."""
    return num_uncounted(forest)
