# ruff: noqa: ARG002  Django gives more than is needed
"""The admin of forests: staff inspect stored documents and act on whole forests.

Trees and nodes are read-only, because editing a tree by hand would break it.

Lists stay cheap in a forest with a million trees: they never sort by a field without an index or
count all documents, and an index answers their filters. A tree or node is found by its id.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common.errors import UserError
from common.places import to_type
from common.text import counted
from forests.admin_columns import column, columns
from forests.models import Activity, Forest, Node, Tree, TreeStatus
from forests.progress.reading import read_standing_of, read_standings
from forests.progress.states import Standing
from forests.signals import belongings
from forests.storage.counters import recount_forest
from forests.storage.trees import (
    MAX_NODES_OF_A_REQUEST,
    collection,
    delete_forest,
    is_held,
    retry_failed,
)

admin.site.site_header = admin.site.site_title = "PRM forests"

MAX_LISTED = 1000
"""Most documents in a list. Use a filter or an id to find the others."""


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # no runtime subscript
    """Counts no further than the last page that it offers."""

    @cached_property
    def count(self) -> int:
        documents = cast("QuerySet[Any]", self.object_list)
        return documents[:MAX_LISTED].count()

    def _check_object_list_is_ordered(self) -> None:
        """Accept the database's own order: sorting a million documents is slow."""


class UnorderedChangeList(ChangeList):
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return []


class ForestFilter(admin.SimpleListFilter):
    title = "forest"
    parameter_name = "forest"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        names = Forest.objects.order_by().values_list("name", flat=True)
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(forest_id=self.value()) if self.value() else queryset


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status__exact"  # as in the addresses of Django's own filter

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return TreeStatus.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the trees of this status, and of the forest that is filtered by, too.

        Django would join both conditions with `$and`, and the embedded server would then read all
        trees.
        """
        if not self.value():
            return queryset
        wanted = {"status": self.value()}
        if forest := request.GET.get(ForestFilter.parameter_name):
            wanted["forest_id"] = forest
        found = collection(Tree).find(wanted, {"_id": 1}, limit=MAX_LISTED)
        return Tree.objects.filter(pk__in=[tree["_id"] for tree in found])


class ForestChangeList(UnorderedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Read the states of all forests on the page with one query."""
        super().get_results(request)
        self.result_list = list(self.result_list)
        for forest, standing in zip(
            self.result_list, read_standings(self.result_list), strict=True
        ):
            forest.standing = standing


class StoredAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no runtime subscript
    """A model that only commands and workers write."""

    show_full_result_count = False
    list_per_page = 50
    sortable_by = ()
    actions: Sequence[Any] | None = None
    paginator = BoundedPaginator
    show_facets = admin.ShowFacets.NEVER  # they count all documents
    search_fields = ["pk"]
    search_help_text = "Search by the whole id, whatever the filters"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return UnorderedChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        # With a filter beside the id, the embedded server would read all documents.
        by_id = self.get_queryset(request).filter(pk=search_term.strip())
        return (by_id if search_term else queryset), False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return columns(self.model)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return columns(self.model)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def view_on_site(self, obj: Any) -> str:
        return str(obj.get_absolute_url())

    @admin.display(description="page")
    def page(self, obj: Any) -> SafeString:
        """Link to the document's page on the site."""
        return format_html('<a href="{}">view</a>', self.view_on_site(obj))


@admin.action(description="Pause: workers leave their trees", permissions=["change"])
def pause(
    model_admin: "admin.ModelAdmin[Forest]", request: HttpRequest, chosen: QuerySet[Forest]
) -> None:
    names = _set_paused(model_admin, request, chosen, is_paused=True)
    messages.success(request, f"Paused: {names}. Workers leave these forests within seconds.")


@admin.action(description="Resume", permissions=["change"])
def resume(
    model_admin: "admin.ModelAdmin[Forest]", request: HttpRequest, chosen: QuerySet[Forest]
) -> None:
    names = _set_paused(model_admin, request, chosen, is_paused=False)
    messages.success(request, f"Resumed: {names}. Now run populate_forest for each of them.")


@admin.action(description="Retry failed trees", permissions=["change"])
def retry(
    model_admin: "admin.ModelAdmin[Forest]", request: HttpRequest, chosen: QuerySet[Forest]
) -> None:
    for forest in chosen:
        number = retry_failed(forest)
        model_admin.log_change(request, forest, f"{counted(number, 'failed tree')} made pending")
        messages.success(
            request,
            f"{counted(number, 'tree')} of {forest} made pending. Now run populate_forest for it.",
        )


def _set_paused(
    model_admin: "admin.ModelAdmin[Forest]",
    request: HttpRequest,
    chosen: QuerySet[Forest],
    *,
    is_paused: bool,
) -> str:
    """Pause or resume forests and return their names."""
    forests = list(chosen)
    for forest in forests:
        Forest.objects.filter(pk=forest.pk).update(is_paused=is_paused)
        model_admin.log_change(request, forest, "paused" if is_paused else "resumed")
    return ", ".join(sorted(forest.name for forest in forests))


@admin.action(description="Recount nodes, samples and tokens", permissions=["change"])
def recount(
    model_admin: "admin.ModelAdmin[Forest]", request: HttpRequest, chosen: QuerySet[Forest]
) -> None:
    for forest in chosen:
        if is_held(forest):
            messages.error(request, f"Pause {forest} first: its workers update the counters.")
        elif forest.num_nodes > MAX_NODES_OF_A_REQUEST:
            command = to_type(f"recount_forest --forest_name {forest}")
            messages.error(request, f"A page cannot read all nodes of {forest}: {command}")
        else:
            try:
                differences = recount_forest(forest)
            except UserError as error:
                messages.error(request, f"{forest} was not recounted: {error}")
                continue
            words = [f"{name} {old} is {new}" for name, (old, new) in differences.items()]
            said = ", ".join(words) or "all counters were correct"
            model_admin.log_change(request, forest, f"recounted: {said}")
            messages.success(request, f"Recounted {forest}: {said}.")


@admin.register(Forest)
class ForestAdmin(StoredAdmin):
    """Staff pause, resume, retry and delete forests; workers write everything else."""

    list_display = [
        "name", "page", "state", column("num_trees"), column("num_complete"), column("num_failed"),
        column("is_paused"), column("created_at"),
    ]  # fmt: skip
    list_filter = ["is_paused", "is_seeded", "config_name", "dataset_split"]
    search_help_text = "Search by a part of the name"
    actions = [pause, resume, retry, recount]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return ["is_paused", "state", *columns(Forest, without="is_paused")]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return ["state", *columns(Forest, without="is_paused")]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ForestChangeList

    @admin.display(description="state")
    def state(self, obj: Forest) -> str:
        """Return the state with its reason, as pages and commands show it."""
        standing: Standing = getattr(obj, "standing", None) or read_standing_of(obj)
        return str(standing)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return admin.ModelAdmin.has_change_permission(self, request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Match any part of a name: there are few forests."""
        term = search_term.strip()
        return (queryset.filter(name__icontains=term) if term else queryset), False

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Return how many documents go with the forests, and what prevents the deletion."""
        gone: Counter[str] = Counter()
        for forest in objs:
            gone += Counter(forests=1, trees=forest.num_trees, nodes=forest.num_nodes)
            gone += belongings(forest.name)
        kept = [
            f"trees of {forest.name} that workers hold: pause it and try again in a minute"
            for forest in objs
            if is_held(forest)
        ]
        if max(gone["trees"] + gone["nodes"], gone["preferences"]) > MAX_NODES_OF_A_REQUEST:
            kept += [
                "more than a page can delete: "
                + to_type(f"delete_forest --forest_name {forest.name} --yes")
                for forest in objs
            ]
        return [forest.name for forest in objs], gone, set(), kept

    def delete_model(self, request: HttpRequest, obj: Forest) -> None:
        delete_forest(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Forest]) -> None:
        for forest in queryset:
            delete_forest(forest)

    def save_model(self, request: HttpRequest, obj: Forest, form: Any, change: bool) -> None:
        """Write only the editable field: workers update the others meanwhile."""
        Forest.objects.filter(pk=obj.pk).update(is_paused=obj.is_paused)


@admin.register(Tree)
class TreeAdmin(StoredAdmin):
    list_display = [
        "id", "page", "status", column("num_nodes"), column("num_leaves"), column("root_value"),
        "lease_holder",
    ]  # fmt: skip
    list_filter = [ForestFilter, StatusFilter]


@admin.register(Node)
class NodeAdmin(StoredAdmin):
    """Nodes are found by their own id, or by the id of their tree."""

    list_display = ["id", "page", "depth", "grade", "truncated", "tokens", "model"]
    search_help_text = (
        "Search by the id of a node or of a tree, such as gsm8k_baseline-test-first/0000012"
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        is_node = term.count("/") > 1
        return queryset.filter(**{"pk" if is_node else "tree_id": term}), False


@admin.register(Activity)
class ActivityAdmin(StoredAdmin):
    list_display = ["id", "page", column("minute"), "trees", "nodes", "tokens", "requests"]
    list_filter = [ForestFilter]

    def view_on_site(self, obj: Activity) -> str:
        return reverse("forest", args=[obj.forest_id])
