"""What staff can do with a forest besides, where it takes what workers know."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from common.places import to_type
from forests.admin import ForestAdmin
from forests.models import Forest
from forests.storage.trees import MAX_NODES_OF_A_REQUEST, is_held
from rollouts.maintenance.recounting import recount_forest


@admin.action(description="Recount nodes, samples and tokens", permissions=["change"])
def recount(
    model_admin: "admin.ModelAdmin[Forest]", request: HttpRequest, chosen: QuerySet[Forest]
) -> None:
    for forest in chosen:
        if is_held(forest):
            messages.error(request, f"Pause {forest} first: workers still count as they grow.")
        elif forest.num_nodes > MAX_NODES_OF_A_REQUEST:
            command = to_type(f"recount_forest --forest_name {forest}")
            messages.error(request, f"A page cannot read all nodes of {forest}: {command}")
        else:
            differences = recount_forest(forest)
            words = [f"{name} {old} is {new}" for name, (old, new) in differences.items()]
            said = ", ".join(words) or "all counters were right"
            model_admin.log_change(request, forest, f"recounted: {said}")
            messages.success(request, f"Recounted {forest}: {said}.")


class GrownForestAdmin(ForestAdmin):
    actions = [*ForestAdmin.actions, recount]


admin.site.unregister(Forest)
admin.site.register(Forest, GrownForestAdmin)
