"""The query parameters of a tree's page."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from forests.core.naming import MAX_DEPTH
from forests.core.tree import NodePath, format_path, parse_path
from forests.pages.page_requests import read_phrase
from forests.pages.tree.selection import LeafKind, phrase_pattern

NODE_PATH = rf"0(?:\.(?:0|[1-9][0-9]{{0,6}})){{0,{MAX_DEPTH}}}"
"""Pattern of a node's path in a URL."""


class QueryError(ValueError):
    """Invalid query in the URL. The message lists the valid values."""


@dataclass(frozen=True, slots=True)
class TreeQuery:
    """Which steps are shown, and how."""

    phrase: str = ""
    """Text to find in the steps."""
    kind: LeafKind | None = None
    is_raw: bool = False
    is_all_open: bool = False
    shows_thoughts: bool = False
    """Whether thoughts are shown like other steps; otherwise they are folded."""
    opened: NodePath | None = None
    """A step that the page always shows."""
    saved_steps: int = 0
    """For a page that is saved as a file: about the most steps that it contains, each with
    everything about it. 0 for pages of the site; no URL can change it."""

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> "TreeQuery":
        """Return the query that the parameters of a URL ask for.

        Raises:
            QueryError: the kind of leaf or the path of the step is invalid.
        """
        kind = parameters.get("ends", "")
        if kind and kind not in list(LeafKind):
            raise QueryError(f"no solution ends as {kind!r}: use {', '.join(LeafKind)}")
        opened = parameters.get("open")
        if opened is not None and not re.fullmatch(NODE_PATH, opened):
            raise QueryError(f"no step is named {opened[:40]!r}: paths look like 0.2.1")
        return cls(
            phrase=read_phrase(parameters.get("q", "")),
            kind=LeafKind(kind) if kind else None,
            is_raw="raw" in parameters,
            is_all_open="all" in parameters,
            shows_thoughts="thoughts" in parameters,
            opened=None if opened is None else parse_path(opened),
        )

    @property
    def is_selective(self) -> bool:
        return bool(self.phrase or self.kind)

    @property
    def is_saved(self) -> bool:
        """Whether the page is saved as a file, which cannot load anything later."""
        return self.saved_steps > 0

    @property
    def pattern(self) -> re.Pattern[str] | None:
        return phrase_pattern(self.phrase) if self.phrase else None

    @property
    def carried(self) -> str:
        """Query string, with its "?", for parts of the page that are loaded later."""
        kept = {"q": self.phrase, "ends": self.kind} | self._look
        return "?" + urlencode({name: value for name, value in kept.items() if value})

    def leads_to(self, path: NodePath) -> str:
        """Return the query string with which the tree's page shows this step."""
        return "?" + urlencode({"open": format_path(path)} | self._look)

    @property
    def look(self) -> str:
        """Query parameters for how steps look, each with a leading "&"."""
        return "".join(f"&{name}={value}" for name, value in self._look.items())

    @property
    def _look(self) -> dict[str, str]:
        wanted = {"raw": self.is_raw, "thoughts": self.shows_thoughts}
        return {name: "1" for name, is_wanted in wanted.items() if is_wanted}
