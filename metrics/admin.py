"""Results of beam searches in the admin: to look at, since the command makes them."""

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
