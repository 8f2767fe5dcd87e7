"""Which worker grows which tree: a lease on the tree, renewed while its holder lives."""

import hashlib
import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import psutil
import structlog

from forests.models import Tree, TreeStatus
from forests.storage.trees import Document, collection, server_time
from rollouts.growing.process_identity import is_alive, started_at

log = structlog.stdlib.get_logger(__name__)

LEASE_SECONDS = 30.0
RENEWAL_SECONDS = 10.0

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")

UNFINISHED = [str(TreeStatus.PENDING), str(TreeStatus.GROWING)]


def new_holder() -> str:
    """Return a name to hold leases under: `<host>/<process space>/<random>/<pid>-<start>`.

    The name alone says whose a tree is: two growers of one process are two holders.
    """
    started = started_at(os.getpid())
    process = f"{os.getpid()}" if started is None else f"{os.getpid()}-{started:.2f}"
    return f"{_process_space()}/{secrets.token_hex(4)}/{process}"


def claim(trees: Sequence[str], holder: str) -> dict[str, int]:
    """Take those trees that are unfinished and that nobody holds.

    Returns the generation of each tree that is ours now (see `fencing`). The server looks
    at each tree again as it writes it, so of two workers one gets it.
    """
    now = server_time()
    collection(Tree).update_many(
        {
            "_id": {"$in": list(trees)},
            "status": {"$in": UNFINISHED},
            "lease_expires_at": {"$not": {"$gt": now}},
        },
        {
            "$set": {
                "status": str(TreeStatus.GROWING),
                "lease_holder": holder,
                "lease_expires_at": now + timedelta(seconds=LEASE_SECONDS),
            },
            "$inc": {"generation": 1},
        },
    )
    return held(trees, holder)


def unfinished(trees: Sequence[str]) -> set[str]:
    """Return those trees that are neither complete nor failed."""
    sought = {"_id": {"$in": list(trees)}, "status": {"$in": UNFINISHED}}
    return {document["_id"] for document in collection(Tree).find(sought, {"_id": 1})}


def renew(trees: Sequence[str], holder: str) -> set[str]:
    """Prolong the leases; return the trees that are no longer held."""
    until = server_time() + timedelta(seconds=LEASE_SECONDS)
    ours = {"_id": {"$in": list(trees)}, "lease_holder": holder}
    result = collection(Tree).update_many(ours, {"$set": {"lease_expires_at": until}})
    return set() if result.matched_count == len(trees) else set(trees) - held(trees, holder).keys()


def release(trees: Sequence[str], holder: str) -> None:
    """Give unfinished trees back, so that the next worker need not wait for the lease to end."""
    collection(Tree).update_many(
        {"_id": {"$in": list(trees)}, "lease_holder": holder},
        {
            "$set": {
                "status": str(TreeStatus.PENDING),
                "lease_holder": "",
                "lease_expires_at": None,
            }
        },
    )


def release_dead(trees: Iterable[Document]) -> int:
    """Give those trees back that processes of this machine hold which are gone; return how many."""
    by_holder: dict[str, list[str]] = {}
    for document in trees:
        by_holder.setdefault(document["lease_holder"], []).append(document["_id"])
    dead = {holder: ids for holder, ids in by_holder.items() if is_dead(holder)}
    for holder, ids in dead.items():
        release(ids, holder)
        log.warning("trees of a dead worker given back", holder=holder, trees=len(ids))
    return sum(map(len, dead.values()))


def held(trees: Sequence[str], holder: str) -> dict[str, int]:
    """Return those trees that are ours now, and the generation of each."""
    ours = {"_id": {"$in": list(trees)}, "lease_holder": holder}
    found = collection(Tree).find(ours, {"generation": 1})
    return {tree["_id"]: tree["generation"] for tree in found}


def is_dead(holder: str) -> bool:
    """Return whether a holder is known to be gone: it was a process of this machine."""
    rest, _, process = holder.rpartition("/")
    pid, _, started = process.partition("-")  # an older version wrote no start
    if rest.rpartition("/")[0] != _process_space() or not pid.isdecimal():
        return False
    return is_alive(int(pid), float(started) if started else None) is False


def _process_space() -> str:
    """Return what a process id must be read with: `<host>/<digest of boot and pid namespace>`.

    Copies of a machine may share a host name and, as each begins with the same one, the number of
    the namespace; containers share the boot. Linux tells which boot it is, others when it was.
    """
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else f"{psutil.boot_time():.0f}"
    namespace = _PID_NAMESPACE.readlink().name if _PID_NAMESPACE.exists() else ""
    digest = hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]
    return f"{socket.gethostname()}/{digest}"
