"""What the pages read: a fixed number of indexed queries, however large the forest is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from forests.core.abilities import Abilities
from forests.core.naming import model_server_id
from forests.core.throughput import WINDOW_MINUTES, MinuteOfWork
from forests.models import Activity, Forest, ModelServer, Tree, TreeStatus
from forests.progress import Progress, Workers, progress_of
from forests.store import Document, collection, has_live_lease

MAX_LEASES = 2000
"""Trees in work of which a page reads the leases."""

MOST_SERVERS = 20
"""Servers of which a page tells what they do."""


@dataclass(frozen=True, slots=True)
class ShownServer:
    """What a server was found to do with a model that grew a forest."""

    address: str
    model: str
    told: list[tuple[str, str]]
    """What it does in words, each with its name."""
    probed_at: datetime


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
    return Workers.of(tree["lease_holder"] for tree in trees if has_live_lease(tree))


def read_servers(forest: Forest) -> list[ShownServer]:
    """Return what the servers that grew a forest do, as far as they were asked: one query."""
    growers = [one for one in forest.grown_by[:MOST_SERVERS] if isinstance(one, Mapping)]
    ids = [_server_id(forest, one) for one in growers]
    found = {one.id: one for one in ModelServer.objects.filter(pk__in=ids)} if ids else {}
    servers = [found[one] for one in dict.fromkeys(ids) if one in found]
    return [
        ShownServer(server.server, server.model, abilities.told(), server.probed_at)
        for server in servers
        if (abilities := Abilities.from_dict(server.abilities))
    ]


def _server_id(forest: Forest, grower: Mapping[str, Any]) -> str:
    settings = forest.worker_config
    return model_server_id(
        str(grower.get("server", "")),
        str(grower.get("model", "")),
        str(settings.get("api", "")),
        settings.get("extra_body") or {},
    )


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
