# ruff: noqa: ARG002  Django gives more than is needed
"""Preference sets and pairs in the admin: to look at, since commands make them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from preferences.models import Preference, PreferenceSet


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no runtime subscript
    """Shows documents without changing them, and without counting a big collection twice."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(PreferenceSet)
class PreferenceSetAdmin(ReadOnlyAdmin):
    list_display = ["id", "num_pairs", "num_trees_used", "is_complete", "created_at"]


@admin.register(Preference)
class PreferenceAdmin(ReadOnlyAdmin):
    list_display = ["id", "margin", "chosen_value", "rejected_value", "depth"]
    search_fields = ["tree_key"]
    search_help_text = "<forest>/<set>/<tree index in 7 digits>"
    ordering = ["id"]

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Look up one tree by its key, which an index answers."""
        return (queryset.filter(tree_key=search_term) if search_term else queryset), False
