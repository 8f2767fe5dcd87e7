"""The abilities of a model server with one model, as stored and in words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

IN_TEXT = "<think>"
"""Value of `Abilities.thought` if thoughts come in the text, not in a field of their own."""
UNOPENED = "</think>"
"""Value for thoughts in the text that the chat template opens: only their end is visible."""
SAMPLES_NOTED = "samples in one request (n)"
"""Part of the note about the largest number of samples."""
CONTINUES_MESSAGES = "continues messages"
_NOT_KNOWN = "not known"


class Continuing(StrEnum):
    """How a server treated a message that it should continue."""

    CONTINUED = "continued"
    RESTARTED = "restarted"
    """It started the answer from the beginning."""
    UNCLEAR = "unclear"
    """Its answer shows neither: small models may answer anything."""


class EndTold(StrEnum):
    """How a server reports that a stop text, not the model, ended a sample."""

    BY_NAME = "by name"
    IN_TOKENS = "in its list of tokens"
    NOT = "not"


class TokenIds(StrEnum):
    """Which token ids a server returns."""

    NONE = "none"
    SAMPLES = "those of samples"
    ALL = "those of prompts and samples"


@dataclass(slots=True)
class Learnt:
    """What a server's refusals taught: see `rollouts.protocol.dialect`."""

    renamed: dict[str, str] = field(default_factory=dict)
    omitted: list[str] = field(default_factory=list)
    most_samples: int | None = None
    most_tokens: int | None = None
    notes: list[str] = field(default_factory=list)

    def without_samples(self) -> "Learnt":
        """Return a copy without the limit on samples."""
        notes = [note for note in self.notes if SAMPLES_NOTED not in note]
        return replace(self, most_samples=None, notes=notes)


@dataclass(slots=True)
class Abilities:
    """What a server does with one model. None: not known."""

    asked: list[str] = field(default_factory=list)
    """The topics it was probed for: values of `rollouts.probing.probes.Topic`."""
    continuing: Continuing | None = None
    continued_by: str = ""
    """How to ask it to continue a message: a `rollouts.probing.probes.Continuation`."""
    several_samples: bool | None = None
    """Whether one request may ask for several samples."""
    end_told: EndTold | None = None
    logprobs: bool | None = None
    token_ids: TokenIds | None = None
    """Probed only if a config keeps them."""
    thought: str | None = None
    """The field that thoughts come in, `IN_TEXT`, `UNOPENED`, or empty if none was seen."""
    answers_as: str = ""
    """The model's name in its answers."""
    learnt: Learnt = field(default_factory=Learnt)

    def as_dict(self) -> dict[str, Any]:
        """Return the abilities as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Any) -> "Abilities | None":
        """Return the abilities that `as_dict` wrote; None if another version wrote them."""
        known = {one.name for one in fields(cls)}
        if not isinstance(stored, Mapping) or set(stored) != known:
            return None
        try:
            return cls(**{
                **stored,
                "continuing": stored["continuing"] and Continuing(stored["continuing"]),
                "end_told": stored["end_told"] and EndTold(stored["end_told"]),
                "token_ids": stored["token_ids"] and TokenIds(stored["token_ids"]),
                "learnt": Learnt(**stored["learnt"]),
            })  # fmt: skip
        except (TypeError, ValueError):
            return None

    def told(self) -> list[tuple[str, str]]:
        """Return the known abilities in words, each with its name."""
        return [
            (CONTINUES_MESSAGES, self._told_continuing()),
            ("samples per request", self._told_samples()),
            ("says why it stopped", self._told_end()),
            ("log-probabilities", _yes_or_no(self.logprobs)),
            *([("token ids", str(self.token_ids))] if self.token_ids else []),
            ("thinks", self._told_thought()),
            ("fields left out", self._told_fields()),
        ]

    def _told_continuing(self) -> str:
        ways = {"prefill": "just a last message of the assistant"}
        way = ways.get(self.continued_by, self.continued_by)
        told = {
            Continuing.CONTINUED: f"by {way}",
            Continuing.RESTARTED: "no: it begins the answer from the start",
            Continuing.UNCLEAR: f"unclear: its answers show neither; asked by {way}",
        }
        return told[self.continuing] if self.continuing else "not asked"

    def _told_samples(self) -> str:
        if self.learnt.most_samples:
            return f"at most {self.learnt.most_samples}"
        return "several" if self.several_samples else _NOT_KNOWN

    def _told_end(self) -> str:
        told = {
            EndTold.BY_NAME: "yes, by name",
            EndTold.IN_TOKENS: "yes, in its list of tokens",
            EndTold.NOT: "no: one more request may find out",
        }
        return told[self.end_told] if self.end_told else _NOT_KNOWN

    def _told_thought(self) -> str:
        if self.thought is None:
            return _NOT_KNOWN
        places = {
            "": "not seen",
            IN_TEXT: "in the text",
            UNOPENED: "in the text, and the chat template opens it: only its end shows",
        }
        return places.get(self.thought, f"in {self.thought}")

    def _told_fields(self) -> str:
        renamed = [f"{old} (sent as {new})" for old, new in sorted(self.learnt.renamed.items())]
        return ", ".join([*sorted(self.learnt.omitted), *renamed]) or "none"


def _yes_or_no(value: bool | None) -> str:
    return _NOT_KNOWN if value is None else "yes" if value else "no"
