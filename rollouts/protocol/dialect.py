"""What one server takes of a request, and the body that fits it.

Learnt from its refusals: a field that it rejects by name is left out or renamed from then on, where
that does not change what is sampled, and `notes` says so.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from forests.core.abilities import SAMPLES_NOTED, Learnt
from rollouts.protocol.refusals import Refusal, RefusalKind
from rollouts.protocol.room import TOKEN_FIELDS

_LEFT_OUT = {
    "seed": "samples cannot be repeated",
    "logprobs": "steps have no log-probabilities",
    "top_logprobs": "alternatives to the tokens are not listed",
    "stop": "samples are cut here, and cost the tokens behind the cut too",
}
"""Fields that may be left out whatever their value, and what that means."""
_USUAL = {"temperature": 1, "top_p": 1, "n": 1, "stream": False, "echo": False, "best_of": 1}
"""Fields that may be left out where they have the value that servers take anyway."""
_BELONGS_TO = {"logprobs": ("top_logprobs",)}
_OTHER_NAME = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
_SHRINKING = 4
_MAX_SHRINKINGS = 4


@dataclass(slots=True)
class Fit:
    """What one request has been cut to, as its prompt leaves little of the context."""

    most_tokens: int | None = None
    shrinkings: int = 0


@dataclass(slots=True)
class Dialect:
    """What one server takes; `adapt` and `learn` belong together."""

    needed: Collection[str] = ()
    """Fields that cannot be left out, whatever they are."""
    renamed: dict[str, str] = field(default_factory=dict)
    omitted: set[str] = field(default_factory=set)
    most_samples: int | None = None
    """The most samples of one request."""
    most_tokens: int | None = None
    """The most tokens of one sample."""
    notes: list[str] = field(default_factory=list)
    """What was learnt, a line each."""

    @property
    def learnt(self) -> Learnt:
        """What may be kept for those who ask this server later."""
        return Learnt(
            dict(self.renamed), sorted(self.omitted), self.most_samples, self.most_tokens,
            list(self.notes),
        )  # fmt: skip

    def recall(self, learnt: Learnt) -> None:
        """Take over what was learnt before, in place of all that is known here.

        A field that is needed is tried again: who keeps it may not have needed it.
        """
        self.renamed = dict(learnt.renamed)
        self.omitted = set(learnt.omitted) - set(self.needed)
        self.most_samples, self.most_tokens = learnt.most_samples, learnt.most_tokens
        self.notes = list(learnt.notes)

    def leave_out_logprobs(self) -> None:
        """Ask for no log-probabilities from now on: the server gives none."""
        if "logprobs" not in self.omitted:
            self.omitted |= {"logprobs", *_BELONGS_TO["logprobs"]}
            self.notes.append(f"the server gives no log-probabilities: {_LEFT_OUT['logprobs']}")

    def draw_singly(self) -> None:
        """Ask for one sample at a time: the server gives one whatever it is asked for."""
        self._lower_samples(1)

    def adapt(self, body: Mapping[str, Any], fit: Fit | None = None) -> dict[str, Any]:
        """Return a body as this server takes it; a field that is None is left out."""
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
        """Learn from a refusal of a body; return why the request cannot be changed, or None.

        Requests that were on their way when another one taught the same change nothing.
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
    """Ask for what is left, and for much less each time that the server says that it is too much.

    Some servers say only that a prompt has so many tokens at least.
    """
    if fit.shrinkings == _MAX_SHRINKINGS or left // _SHRINKING**fit.shrinkings < 1:
        return "nothing is left of the context"
    fit.most_tokens = left // _SHRINKING**fit.shrinkings
    fit.shrinkings += 1
    return None


def _remedy(fields: Collection[str]) -> str:
    """Return what a person can do about a field that cannot be left out unasked."""
    name = next(iter(fields))
    if name in ("continue_final_message", "add_generation_prompt"):
        return (
            "the server may not continue messages: use strategy='sampled' or api='completions', "
            "or, where it continues an assistant's message unasked, set "
            "extra_body={'continue_final_message': None, 'add_generation_prompt': None}"
        )
    if name in _USUAL:
        return (
            f"leaving out {name} would change what is sampled: set {name} to {_USUAL[name]}, or "
            f"extra_body={{'{name}': None}} to take the server's own"
        )
    if name in TOKEN_FIELDS:
        return (
            "samples need a limit: set max_tokens_field in the config to the name that the server "
            "takes"
        )
    return f"set extra_body={{'{name}': None}} in the config to leave out {name}"
