# ruff: noqa: ARG002  Django passes arguments that these methods do not need
"""Read-only admin of preference sets, pairs and reviews."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from forests.admin import ForestFilter, StoredAdmin
from forests.admin_columns import column
from forests.core.naming import path_of_node
from preferences.models import Preference, PreferenceSet, Review


@admin.register(PreferenceSet)
class PreferenceSetAdmin(StoredAdmin):
    list_display = [
        "id", "page", column("num_pairs"), column("num_trees_used"), column("is_complete"),
        column("mean_margin"), column("created_at"),
    ]  # fmt: skip
    list_filter = [ForestFilter, "is_complete"]


@admin.register(Preference)
class PreferenceAdmin(StoredAdmin):
    """Searches by the id of a pair, or by the key of a tree in a set."""

    list_display = [
        "id", "page", column("margin"), column("chosen_value"), column("rejected_value"), "depth",
    ]  # fmt: skip
    search_help_text = (
        "Search by the id of a pair, or of a tree in a set: <forest>/<set>/<tree, 7 digits>"
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        is_pair = term.count("/") > 2  # noqa: PLR2004  forest, set, tree, number
        return queryset.filter(**{"pk" if is_pair else "tree_key": term}), False

    def view_on_site(self, obj: Preference) -> str:
        """Return the URL of the prefix that both sides continue."""
        return reverse("node", args=[obj.forest_id, obj.tree_index, path_of_node(obj.prefix_id)])


@admin.register(Review)
class ReviewAdmin(StoredAdmin):
    """Shows reviews; the page of the pairs edits them."""

    list_display = ["id", "page", "state", "reviewer", "note", "reviewed_at"]
    list_filter = [ForestFilter]

    def view_on_site(self, obj: Review) -> str:
        """Return the URL of the pairs with this review state."""
        name = obj.preference_set_id.rpartition("/")[2]
        return reverse("preferences", args=[obj.forest_id]) + f"?set={name}&review={obj.state}"
