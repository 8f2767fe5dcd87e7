"""Signals about forests for apps that forests may not import."""

from collections import Counter

from django.dispatch import Signal

forest_deleted = Signal()
"""Sent with `forest_name` before a forest is deleted. Receivers delete their documents about it."""

forest_weighed = Signal()
"""Sent with `forest_name`. Receivers return how many documents belong to the forest, by kind."""

pass_rates_wanted = Signal()
"""Sent with `forests`. Receivers return the measured `PassRate` of forests that have one, by name.
"""


def belongings(forest_name: str) -> Counter[str]:
    """Return how many documents other apps keep for a forest, by kind."""
    found: Counter[str] = Counter()
    for _, numbers in forest_weighed.send(sender=None, forest_name=forest_name):
        found.update(numbers)
    return found
