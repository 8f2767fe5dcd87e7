"""What the pages read: a fixed number of indexed queries, however large the forest is."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from forests.core.throughput import WINDOW_MINUTES, MinuteOfWork
from forests.models import Activity, Forest, Tree, TreeStatus
from forests.progress import Progress, Workers, progress_of
from forests.store import Document, collection, has_live_lease, server_time

MAX_LEASES = 2000
"""Trees in work of which a page reads the leases."""


def read_progress(forests: Sequence[Forest]) -> list[Progress]:
    """Return the progress of these forests, in their order: one query for all of them."""
    now = datetime.now(UTC)
    minutes: dict[str, list[MinuteOfWork]] = {forest.name: [] for forest in forests}
    names = [one.name for one in forests if one.num_pending and one.growth_started_at]
    if names:
        ids = [f"{name}/{minute:%Y%m%d%H%M}" for name in names for minute in _last_minutes(now)]
        for document in collection(Activity).find({"_id": {"$in": ids}}):
            minutes[document["forest_id"]].append(_minute_of_work(document))
    return [progress_of(forest, minutes[forest.name], now) for forest in forests]


def read_progress_of(forest: Forest) -> Progress:
    """Return the progress of one forest, with its workers: two queries."""
    (progress,) = read_progress([forest])
    return progress.with_workers(read_workers(forest))


def read_workers(forest: Forest) -> Workers:
    """Return who grows a forest now, from the leases on its trees in work."""
    if not (forest.num_pending and forest.growth_started_at):
        return Workers()
    growing = {"forest_id": forest.name, "status": str(TreeStatus.GROWING)}
    fields = {"lease_holder": 1, "lease_expires_at": 1}
    trees = list(collection(Tree).find(growing, fields).limit(MAX_LEASES))
    now = server_time()
    return Workers.of(tree["lease_holder"] for tree in trees if has_live_lease(tree, now))


def list_forests() -> list[Forest]:
    """Return all forests without the long texts of their configs, the latest first."""
    return list(Forest.objects.defer("config_source", "worker_config"))


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
