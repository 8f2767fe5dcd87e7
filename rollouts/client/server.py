"""Addresses, keys and headers of model servers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit, urlunsplit

_SHORTEST_SECRET = 6
"""In characters; shorter values of headers and queries are words such as `true`."""


@dataclass(frozen=True, slots=True)
class Server:
    """The address of a server, and what every request to it carries.

    Its `repr` leaves out everything that may be secret.
    """

    base_url: str = field(repr=False)
    """May have a query, which every request carries."""
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    organization: str = ""

    @property
    def address(self) -> str:
        """The address without its query, safe to show."""
        return urlunsplit((*urlsplit(self.base_url)[:3], "", ""))

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.base_url).query, keep_blank_values=True))

    @property
    def secrets(self) -> list[str]:
        """Values that must not be shown, the longest first."""
        values = {*self.headers.values(), *self.query.values()}
        values |= {value.removeprefix("Bearer ") for value in values}
        values = {value for value in values if len(value) >= _SHORTEST_SECRET}
        return sorted((values | {self.api_key}) - {""}, key=len, reverse=True)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Servers with the same models, and what named them."""

    base_urls: Sequence[str]
    api_key: str
    source: str = "OPENAI_BASE_URL"
    """The setting or option that names the addresses, for messages."""
    source_of_key: str = "OPENAI_API_KEY"
    """The setting that holds the key, for messages."""
    described: Sequence[Server] = ()
    """Servers with their own keys and headers; they replace `base_urls` and `api_key`."""

    @property
    def servers(self) -> Sequence[Server]:
        return self.described or [Server(url, self.api_key) for url in self.base_urls]

    def without_key(self, text: str) -> str:
        """Return a text with all secrets replaced by `…`: servers may echo keys."""
        for server in self.servers:
            for secret in server.secrets:
                text = text.replace(secret, "…")
        return text
