"""Model servers, as the settings describe them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit, urlunsplit

_SHORTEST_SECRET = 6
"""Shorter values of headers and queries are words such as `true`."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is, and what it is to be told with every request.

    What may be a secret is not part of its `repr`.
    """

    base_url: str = field(repr=False)
    """May have a query, which goes with every request."""
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    organization: str = ""

    @property
    def address(self) -> str:
        """Return the address without its query, as it may be shown."""
        return urlunsplit((*urlsplit(self.base_url)[:3], "", ""))

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.base_url).query, keep_blank_values=True))

    @property
    def secrets(self) -> list[str]:
        """Return what must not be shown, the longest first."""
        values = [*self.headers.values(), *self.query.values()]
        values = [value for value in values if len(value) >= _SHORTEST_SECRET]
        values += [value.removeprefix("Bearer ") for value in values]
        return sorted({*values, self.api_key} - {""}, key=len, reverse=True)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where servers with the same models are, and which settings say so."""

    base_urls: Sequence[str]
    api_key: str
    settings: str = "OPENAI"
    """Beginning of the settings' names, for messages: `<settings>_BASE_URL`."""
    described: Sequence[Server] = ()
    """Servers with keys and headers of their own, in place of the addresses with one key."""

    is_of_forest: bool = False
    """Whether the addresses are the forest's own, and not those of the settings."""

    @property
    def source(self) -> str:
        """What sets the addresses, for messages."""
        if self.is_of_forest:
            return "base_urls of the forest (configure_forest)"
        return f"{self.settings}_BASE_URL"

    @property
    def servers(self) -> Sequence[Server]:
        return self.described or [Server(url, self.api_key) for url in self.base_urls]

    def without_key(self, text: str) -> str:
        """Return a text in which a server may have repeated a key."""
        for server in self.servers:
            for secret in server.secrets:
                text = text.replace(secret, "…")
        return text
