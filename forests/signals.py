"""What other apps may want to know of forests, which may not import them."""

from django.dispatch import Signal

forest_deleted = Signal()
"""Sent with `forest_name` before a forest's own documents go: delete what belongs to it."""
