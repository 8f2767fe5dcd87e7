"""Counts and deletes the metrics of a forest that is to be deleted."""

from typing import Any

from django.dispatch import receiver

from forests.signals import forest_deleted, forest_weighed
from forests.storage.trees import collection
from metrics.models import MetricRun, RunItems, ScorerReport


@receiver(forest_deleted)
def delete_runs(forest_name: str, **_: Any) -> None:
    for model in (MetricRun, RunItems, ScorerReport):
        collection(model).delete_many({"forest_id": forest_name})


@receiver(forest_weighed)
def count_runs(forest_name: str, **_: Any) -> dict[str, int]:
    return {"metric runs": collection(MetricRun).count_documents({"forest_id": forest_name})}
