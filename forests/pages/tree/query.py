"""What a reader asks of a tree's page, as it stands in the address."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from forests.core.naming import MAX_DEPTH
from forests.core.tree import NodePath, format_path, parse_path
from forests.pages.tree.selection import LeafKind, phrase_pattern

MAX_PHRASE_LENGTH = 200
NODE_PATH = rf"0(?:\.(?:0|[1-9][0-9]{{0,6}})){{0,{MAX_DEPTH}}}"
"""The path of a node in an address."""


class QueryError(ValueError):
    """An address asks for what no page has; the message says what there is."""


@dataclass(frozen=True, slots=True)
class TreeQuery:
    """Which steps are shown, and how."""

    phrase: str = ""
    """Text to find in the steps."""
    kind: LeafKind | None = None
    is_raw: bool = False
    is_all_open: bool = False
    shows_thoughts: bool = False
    """Whether thoughts are shown as other steps are; else they are folded."""
    opened: NodePath | None = None
    """A step that is in view whatever else is."""

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> "TreeQuery":
        """Return what the parameters of an address ask for.

        Raises:
            QueryError: they ask for a kind of leaf or a step that cannot be.
        """
        kind = parameters.get("ends", "")
        if kind and kind not in list(LeafKind):
            raise QueryError(f"no solution ends as {kind!r}: they are {', '.join(LeafKind)}")
        opened = parameters.get("open")
        if opened is not None and not re.fullmatch(NODE_PATH, opened):
            raise QueryError(f"no step is named {opened[:40]!r}: they are numbers such as 0.2.1")
        return cls(
            phrase=" ".join(parameters.get("q", "")[:MAX_PHRASE_LENGTH].split()),
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
    def pattern(self) -> re.Pattern[str] | None:
        return phrase_pattern(self.phrase) if self.phrase else None

    @property
    def carried(self) -> str:
        """The part of the address that the parts of a page loaded later must know, with its "?"."""
        kept = {"q": self.phrase, "ends": self.kind} | self._look
        return "?" + urlencode({name: value for name, value in kept.items() if value})

    def leads_to(self, path: NodePath) -> str:
        """Return the address, within the tree's page, of a step that may not be on it."""
        return "?" + urlencode({"open": format_path(path)} | self._look)

    @property
    def look(self) -> str:
        """The part of an address that says how steps look, to be put behind another part."""
        return "".join(f"&{name}={value}" for name, value in self._look.items())

    @property
    def _look(self) -> dict[str, str]:
        wanted = {"raw": self.is_raw, "thoughts": self.shows_thoughts}
        return {name: "1" for name, is_wanted in wanted.items() if is_wanted}
