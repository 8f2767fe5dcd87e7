"""Signals about forests for apps that forests may not import."""

from collections import Counter

from django.dispatch import Signal

forest_deleted = Signal()
"""Sent with `forest_name` before a forest is deleted: delete the documents that belong to it."""

forest_weighed = Signal()
"""Sent with `forest_name`: return how many documents belong to the forest, by kind."""

pass_rates_wanted = Signal()
"""Sent with `forests`: return the measured `PassRate` of each that has one, by name."""


def belongings(forest_name: str) -> Counter[str]:
    """Return how many documents other apps keep for a forest, by kind."""
    found: Counter[str] = Counter()
    for _, numbers in forest_weighed.send(sender=None, forest_name=forest_name):
        found.update(numbers)
    return found
