"""What a worker needs to grow a forest, and what becomes of jobs that it cannot do.

A worker that has another config or another model server than a forest needs leaves the forest to
others: it says so on the forest's page, and its jobs go back into the queue.
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
"""Of a message: a config that cannot be imported may say a lot."""


class OtherConfigError(NotForThisWorkerError, ConfigError):
    """The config of the forest is not on this machine, or not as it was when it was seeded."""


class NoServerError(NotForThisWorkerError):
    """The settings of this process name no model server."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job asks of its worker."""

    config_sha256: str
    model: str | None
    """None: any, as the forest names none."""
    servers: tuple[str, ...]
    """Addresses. Empty: those of the worker's settings."""

    @classmethod
    def of(cls, forest: Forest) -> "Needs":
        """Return what a forest needs, as it is configured now."""
        model, servers = (forest.worker_config.get(name) for name in ("model", "base_urls"))
        return cls(forest.config_sha256, model, tuple(servers or ()))

    def as_dict(self) -> dict[str, Any]:
        """Return them as JSON types: what a job carries."""
        return asdict(self) | {"servers": list(self.servers)}


def require_server(forest: Forest) -> None:
    """Raise `NoServerError` where neither the forest nor the settings name a model server."""
    require_server_among(Needs.of(forest).servers)


def require_server_among(servers: Collection[str]) -> None:
    """Raise `NoServerError` where there are none of a forest's own, and the settings name none."""
    if not servers and not settings.OPENAI_BASE_URL:
        raise NoServerError(NO_MODEL_SERVER)


def show_worker_message(forest_name: str, error: NotForThisWorkerError) -> str:
    """Say on a forest's page why a worker of this machine leaves it to others; return the line."""
    message = one_line(
        f"a worker on {socket.gethostname()} cannot grow this forest, and leaves its jobs to "
        f"others: {error}",
        MAX_CHARACTERS,
    )
    shown = {"worker_message": message, "worker_message_at": datetime.now(UTC)}
    collection(Forest).update_one({"_id": forest_name}, {"$set": shown})
    return message


def clear_worker_message(forest_name: str) -> None:
    """Take the message away: a worker that can grow the forest does so."""
    collection(Forest).update_one(
        {"_id": forest_name, "worker_message": {"$nin": ["", None]}},
        {"$set": {"worker_message": "", "worker_message_at": None}},
    )
