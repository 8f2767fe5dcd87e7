"""Which request fields and limits one server accepts, and the body that fits them.

Refusals teach it: if a server rejects a field by name, the field is left out or renamed from then
on, provided that this does not change what is sampled. `notes` lists these changes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from forests.core.abilities import SAMPLES_NOTED, Learnt
from rollouts.protocol.context_room import TOKEN_FIELDS
from rollouts.protocol.refusals import Refusal, RefusalKind

_LEFT_OUT = {
    "seed": "samples cannot be repeated",
    "logprobs": "steps have no log-probabilities",
    "return_token_ids": "the server tells no token ids with its samples",
    "top_logprobs": "alternatives to the tokens are not listed",
    "stop": "samples are cut here, and cost the tokens behind the cut too",
}
"""Fields that may be left out whatever their value, with the consequence for users."""
_USUAL = {"temperature": 1, "top_p": 1, "n": 1, "stream": False, "echo": False, "best_of": 1}
"""Fields that may be left out if they have this value, which servers use by default."""
_BELONGS_TO = {"logprobs": ("top_logprobs",)}
_OTHER_NAME = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_SHRINKING = 4
_MAX_SHRINKINGS = 4


@dataclass(slots=True)
class Fit:
    """Limits of one request whose prompt leaves little room in the context."""

    most_tokens: int | None = None
    shrinkings: int = 0


@dataclass(slots=True)
class Dialect:
    """What one server accepts: `learn` updates it from refusals, `adapt` applies it."""

    needed: Collection[str] = ()
    """Fields that must never be left out."""
    renamed: dict[str, str] = field(default_factory=dict)
    omitted: set[str] = field(default_factory=set)
    most_samples: int | None = None
    """Maximum samples per request."""
    most_tokens: int | None = None
    """Maximum tokens per sample."""
    notes: list[str] = field(default_factory=list)
    """What was learnt, in one line each."""

    @property
    def learnt(self) -> Learnt:
        """What was learnt, to be stored for later clients of this server."""
        return Learnt(
            dict(self.renamed), sorted(self.omitted), self.most_samples, self.most_tokens,
            list(self.notes),
        )  # fmt: skip

    def recall(self, learnt: Learnt) -> None:
        """Replace everything learnt here by what was stored.

        A needed field is tried again: the client that stored this may not have needed it.
        """
        self.renamed = dict(learnt.renamed)
        self.omitted = set(learnt.omitted) - set(self.needed)
        self.most_samples, self.most_tokens = learnt.most_samples, learnt.most_tokens
        self.notes = list(learnt.notes)

    def leave_out_logprobs(self) -> None:
        """Stop asking for log-probabilities: the server gives none."""
        if "logprobs" not in self.omitted:
            self.omitted |= {"logprobs", *_BELONGS_TO["logprobs"]}
            self.notes.append(f"the server gives no log-probabilities: {_LEFT_OUT['logprobs']}")

    def draw_singly(self) -> None:
        """Ask for one sample per request: the server never gives more."""
        self._lower_samples(1)

    def adapt(self, body: Mapping[str, Any], fit: Fit | None = None) -> dict[str, Any]:
        """Return the body as this server accepts it; fields with the value None are left out."""
        adapted = {
            self.renamed.get(name, name): value
            for name, value in body.items()
            if value is not None and name not in self.omitted
        }
        if self.most_samples is not None and isinstance(adapted.get("n"), int):
            adapted["n"] = min(adapted["n"], self.most_samples)
        limits = [one for one in (self.most_tokens, fit and fit.most_tokens) if one is not None]
        for name in TOKEN_FIELDS:
            if limits and isinstance(adapted.get(name), int):
                adapted[name] = min(adapted[name], *limits)
        return adapted

    def learn(self, refusal: Refusal, sent: Mapping[str, Any], fit: Fit) -> str | None:
        """Learn from a refusal; return why the request cannot be adapted, or None if it can.

        Repeated refusals for the same reason, by requests already in flight, change nothing.
        """
        if refusal.outcome is RefusalKind.FEWER_SAMPLES and refusal.most_samples is not None:
            self._lower_samples(refusal.most_samples)
            return None
        if refusal.outcome is RefusalKind.FEWER_TOKENS and refusal.room is not None:
            if refusal.room.is_for_all:
                self._lower_tokens(refusal.room.tokens)
                return None
            return _shrink(refusal.room.tokens, fit)
        return self._leave_out(refusal.fields, sent)

    def _lower_samples(self, most: int) -> None:
        if self.most_samples is None or most < self.most_samples:
            self.most_samples = most
            self.notes.append(f"the server draws {most} {SAMPLES_NOTED} at most")

    def _lower_tokens(self, most: int) -> None:
        if self.most_tokens is None or most < self.most_tokens:
            self.most_tokens = most
            self.notes.append(f"the server draws {most} tokens for one sample at most")

    def _leave_out(self, fields: Collection[str], sent: Mapping[str, Any]) -> str | None:
        known = self.omitted | set(self.renamed)
        if any(name in known for name in fields):
            return None
        possible = [name for name in fields if self._may_change(name, sent)]
        if not possible:
            return _remedy(fields)
        for name in possible:
            self._change(name, sent)
        return None

    def _may_change(self, name: str, sent: Mapping[str, Any]) -> bool:
        if name in self.needed:
            return False
        if name in _OTHER_NAME:
            return name not in self.renamed.values()
        return name in _LEFT_OUT or (name in _USUAL and sent.get(name) == _USUAL[name])

    def _change(self, name: str, sent: Mapping[str, Any]) -> None:
        if name in _OTHER_NAME and _OTHER_NAME[name] not in sent:
            self.renamed[name] = _OTHER_NAME[name]
            self.notes.append(f"the server does not take {name}: {_OTHER_NAME[name]} is sent")
            return
        self.omitted |= {name, *_BELONGS_TO.get(name, ())}
        usual = (
            f"{_OTHER_NAME[name]} says the same" if name in _OTHER_NAME else "its value is usual"
        )
        meaning = _LEFT_OUT.get(name, usual)
        self.notes.append(f"the server does not take {name}: it is left out, and {meaning}")


def _shrink(left: int, fit: Fit) -> str | None:
    """Ask for the tokens left in the context, and for a quarter of that after each new refusal.

    Some servers report only a lower bound of the prompt's length.
    """
    if fit.shrinkings == _MAX_SHRINKINGS or left // _SHRINKING**fit.shrinkings < 1:
        return "nothing is left of the context"
    fit.most_tokens = left // _SHRINKING**fit.shrinkings
    fit.shrinkings += 1
    return None


def _remedy(fields: Collection[str]) -> str:
    """Return what users can do about a field that must not be left out automatically."""
    name = next(iter(fields))
    if name in ("continue_final_message", "add_generation_prompt"):
        return (
            "the server may not continue messages: use strategy='sampled' or api='completions', "
            "or, if it continues an assistant message by default, set "
            "extra_body={'continue_final_message': None, 'add_generation_prompt': None}"
        )
    if name in _USUAL:
        return (
            f"leaving out {name} would change what is sampled: set {name} to {_USUAL[name]}, or "
            f"extra_body={{'{name}': None}} to use the server's default"
        )
    if name in TOKEN_FIELDS:
        return (
            "samples need a token limit: set max_tokens_field in the config to the name that the "
            "server accepts"
        )
    return f"set extra_body={{'{name}': None}} in the config to leave out {name}"
