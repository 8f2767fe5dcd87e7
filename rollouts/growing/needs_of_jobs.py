"""What a worker needs to grow a forest, and what happens to jobs that it cannot do.

A worker without the config or model server that a forest needs leaves the forest to other workers:
it says so on the forest's page, and its jobs go back into the queue.
"""

import socket
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from common.storage_problems import NO_MODEL_SERVER
from common.text import one_line
from experiment_configs.interfaces import ConfigError
from forests.models import Forest
from forests.storage.trees import collection
from rollouts.client.failures import NotForThisWorkerError

MAX_CHARACTERS = 600
"""Longest worker message: errors of a config that cannot be imported may be long."""


class OtherConfigError(NotForThisWorkerError, ConfigError):
    """The forest's config is missing on this machine, or has changed since seeding."""


class NoServerError(NotForThisWorkerError):
    """The settings of this process do not name a model server."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job requires of its worker."""

    config_sha256: str
    model: str | None
    """None: the forest does not name one, so any model will do."""
    servers: tuple[str, ...]
    """Addresses. Empty: use those of the worker's settings."""

    @classmethod
    def of(cls, forest: Forest) -> "Needs":
        """Return what a forest needs with its current settings."""
        model, servers = (forest.worker_config.get(name) for name in ("model", "base_urls"))
        return cls(forest.config_sha256, model, tuple(servers or ()))

    def as_dict(self) -> dict[str, Any]:
        """Return the needs as JSON types, for the arguments of a job."""
        return asdict(self) | {"servers": list(self.servers)}


def require_server(forest: Forest) -> None:
    """Raise `NoServerError` if neither the forest nor the settings name a model server."""
    require_server_among(Needs.of(forest).servers)


def require_server_among(servers: Collection[str]) -> None:
    """Raise `NoServerError` if `servers` is empty and the settings do not name a model server."""
    if not servers and not settings.OPENAI_BASE_URL:
        raise NoServerError(NO_MODEL_SERVER)


def show_worker_message(forest_name: str, error: NotForThisWorkerError) -> str:
    """Show on a forest's page why a worker of this machine skips it; return the message."""
    message = one_line(
        f"a worker on {socket.gethostname()} cannot grow this forest, and leaves its jobs to "
        f"others: {error}",
        MAX_CHARACTERS,
    )
    shown = {"worker_message": message, "worker_message_at": datetime.now(UTC)}
    collection(Forest).update_one({"_id": forest_name}, {"$set": shown})
    return message


def clear_worker_message(forest_name: str) -> None:
    """Remove the message, because a worker grows the forest now."""
    collection(Forest).update_one(
        {"_id": forest_name, "worker_message": {"$nin": ["", None]}},
        {"$set": {"worker_message": "", "worker_message_at": None}},
    )
