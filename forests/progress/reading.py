"""What the pages read: a fixed number of indexed queries for a forest of any size."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from forests.core.abilities import Abilities
from forests.core.naming import model_server_id, node_id
from forests.core.thoughts import ThoughtShare
from forests.models import Activity, Forest, ModelServer, Node, Tree, TreeStatus
from forests.progress.facts import Progress, Workers, facts_of
from forests.progress.states import ForestState, Standing, standing_of
from forests.progress.throughput import WINDOW_MINUTES, MinuteOfWork, throughput
from forests.storage.trees import (
    TREES_PER_READ,
    Document,
    collection,
    has_live_lease,
    is_current,
    server_time,
    tree_ids,
)

MAX_LEASES = 5000
"""Most leases that one page reads."""

MAX_SERVERS = 20
"""Most servers whose abilities a page shows."""

TREES_LOOKED_AT = 4
FIRST_STEPS_LOOKED_AT = 32
"""First steps of each tree that are looked at for a thought: some samples may have none."""
STEPS_LOOKED_AT = 250
"""Steps read of each tree, to find the share of thought."""


@dataclass(frozen=True, slots=True)
class ShownServer:
    """The abilities of one server with a model that grew a forest."""

    address: str
    model: str
    told: list[tuple[str, str]]
    """Its abilities in words, each with its name."""
    probed_at: datetime


def read_progress(forests: Sequence[Forest]) -> list[Progress]:
    """Return the progress of these forests, in their order, with two queries for all of them."""
    now = datetime.now(UTC)
    workers = read_workers(forests)
    standings = [standing_of(facts_of(one, workers[one.name], now)) for one in forests]
    growing = [
        forest.name
        for forest, standing in zip(forests, standings, strict=True)
        if standing.state is ForestState.GROWING
    ]
    minutes = _read_minutes(growing, now)
    return [
        Progress(one, standing, workers[one.name], throughput(minutes.get(one.name, ()), now))
        for one, standing in zip(forests, standings, strict=True)
    ]


def read_progress_of(forest: Forest) -> Progress:
    """Return the progress of one forest, with two queries."""
    (progress,) = read_progress([forest])
    return progress


def read_standings(forests: Sequence[Forest]) -> list[Standing]:
    """Return the standings of these forests, in their order, with one query for all of them."""
    now = datetime.now(UTC)
    workers = read_workers(forests)
    return [standing_of(facts_of(forest, workers[forest.name], now)) for forest in forests]


def read_standing_of(forest: Forest) -> Standing:
    """Return the standing of one forest."""
    (standing,) = read_standings([forest])
    return standing


def read_workers(forests: Sequence[Forest]) -> dict[str, Workers]:
    """Return the workers of these forests, from the leases on held trees, with one query.

    For one forest it reads only its own trees; for several it reads all held trees. Both use an
    index. A list of names would cause a scan on the embedded server.
    """
    holders: dict[str, list[str]] = {forest.name: [] for forest in forests}
    in_work = [forest.name for forest in forests if forest.num_pending]
    growing: Document = {"status": str(TreeStatus.GROWING)}
    now = server_time()
    growing |= (
        {"forest_id": in_work[0]} if len(in_work) == 1 else {"lease_expires_at": {"$gt": now}}
    )
    fields = {"forest_id": 1, "lease_holder": 1, "lease_expires_at": 1}
    for tree in collection(Tree).find(growing, fields).limit(MAX_LEASES) if in_work else ():
        if tree["forest_id"] in holders and has_live_lease(tree, now):
            holders[tree["forest_id"]].append(tree["lease_holder"])
    return {name: Workers.of(found) for name, found in holders.items()}


def _read_minutes(names: Sequence[str], now: datetime) -> Mapping[str, list[MinuteOfWork]]:
    """Return the recent activity of these forests."""
    minutes: defaultdict[str, list[MinuteOfWork]] = defaultdict(list)
    if names:
        ids = [f"{name}/{minute:%Y%m%d%H%M}" for name in names for minute in _last_minutes(now)]
        for document in collection(Activity).find({"_id": {"$in": ids}}):
            minutes[document["forest_id"]].append(_minute_of_work(document))
    return minutes


def read_servers(forest: Forest) -> list[ShownServer]:
    """Return the abilities of the servers that grew a forest, if they were probed: one query."""
    growers = [one for one in (forest.grown_by or [])[:MAX_SERVERS] if isinstance(one, Mapping)]
    ids = [_server_id(forest, one) for one in growers]
    found = {one.id: one for one in ModelServer.objects.filter(pk__in=ids)} if ids else {}
    servers = [found[one] for one in dict.fromkeys(ids) if one in found]
    return [
        ShownServer(server.server, server.model, abilities.told(), server.probed_at)
        for server in servers
        if (abilities := Abilities.from_dict(server.abilities))
    ]


def read_thoughts(forest: Forest) -> ThoughtShare | None:
    """Return how much of the first complete trees is thought, judged by their first steps.

    Returns None, after two queries, if none of the first steps is a thought. Otherwise it makes one
    more query for each of these trees.
    """
    # By ids, because for other queries some servers read all matches before they limit them.
    ids = tree_ids(forest, range(min(TREES_PER_READ, forest.num_trees))) if forest.num_nodes else []
    complete = {"_id": {"$in": ids}, "status": str(TreeStatus.COMPLETE)}
    found = collection(Tree).find(complete, {"oldest_generation": 1}) if ids else ()
    trees = sorted(found, key=lambda tree: str(tree["_id"]))[:TREES_LOOKED_AT]
    firsts = [
        node_id(tree["_id"], (position,))
        for tree in trees
        for position in range(FIRST_STEPS_LOOKED_AT)
    ]
    if not collection(Node).find_one({"_id": {"$in": firsts}, "is_thought": True}, {"_id": 1}):
        return None
    fields = dict.fromkeys(("is_thought", "tokens", "count", "generation"), 1)
    steps = [
        node
        for tree in trees
        for node in collection(Node).find({"tree_id": tree["_id"]}, fields).limit(STEPS_LOOKED_AT)
        if is_current(node, tree)
    ]
    thoughts = [node for node in steps if node.get("is_thought")]
    if not thoughts:
        return None
    return ThoughtShare(
        trees=len(trees),
        steps=len(steps),
        thought_steps=len(thoughts),
        tokens=sum(node["tokens"] * node["count"] for node in steps),
        thought_tokens=sum(node["tokens"] * node["count"] for node in thoughts),
    )


def _server_id(forest: Forest, grower: Mapping[str, Any]) -> str:
    settings = forest.worker_config
    return model_server_id(
        str(grower.get("server", "")),
        str(grower.get("model", "")),
        str(settings.get("api", "")),
        settings.get("extra_body") or {},
    )


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
