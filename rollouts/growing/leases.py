"""Leases decide which worker grows a tree. A holder renews its leases while it lives."""

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
    """Return a new holder name: `<host>/<process space>/<random>/<pid>-<start>`.

    Each name is unique, so two growers in one process are two holders.
    """
    started = started_at(os.getpid())
    process = f"{os.getpid()}" if started is None else f"{os.getpid()}-{started:.2f}"
    return f"{_process_space()}/{secrets.token_hex(4)}/{process}"


def claim(trees: Sequence[str], holder: str) -> dict[str, int]:
    """Claim the unfinished trees that nobody holds.

    Returns the generation of each tree that this holder has now (see `fencing`). The database
    checks each tree again as it writes it, so only one of two competing workers gets the tree.
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
    """Return the trees that are neither complete nor failed."""
    sought = {"_id": {"$in": list(trees)}, "status": {"$in": UNFINISHED}}
    return {document["_id"] for document in collection(Tree).find(sought, {"_id": 1})}


def renew(trees: Sequence[str], holder: str) -> set[str]:
    """Renew the leases; return the trees that this holder has lost."""
    until = server_time() + timedelta(seconds=LEASE_SECONDS)
    ours = {"_id": {"$in": list(trees)}, "lease_holder": holder}
    result = collection(Tree).update_many(ours, {"$set": {"lease_expires_at": until}})
    return set() if result.matched_count == len(trees) else set(trees) - held(trees, holder).keys()


def release(trees: Sequence[str], holder: str) -> None:
    """Release unfinished trees, so that the next worker need not wait for the lease to expire."""
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
    """Release the trees held by dead processes of this machine; return how many."""
    by_holder: dict[str, list[str]] = {}
    for document in trees:
        by_holder.setdefault(document["lease_holder"], []).append(document["_id"])
    dead = {holder: ids for holder, ids in by_holder.items() if is_dead(holder)}
    for holder, ids in dead.items():
        release(ids, holder)
        log.warning("trees of a dead worker given back", holder=holder, trees=len(ids))
    return sum(map(len, dead.values()))


def held(trees: Sequence[str], holder: str) -> dict[str, int]:
    """Return the trees that this holder has now, with the generation of each."""
    ours = {"_id": {"$in": list(trees)}, "lease_holder": holder}
    found = collection(Tree).find(ours, {"generation": 1})
    return {tree["_id"]: tree["generation"] for tree in found}


def is_dead(holder: str) -> bool:
    """Return whether a holder was a process of this machine and has ended."""
    rest, _, process = holder.rpartition("/")
    pid, _, started = process.partition("-")  # older versions wrote no start time
    if rest.rpartition("/")[0] != _process_space() or not pid.isdecimal():
        return False
    return is_alive(int(pid), float(started) if started else None) is False


def _process_space() -> str:
    """Return where a process id is valid: `<host>/<digest of boot and pid namespace>`.

    Neither part is enough alone. Copies of a machine may share a host name and the number of the
    namespace. Containers share the boot. Linux has an id of the boot, other systems only its time.
    """
    boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else f"{psutil.boot_time():.0f}"
    namespace = _PID_NAMESPACE.readlink().name if _PID_NAMESPACE.exists() else ""
    digest = hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]
    return f"{socket.gethostname()}/{digest}"
