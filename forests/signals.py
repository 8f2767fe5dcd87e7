"""What other apps may want to know of forests, which may not import them."""

from collections import Counter

from django.dispatch import Signal

forest_deleted = Signal()
"""Sent with `forest_name` before a forest's own documents go: delete what belongs to it."""

forest_weighed = Signal()
"""Sent with `forest_name`: return how many documents belong to the forest, by what they are."""


def belongings(forest_name: str) -> Counter[str]:
    """Return how many documents other apps keep for a forest, by what they are."""
    found: Counter[str] = Counter()
    for _, numbers in forest_weighed.send(sender=None, forest_name=forest_name):
        found.update(numbers)
    return found
