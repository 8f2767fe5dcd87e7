"""Store the probed abilities of servers, so that not every job probes them again."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from pymongo.errors import DuplicateKeyError, PyMongoError

from forests.core.abilities import Abilities
from forests.core.naming import model_server_id
from forests.models import ModelServer
from forests.storage.trees import collection, server_time

log = structlog.stdlib.get_logger(__name__)

FRESH_FOR = timedelta(hours=24)
"""How long a result is used before the server is probed again."""
CLAIM_LASTS = timedelta(seconds=30)
"""How long others wait for the process that probes a server, which may have been killed."""
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ServerKey:
    """The combination of server, model, API and extra request fields that abilities belong to."""

    server: str
    """The address, without credentials."""
    model: str
    api: str
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return model_server_id(self.server, self.model, self.api, self.extra_body)


class Memory(Protocol):
    """Stores abilities; its methods may be called from any thread."""

    def recall(self, key: ServerKey) -> Abilities | None:
        """Return recent abilities; None if the server must be probed."""

    def claim(self, key: ServerKey) -> bool:
        """Return whether to probe the server now; False: another process is probing it."""

    def give_up(self, key: ServerKey) -> None:
        """Release the claim after a failed probe, so that others can probe."""

    def keep(self, key: ServerKey, abilities: Abilities) -> None:
        """Store the results of a probe."""

    def keep_learnt(self, key: ServerKey, abilities: Abilities) -> None:
        """Store what samples and refusals taught since the probe."""


class DatabaseMemory:
    """Stores abilities in the database.

    `recall`, `claim` and `keep` raise `pymongo.errors.PyMongoError` if it does not answer.
    """

    def recall(self, key: ServerKey) -> Abilities | None:
        since = datetime.now(UTC) - FRESH_FOR
        found = collection(ModelServer).find_one({"_id": key.id, "probed_at": {"$gt": since}})
        return Abilities.from_dict(found["abilities"]) if found else None

    def claim(self, key: ServerKey) -> bool:
        now = server_time()
        free = {"_id": key.id, "claimed_until": {"$not": {"$gt": now}}}
        new = {
            "server": key.server,
            "model": key.model,
            "api": key.api,
            "abilities": {},
            "probed_at": _NEVER,
        }
        changes = {"$set": {"claimed_until": now + CLAIM_LASTS}, "$setOnInsert": new}
        try:
            collection(ModelServer).update_one(free, changes, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    def give_up(self, key: ServerKey) -> None:
        with contextlib.suppress(PyMongoError):  # the claim expires anyway
            collection(ModelServer).update_one({"_id": key.id}, {"$set": {"claimed_until": None}})

    def keep(self, key: ServerKey, abilities: Abilities) -> None:
        collection(ModelServer).replace_one(
            {"_id": key.id},
            {
                "server": key.server,
                "model": key.model,
                "api": key.api,
                "abilities": abilities.as_dict(),
                "probed_at": datetime.now(UTC),
                "claimed_until": None,
            },
            upsert=True,
        )

    def keep_learnt(self, key: ServerKey, abilities: Abilities) -> None:
        known = {"$set": {"abilities": abilities.as_dict()}}
        with contextlib.suppress(PyMongoError):  # the next job learns it again
            collection(ModelServer).update_one({"_id": key.id}, known)


class AskingMemory(DatabaseMemory):
    """Always probes again, and stores the result if the database answers."""

    def recall(self, key: ServerKey) -> Abilities | None:  # noqa: ARG002  always probe again
        return None

    def claim(self, key: ServerKey) -> bool:  # noqa: ARG002  never wait for others
        return True

    def give_up(self, key: ServerKey) -> None:
        """Do nothing: this class claims nothing."""

    def keep(self, key: ServerKey, abilities: Abilities) -> None:
        try:
            super().keep(key, abilities)
        except PyMongoError as error:
            log.warning("cannot store what the server does", error=str(error))
