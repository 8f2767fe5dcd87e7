"""Receivers of signals: count a forest's preference sets, and delete them with the forest."""

from typing import Any

from django.dispatch import receiver

from forests.signals import forest_deleted, forest_weighed
from preferences.models import PreferenceSet, Review
from preferences.sets.reviews import delete_reviews
from preferences.sets.storage import delete_set


@receiver(forest_deleted)
def delete_sets(forest_name: str, **_: Any) -> None:
    for found in PreferenceSet.objects.filter(forest_id=forest_name):
        delete_set(found)
    delete_reviews(forest_name)


@receiver(forest_weighed)
def count_sets(forest_name: str, **_: Any) -> dict[str, int]:
    sets = PreferenceSet.objects.filter(forest_id=forest_name)
    return {
        "preference sets": len(sets),
        "preferences": sum(one.num_pairs for one in sets),
        "reviews": Review.objects.filter(forest_id=forest_name).count(),
    }
