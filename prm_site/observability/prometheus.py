"""Metrics for Prometheus at `/metrics`: forests from the database, the queue from RQ.

Workers on all machines count in the database, so the site can report for all of them.
"""

from collections.abc import Iterable, Iterator
from functools import cache, partial

from django_rq.contrib.prometheus import RQCollector
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from forests.models import Forest, Tree, TreeStatus
from forests.progress.reading import read_standings
from forests.progress.states import ForestState
from forests.storage.trees import collection
from rollouts.client.latencies import cumulated

_WAITS = (ForestState.WAITING, ForestState.STOPPED)


class ForestCollector(Collector):
    """Metrics of all forests, from their counters and a count of growing trees."""

    def collect(self) -> Iterable[Metric]:
        """Yield the metric families; the first label of each is the forest."""
        forests = list(Forest.objects.order_by("name").defer("config_source"))
        standings = read_standings(forests)
        states = {one.name: found.state for one, found in zip(forests, standings, strict=True)}
        yield _gauge("trees", "Trees by status", ["status"], _trees(forests))
        yield _gauge("nodes", "Steps below the roots", [], _each(forests, "num_nodes"))
        yield _gauge("leaves", "Finished samples by grade", ["grade"], _leaves(forests))
        yield _gauge(
            "waits_for_backend",
            "1 if workers wait for the model server, or stopped because it refuses requests",
            [],
            (([name], int(state in _WAITS)) for name, state in states.items()),
        )
        yield _gauge(
            "forest_state",
            "1 for the state of each forest, as its page shows it",
            ["state"],
            (([name, str(state)], 1) for name, state in states.items()),
        )
        yield _counter("requests", "Requests sent to model servers", [], _each(forests, "requests"))
        yield _counter("retries", "Requests that were sent again", [], _each(forests, "retries"))
        yield _counter("request_failures", "Failed requests by kind", ["kind"], _failures(forests))
        yield _counter("tokens", "Tokens, drawn and in prompts", ["kind"], _tokens(forests))
        yield _counter(
            "cached_prompt_tokens",
            "Prompt tokens that model servers took from their prefix caches, as far as they tell",
            [],
            _each(forests, "cached_tokens"),
        )
        yield _latencies(forests)


class QueueCollector(Collector):
    """RQ's own metrics; if the queue is down, only `prm_queue_up` with 0."""

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of django-rq, and whether the queue answers."""
        try:
            found = list(RQCollector().collect())
        except RedisError:
            found = []
        yield GaugeMetricFamily("prm_queue_up", "1 if the queue answers", value=bool(found))
        yield from found


@cache
def registry() -> CollectorRegistry:
    """Return the registry of both collectors. Each scrape runs them."""
    made = CollectorRegistry()
    made.register(ForestCollector())
    made.register(QueueCollector())
    return made


_Values = Iterable[tuple[list[str], float]]
"""Pairs of labels, with the forest's name first, and a number."""


def _family(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    words: str,
    labels: list[str],
    values: _Values,
) -> Metric:
    family = kind(f"prm_{name}", words, labels=["forest", *labels])
    for found, value in values:
        family.add_metric(found, value)
    return family


_gauge = partial(_family, GaugeMetricFamily)
_counter = partial(_family, CounterMetricFamily)


def _latencies(forests: list[Forest]) -> Metric:
    family = HistogramMetricFamily(
        "prm_request_duration_seconds", "How long answered requests took", labels=["forest"]
    )
    for forest in forests:
        family.add_metric([forest.name], cumulated(forest.latencies), forest.request_seconds)
    return family


def _each(forests: list[Forest], field: str) -> _Values:
    return (([forest.name], getattr(forest, field)) for forest in forests)


def _trees(forests: list[Forest]) -> Iterator[tuple[list[str], float]]:
    for forest in forests:
        growing = {"forest_id": forest.name, "status": str(TreeStatus.GROWING)}
        num_growing = collection(Tree).count_documents(growing) if forest.num_pending else 0
        numbers = {
            TreeStatus.PENDING: max(0, forest.num_pending - num_growing),
            TreeStatus.GROWING: num_growing,
            TreeStatus.COMPLETE: forest.num_complete,
            TreeStatus.FAILED: forest.num_failed,
        }
        for status, number in numbers.items():
            yield [forest.name, str(status)], number


def _leaves(forests: list[Forest]) -> Iterator[tuple[list[str], float]]:
    for forest in forests:
        for grade in ("correct", "incorrect", "unanswered", "uncompared", "truncated"):
            yield [forest.name, grade], getattr(forest, f"num_{grade}") or 0


def _failures(forests: list[Forest]) -> Iterator[tuple[list[str], float]]:
    for forest in forests:
        for kind, number in sorted(forest.failures.items()):
            yield [forest.name, kind], number


def _tokens(forests: list[Forest]) -> Iterator[tuple[list[str], float]]:
    for forest in forests:
        yield [forest.name, "prompt"], forest.prompt_tokens
        yield [forest.name, "completion"], forest.completion_tokens
