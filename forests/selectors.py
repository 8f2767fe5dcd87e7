"""What the pages read: a fixed number of indexed queries, however large the forest is."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from forests.core.states import Standing, standing_of
from forests.core.throughput import WINDOW_MINUTES, MinuteOfWork
from forests.models import Activity, Forest, Tree, TreeStatus
from forests.progress import Progress, Workers, facts_of, progress_of
from forests.store import Document, collection, has_live_lease

MAX_LEASES = 5000
"""Trees in work of which one look reads the leases."""


def read_progress(forests: Sequence[Forest]) -> list[Progress]:
    """Return the progress of these forests, in their order: two queries for all of them."""
    now = datetime.now(UTC)
    workers = read_workers(forests)
    minutes: dict[str, list[MinuteOfWork]] = {forest.name: [] for forest in forests}
    if names := [one.name for one in forests if one.num_pending and one.growth_started_at]:
        ids = [f"{name}/{minute:%Y%m%d%H%M}" for name in names for minute in _last_minutes(now)]
        for document in collection(Activity).find({"_id": {"$in": ids}}):
            minutes[document["forest_id"]].append(_minute_of_work(document))
    return [
        progress_of(forest, workers[forest.name], minutes[forest.name], now) for forest in forests
    ]


def read_progress_of(forest: Forest) -> Progress:
    """Return the progress of one forest: two queries."""
    (progress,) = read_progress([forest])
    return progress


def read_standings(forests: Sequence[Forest]) -> list[Standing]:
    """Return where these forests stand, in their order: one query for all of them."""
    now = datetime.now(UTC)
    workers = read_workers(forests)
    return [standing_of(facts_of(forest, workers[forest.name], now)) for forest in forests]


def read_standing_of(forest: Forest) -> Standing:
    """Return where one forest stands."""
    (standing,) = read_standings([forest])
    return standing


def read_workers(forests: Sequence[Forest]) -> dict[str, Workers]:
    """Return who grows these forests now, from the leases on their trees in work: one query."""
    holders: dict[str, list[str]] = {forest.name: [] for forest in forests}
    if names := [one.name for one in forests if one.num_pending]:
        growing = {"forest_id": {"$in": names}, "status": str(TreeStatus.GROWING)}
        fields = {"forest_id": 1, "lease_holder": 1, "lease_expires_at": 1}
        for tree in collection(Tree).find(growing, fields).limit(MAX_LEASES):
            if has_live_lease(tree):
                holders[tree["forest_id"]].append(tree["lease_holder"])
    return {name: Workers.of(found) for name, found in holders.items()}


def list_forests() -> list[Forest]:
    """Return all forests without the sources of their configs, the latest first."""
    return list(Forest.objects.defer("config_source"))


def _last_minutes(now: datetime) -> list[datetime]:
    return [now - timedelta(minutes=ago) for ago in range(WINDOW_MINUTES)]


def _minute_of_work(document: Document) -> MinuteOfWork:
    minute: datetime = document["minute"]
    return MinuteOfWork(
        minute=minute if minute.tzinfo else minute.replace(tzinfo=UTC),
        trees=document.get("trees", 0),
        nodes=document.get("nodes", 0),
        tokens=document.get("tokens", 0),
        requests=document.get("requests", 0),
    )
