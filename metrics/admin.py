"""Read-only admin of metric runs and scorer reports, which commands write."""

from django.contrib import admin

from forests.admin import ForestFilter, StoredAdmin
from metrics.models import MetricRun, ScorerReport


@admin.register(MetricRun)
class MetricRunAdmin(StoredAdmin):
    list_display = ["id", "page", "num_trees_used", "num_trees", "created_at"]
    list_filter = [ForestFilter]


@admin.register(ScorerReport)
class ScorerReportAdmin(StoredAdmin):
    list_display = ["id", "page", "num_trees_used", "num_trees", "created_at"]
    list_filter = [ForestFilter]
