"""Read settings from the environment, and refuse invalid values in one line.

Messages name the variable and the allowed values, but never an address: it may hold a password.
"""

from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from experiment_configs.server_addresses import SCHEMES, has_user, is_server_address

MONGODB = ("mongodb://", "mongodb+srv://")
REDIS = ("redis://", "rediss://", "unix://")
HTTP = tuple(f"{scheme}://" for scheme in SCHEMES)

_SWITCHES = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_MAX_DIGITS = 9


def refuse(problem: str) -> NoReturn:
    raise ImproperlyConfigured(f"{problem} (every setting is explained in .env.example)")


class Environment(environ.Env):
    """Readers of settings. An empty variable counts as unset.

    Each reader raises ImproperlyConfigured if the value is not allowed.
    """

    def switch(self, name: str, *, default: bool) -> bool:
        value = self._text(name)
        if value and value.lower() not in _SWITCHES:
            refuse(f"{name}={value} is neither on nor off: use one of {', '.join(_SWITCHES)}")
        return _SWITCHES.get(value.lower(), default)

    def number(self, name: str, *, default: int, least: int = 0) -> int:
        value = self._text(name)
        if value and not (value.isascii() and value.isdecimal() and len(value) <= _MAX_DIGITS):
            refuse(f"{name}={value} is not a whole number of at most {_MAX_DIGITS} digits")
        if int(value or default) < least:
            refuse(f"{name}={value} is too small: the least is {least}")
        return int(value or default)

    def words(self, name: str) -> list[str]:
        """Return the texts between commas."""
        return [one.strip() for one in self._text(name).split(",") if one.strip()]

    def choice(self, name: str, allowed: Sequence[str], *, default: str) -> str:
        value = self._text(name) or default
        if value not in allowed:
            refuse(f"{name}={value} is not known: use one of {', '.join(allowed)}")
        return value

    def log_level(self, name: str, *, default: str) -> str:
        level = (self._text(name) or default).upper()
        if level not in _LOG_LEVELS:
            refuse(f"{name}={level} is not a log level: use one of {', '.join(_LOG_LEVELS)}")
        return level

    def address(self, name: str, schemes: tuple[str, ...]) -> str:
        """Return the address; empty if unset."""
        return check_address(name, self._text(name), schemes)

    def addresses(self, name: str, schemes: tuple[str, ...]) -> list[str]:
        """Return the addresses between commas."""
        return [check_address(name, one, schemes) for one in self.words(name)]

    def _text(self, name: str) -> str:
        return str(self.str(name, default="")).strip()


def check_address(name: str, address: str, schemes: tuple[str, ...]) -> str:
    """Return the address that the setting `name` holds.

    Raises:
        ImproperlyConfigured: the address is not well-formed.
    """
    is_good = is_server_address if schemes is HTTP else _is_well_formed
    if address and not (address.startswith(schemes) and is_good(address)):
        refuse(f"{name} is not a well-formed address that starts with {' or '.join(schemes)}")
    if schemes is HTTP and has_user(address):
        prefix = name.removesuffix("S").removesuffix("_BASE_URL")
        key = f"{prefix}_API_KEY" if prefix.isupper() else "`key` or `key_env`"
        refuse(f"{name} has a user before its host: model servers take a key, {key}")
    return address


def _is_well_formed(address: str) -> bool:
    """Return whether brackets and ports of all hosts are well-formed; MongoDB has several hosts."""
    try:
        hosts = urlsplit(address).netloc.rpartition("@")[2]
        for host in hosts.split(","):
            _ = urlsplit(f"//{host}").port
    except ValueError:
        return False
    return True
