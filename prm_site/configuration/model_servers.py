"""The model servers of the settings: addresses with keys, or a file that describes each server.

Messages name the setting, the file and the server's number, but no value: it may be a secret.
"""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prm_site.configuration.environment import HTTP, check_address, refuse
from rollouts.client.server import Server

SETTING = "OPENAI_SERVERS_FILE"

_TEXTS = ("url", "key", "key_env", "organization")
_FIELDS = (*_TEXTS, "headers")


def servers_with_keys(addresses: Sequence[str], keys: Sequence[str], key: str) -> list[Server]:
    """Return a server for each address, with its own key from `keys` or the common `key`.

    Raises:
        ImproperlyConfigured: `keys` and `key` are both given, or `keys` has more or fewer keys than
            there are addresses.
    """
    if not keys:
        return [Server(address, key) for address in addresses]
    if key:
        refuse("OPENAI_API_KEY and OPENAI_API_KEYS are both set: set one of them")
    if len(keys) != len(addresses):
        refuse(
            f"OPENAI_API_KEYS has {len(keys)} keys and OPENAI_BASE_URLS {len(addresses)} "
            "addresses: give a key for each, in the same order"
        )
    return [Server(address, own) for address, own in zip(addresses, keys, strict=True)]


def servers_of_file(path: str) -> list[Server]:
    """Return the servers that a JSON or TOML file describes.

    Raises:
        ImproperlyConfigured: the file cannot be read, or does not describe servers.
    """
    listed = _read(Path(path).expanduser())
    if isinstance(listed, Mapping):
        listed = listed.get("servers")
    if not isinstance(listed, list) or not listed:
        refuse(f"{SETTING}={path} has no list `servers` with at least one server")
    return [
        _server(one, f"{SETTING}={path}: server {number}")
        for number, one in enumerate(listed, start=1)
    ]


def _read(path: Path) -> Any:
    try:
        content = path.read_bytes().decode("utf-8-sig")
        return tomllib.loads(content) if path.suffix == ".toml" else json.loads(content)
    except OSError as error:
        refuse(f"{SETTING}={path} cannot be read: {error.strerror}")
    except (ValueError, RecursionError):  # without its message, which may quote the file
        kind = "TOML" if path.suffix == ".toml" else "JSON (the name of a TOML file ends in .toml)"
        refuse(f"{SETTING}={path} is not well-formed {kind}")


def _server(described: Any, where: str) -> Server:
    if not isinstance(described, Mapping):
        refuse(f"{where} must have the fields {', '.join(_FIELDS)}")
    if unknown := sorted(set(described) - set(_FIELDS)):
        refuse(f"{where} has {', '.join(unknown)}; the fields are {', '.join(_FIELDS)}")
    for name in _TEXTS:
        if not isinstance(described.get(name, ""), str):
            refuse(f"{where}: {name} must be a text")
    headers = described.get("headers", {})
    if not isinstance(headers, Mapping) or not all(map(_is_header, headers.items())):
        refuse(f"{where}: headers must be names with ASCII texts of one line")
    address = described.get("url", "").strip()
    if not address:
        refuse(f"{where} has no url")
    return Server(
        check_address(f"{where}: url", address, HTTP),
        _key(described, where),
        dict(headers),
        described.get("organization", ""),
    )


def _key(described: Mapping[str, Any], where: str) -> str:
    name = described.get("key_env", "")
    if name and described.get("key"):
        refuse(f"{where} has key and key_env: give one of them")
    if name and not os.environ.get(name):
        refuse(f"{where}: the environment has no {name}, which key_env names")
    return os.environ[name] if name else str(described.get("key", ""))


def _is_header(header: tuple[object, object]) -> bool:
    name, value = header
    is_name = isinstance(name, str) and name.replace("-", "").replace("_", "").isalnum()
    return is_name and isinstance(value, str) and value.isascii() and value.isprintable()
