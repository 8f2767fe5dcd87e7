"""Read-only admin of metric runs and scorer reports, which commands write."""

from django.contrib import admin

from forests.admin import ForestFilter, StoredAdmin
from forests.admin_columns import column
from metrics.models import MetricRun, ScorerReport


@admin.register(MetricRun)
class MetricRunAdmin(StoredAdmin):
    list_display = [
        "id", "page", column("num_trees_used"), column("num_trees"), column("created_at"),
    ]  # fmt: skip
    list_filter = [ForestFilter]


@admin.register(ScorerReport)
class ScorerReportAdmin(StoredAdmin):
    list_display = [
        "id", "page", column("num_trees_used"), column("num_trees"), column("created_at"),
    ]  # fmt: skip
    list_filter = [ForestFilter]
