"""Receivers of signals: a forest was deleted, a forest is counted, pages want pass rates."""

from collections.abc import Sequence
from typing import Any

from django.dispatch import receiver

from forests.models import Forest
from forests.progress.pass_rates import PassRate
from forests.signals import forest_deleted, forest_weighed, pass_rates_wanted
from forests.storage.trees import collection
from metrics.measuring.pass_rates import measured_pass_rates
from metrics.models import MetricRun, RunItems, ScorerReport


@receiver(forest_deleted)
def delete_runs(forest_name: str, **_: Any) -> None:
    for model in (MetricRun, RunItems, ScorerReport):
        collection(model).delete_many({"forest_id": forest_name})


@receiver(forest_weighed)
def count_runs(forest_name: str, **_: Any) -> dict[str, int]:
    return {"metric runs": collection(MetricRun).count_documents({"forest_id": forest_name})}


@receiver(pass_rates_wanted)
def tell_pass_rates(forests: Sequence[Forest], **_: Any) -> dict[str, PassRate]:
    return measured_pass_rates(forests)
