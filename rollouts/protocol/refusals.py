"""Classify the errors of OpenAI-compatible servers by what helps: wait, change, or give up.

Servers differ in status, form and wording; all variants are gathered here. Status and code decide
first, the wording last.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rollouts.protocol.context_room import TOKEN_FIELDS, Room, find_room


class RefusalKind(StrEnum):
    """What an error means for the caller."""

    TOO_LONG = "too long"
    """This prompt does not fit the model's context."""
    FEWER_TOKENS = "fewer tokens"
    """The prompt fits, but not together with the number of tokens asked for."""
    FEWER_SAMPLES = "fewer samples"
    """The server allows fewer samples per request."""
    FIELD = "field"
    """The server rejects fields of the request, and names them."""
    FLAGGED = "flagged"
    """A content filter refused this prompt."""
    SETTINGS = "settings"
    """The server will refuse every request with these settings."""
    BUSY = "busy"
    """The server is overloaded, or a rate limit is reached: waiting helps."""
    AWAY = "away"
    """A proxy cannot reach the server."""
    PASSING = "passing"
    """A retry may help."""
    REQUEST = "request"
    """The server refuses this request; other requests may work."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The meaning of an error, independent of the server's wording."""

    outcome: RefusalKind
    status: int
    words: str = ""
    """The server's message."""
    remedy: str = ""
    """What users can do; `{source}` is the option that sets the address, `{key}` the setting that
    holds the key."""
    most_samples: int | None = None
    """Maximum samples per request, if the request asked for more."""
    room: Room | None = None
    """How many tokens to ask for, if the request asked for more."""
    fields: tuple[str, ...] = ()
    """The fields of the request that the server rejects."""

    @property
    def is_internal(self) -> bool:
        return self.status == _INTERNAL


@dataclass(slots=True)
class _Error:
    """The relevant parts of an error, wherever servers put them."""

    asked: Mapping[str, Any]
    """The body of the request."""
    status: int
    codes: set[str] = field(default_factory=set)
    """In lower case."""
    params: set[str] = field(default_factory=set)
    """Fields of the request that the server points to."""
    words: str = ""

    def has(self, codes: re.Pattern[str]) -> bool:
        return any(codes.search(code) for code in self.codes)

    def means(self, outcome: RefusalKind, **details: Any) -> Refusal:
        return Refusal(outcome, self.status, self.words, **details)

    def needs(self, remedy: str) -> Refusal:
        return self.means(RefusalKind.SETTINGS, remedy=remedy)


_INTERNAL = 500
_FASTCHAT_UNKNOWN_MODEL = "40301"
_FASTCHAT_NO_MODEL = "Only  allowed now"  # FastChat puts its models between the two spaces
_FASTCHAT_PASSING = (429, 500)

_BUSY = frozenset({420, 429, 498, 503, 529})
_AWAY = frozenset({502, 504, *range(520, 528), 530})
_PASSING = frozenset({408, 409, 425})
_STATUSES = range(400, 600)

_CODE_KEYS = frozenset({"code", "type", "error_type", "status", "status_code", "reason", "__type"})
_WORD_KEYS = frozenset(
    {"message", "msg", "detail", "error", "raw", "title", "description", "status_msg", "errmsg"}
)
_DEEPEST = 6
_MAX_WORDS = 4000

_TOO_LONG_CODES = re.compile(
    r"context_?(length|window|size)|(prompt|input|request)_too_(long|large)|max_context|^40303$"
    r"|string_above_max_length|tokens_limit_reached"
)
_TOO_LONG = re.compile(
    r"""
      context[ _-]?(length|window|size|limit|overflow) | maximum\ context | model's\ context
    | contextwindow | exceeds?\ the\ context | context\ the\ overflows | longer\ than | too\ long
    | (prompt|input|request|payload|entity|message|body)s?\b.{0,40}?\btoo\ (large|big)
    | too\ large\ (a\ )?body | too\ many\ (input\ |prompt\ |total\ )?tokens
    | (input|prompt|token|sequence)s?\b[^.]{0,80}?\b(exceed|surpass|greater\ than|larger\ than)
    | \bexceed[^.]{0,60}\b(tokens|length)
    | reduce\ (the\ |your\ )?(length|size|prompt|input|messages?)
    | inputs`?\ tokens\ \+ | range\ of\ input\ length
    | max(imum)?[ _](model|sequence|seq|input|prompt)[ _]?(length|len)
    """,
    re.IGNORECASE | re.VERBOSE,
)

_CREDIT_CODES = re.compile(
    r"insufficient_?(quota|balance|credits?|funds)|billing|arrearage|exceeded_current_quota"
    r"|payment_required|credits?_(exhausted|required)|account_(deactivated|suspended)"
)
_CREDIT = re.compile(
    r"insufficient (account )?(balance|credits?|quota|funds)|credit balance is too low"
    r"|exceeded your current quota|out of credits?|not enough credits?|no (remaining )?credits?"
    r"|requires more credits|(payment|billing) (is )?required",
    re.IGNORECASE,
)
_FLAGGED_CODES = re.compile(
    r"content_?(filter|policy|moderation)|moderation|data_?inspection|responsibleai|flagged"
    r"|sensitive|^safety|invalid_prompt|prohibited_content|blocked_?(by|prompt|input)"
)
_FLAGGED = re.compile(
    r"content (management|filter|policy|exists risk)|moderation|flagged|usage polic|inappropriate"
    r"|safety (system|filter|reasons)|sensitive (content|information)|violat\w{0,8} .{0,40}polic"
    r"|(harmful|prohibited|unsafe) content|responsible ai",
    re.IGNORECASE,
)
_KEY_CODES = re.compile(
    r"api_?key|authentication|unauthenticated|unauthorized|permission|access_denied|invalid_token"
    r"|unsupported_country"
)
_MODEL_CODES = re.compile(
    r"model_?(not_?found|not_?available|decommissioned|not_?supported|deprecated)|invalid_model"
    r"|deployment_?not_?found"
)
_MODEL = re.compile(
    r"\bmodel\b.{0,120}?\b(does not exist|not found|not exist|decommissioned|no longer"
    r"|unknown|is not (a valid|available|loaded))|not a valid model|unknown model|invalid model",
    re.IGNORECASE | re.DOTALL,
)
_BUSY_CODES = re.compile(
    r"rate_?limit|overload|too_?many_?requests|resource_?exhausted|throttl|slow_?down|capacity"
    r"|queue_?full|server_?busy|engine_?busy"
)
_PASSING_BUSY = re.compile(r"resource_?exhausted|rate_?limit")  # a quota of a minute or a day
_OVERLOADED = re.compile(
    r"overloaded|at capacity|too many (concurrent )?requests|rate limit(ed| exceeded| reached)"
    r"|server is busy|try again later",
    re.IGNORECASE,
)
_TOO_LARGE_FOR_LIMIT = re.compile(r"request too large", re.IGNORECASE)

# Errors that every request will get and that only the wording shows, with their remedies.
_REMEDIES = (
    (
        re.compile(r"prefill .{0,40}incompatible with enable_thinking", re.IGNORECASE),
        "set extra_body={{'chat_template_kwargs': {{'enable_thinking': False}}}} in the config",
    ),
    (
        re.compile(r"enable_thinking must be set to false", re.IGNORECASE),
        "set extra_body={{'enable_thinking': False}} in the config",
    ),
    (
        re.compile(
            r"chat model and not supported|use (the )?(v1)?/?chat/completions"
            r"|does not support (the )?completions|completions.{0,20}(is )?not supported",
            re.IGNORECASE,
        ),
        "set api='chat' in the config, with strategy='sampled' if the server does not "
        "continue messages",
    ),
    (
        re.compile(r"(no|must provide a|default) chat template|not a chat model", re.IGNORECASE),
        "set api='completions' in the config, or give the server a chat template",
    ),
    (
        re.compile(
            r"(only supports?|support only|must be) stream|stream.{0,20}must be", re.IGNORECASE
        ),
        "use a model or server that answers without streaming",
    ),
)

_CHECK_KEY = "check {key}"
_CHECK_MODEL = "check {source} and `model`"

_FIELD_CODES = re.compile(
    r"un(supported|known|recognized|expected)_?(param|argument|field|value|keyword)"
    r"|extra_?forbidden|additional_?propert|(value|param(eter)?)_not_supported"
)
_REJECTS = re.compile(
    r"not (currently )?(be )?support|unsupported|unknown|unrecogni[sz]ed|unexpected"
    r"|not (be )?(permitted|allowed|recogni[sz]ed|available|accepted|valid)|not permitted"
    r"|no such|cannot (both )?be (used|set|specified|provided)|does not (support|accept|take|exist)"
    r"|only the default|may only be|cannot find field|deprecated|forbidden|incompatible"
    r"|disallowed|extra (inputs?|fields?)",
    re.IGNORECASE,
)
_NOT_FIELDS = frozenset({"model", "messages", "prompt", "input", "text_1", "text_2"})
_SHORT_FIELDS = 5
"""Names of up to this many letters are also ordinary words: they count only if marked as names."""

_ABOUT_SAMPLES = re.compile(
    r"""
      ['"`\[]n['"`\]] | (?<![\w.'-])n(?=\s*(?:[><=:]|must|should|value|is\b|cannot|does|greater))
    | only\ one\ (completion|choice|candidate) | multiple\ (completion|choice|candidate|sample)s
    | number\ of\ (candidates|choices|completions|samples) | candidate_?count
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NUMBERS = re.compile(r"(?<![\w.-])[0-9]{1,9}(?![\w-])")


def read_refusal(status: int, body: Any, asked: Mapping[str, Any]) -> Refusal:
    """Return the meaning of an error response.

    Args:
        status: the HTTP status. If it is 200, a successful response contains the error, and the
            error's own code is used as the status.
        body: the parsed body of the response.
        asked: the body of the request.
    """
    error = _Error(asked, status)
    _gather(body, error, 0)
    error.status = _status(error)
    for read in _READERS:
        if refusal := read(error):
            return refusal
    return error.means(RefusalKind.PASSING if error.status >= _INTERNAL else RefusalKind.REQUEST)


def error_in(answer: Any) -> Any | None:
    """Return the error that a successful response contains instead of results; None if none."""
    if not isinstance(answer, Mapping) or answer.get("choices") or answer.get("data"):
        return None
    if answer.get("error") or answer.get("object") == "error":
        return answer
    return answer if answer.get("detail") or answer.get("base_resp") else None


def _read_length_code(error: _Error) -> Refusal | None:
    # One request exceeds the whole limit per minute: waiting cannot help.
    is_beyond_limit = error.status == 429 and _TOO_LARGE_FOR_LIMIT.search(error.words)  # noqa: PLR2004
    if not (error.has(_TOO_LONG_CODES) or error.status == 413 or is_beyond_limit):  # noqa: PLR2004
        return None
    return _read_room(error) or error.means(RefusalKind.TOO_LONG)


def _read_filter_code(error: _Error) -> Refusal | None:
    return error.means(RefusalKind.FLAGGED) if error.has(_FLAGGED_CODES) else None


def _read_credit(error: _Error) -> Refusal | None:
    says_so = _CREDIT.search(error.words) and not error.has(_PASSING_BUSY)
    if error.status == 402 or error.has(_CREDIT_CODES) or says_so:  # noqa: PLR2004
        return error.needs("top up the account, or set another key in {key}")
    return None


def _read_wait(error: _Error) -> Refusal | None:
    is_about_us = error.status in (401, 403)
    if error.status in _BUSY or (error.has(_BUSY_CODES) and not is_about_us):
        return error.means(RefusalKind.BUSY)
    if error.status in _AWAY:
        return error.means(RefusalKind.AWAY)
    return error.means(RefusalKind.PASSING) if error.status in _PASSING else None


def _read_account_code(error: _Error) -> Refusal | None:
    if error.status == 401:  # noqa: PLR2004
        return error.needs(_CHECK_KEY)
    return error.needs(_CHECK_MODEL) if error.has(_MODEL_CODES) else None


def _read_samples(error: _Error) -> Refusal | None:
    """Return the limit of samples per request, if the server says that the request exceeds it."""
    number = error.asked.get("n")
    if not isinstance(number, int) or number <= 1:
        return None
    found = _ABOUT_SAMPLES.search(error.words)
    if "n" not in error.params and not found:
        return None
    named = [int(one) for one in _NUMBERS.findall(error.words[found.start() if found else 0 :])]
    most = max((one for one in named if 1 <= one < number), default=1)
    return error.means(RefusalKind.FEWER_SAMPLES, most_samples=most)


def _read_room(error: _Error) -> Refusal | None:
    room = find_room(error.words, error.asked, error.params)
    return error.means(RefusalKind.FEWER_TOKENS, room=room) if room else None


def _read_fields(error: _Error) -> Refusal | None:
    """Return the fields of a request that the server names as rejected."""
    says_so = _REJECTS.search(error.words) and not _TOO_LONG.search(error.words)
    if not error.has(_FIELD_CODES) and not says_so:
        return None
    names = [name for name in error.asked if name not in _NOT_FIELDS]
    pointed = [name for name in names if name in error.params]
    fields = pointed or [name for name in names if _is_named(name, error.words)]
    return error.means(RefusalKind.FIELD, fields=tuple(fields)) if fields else None


def _read_length_words(error: _Error) -> Refusal | None:
    points_elsewhere = error.params & (set(error.asked) - _NOT_FIELDS - set(TOKEN_FIELDS))
    if error.status in (403, 404) or points_elsewhere or not _TOO_LONG.search(error.words):
        return None
    return error.means(RefusalKind.TOO_LONG)


def _read_remedy(error: _Error) -> Refusal | None:
    found = (remedy for pattern, remedy in _REMEDIES if pattern.search(error.words))
    remedy = next(found, None)
    return error.needs(remedy) if remedy else None


def _read_filter_words(error: _Error) -> Refusal | None:
    return error.means(RefusalKind.FLAGGED) if _FLAGGED.search(error.words) else None


def _read_address(error: _Error) -> Refusal | None:
    says_so = error.status < _INTERNAL and _MODEL.search(error.words)
    return error.needs(_CHECK_MODEL) if error.status in (404, 405, 410) or says_so else None


def _read_key(error: _Error) -> Refusal | None:
    says_so = error.status < _INTERNAL and error.has(_KEY_CODES)
    return error.needs(_CHECK_KEY) if error.status == 403 or says_so else None  # noqa: PLR2004


def _read_overload(error: _Error) -> Refusal | None:
    return error.means(RefusalKind.BUSY) if _OVERLOADED.search(error.words) else None


_READERS = (
    # By status and code.
    _read_length_code, _read_filter_code, _read_credit, _read_wait, _read_account_code,
    # By what the error says about fields of the request.
    _read_samples, _read_room, _read_fields,
    # By wording only.
    _read_length_words, _read_remedy, _read_filter_words, _read_address, _read_key, _read_overload,
)  # fmt: skip


def _status(error: _Error) -> int:
    """Return the status that the server means.

    FastChat answers every error with 400; its own error code begins with the real status.
    """
    status = error.status
    if _FASTCHAT_UNKNOWN_MODEL in error.codes:
        return 503 if error.words.startswith(_FASTCHAT_NO_MODEL) else 404
    for code in sorted(int(one) for one in error.codes if re.fullmatch(r"[0-9]{3,6}", one)):
        if status < _STATUSES.start and code in _STATUSES:
            return code
        if code // 100 in _FASTCHAT_PASSING:
            return code // 100
    return status if status >= _STATUSES.start else _INTERNAL


def _gather(value: Any, error: _Error, depth: int) -> None:
    if isinstance(value, str):
        _add_words(error, value)
    elif isinstance(value, list) and depth < _DEEPEST:
        for one in value:
            _gather(one, error, depth + 1)
    elif isinstance(value, Mapping) and depth < _DEEPEST:
        for key, one in value.items():
            _gather_field(str(key).lower(), one, error, depth)


def _gather_field(key: str, value: Any, error: _Error, depth: int) -> None:
    if key == "loc" and isinstance(value, list):
        error.params |= {one for one in value if isinstance(one, str)}
    elif key == "param" and isinstance(value, str):
        error.params |= {value, *re.split(r"[.\[]", value)[:1]}
    elif key == "flagged_input":
        error.codes.add("flagged")
    elif isinstance(value, str | int) and not isinstance(value, bool):
        if key in _CODE_KEYS:
            error.codes |= _codes(value)
        elif key in _WORD_KEYS and isinstance(value, str):
            _add_words(error, value)
    elif isinstance(value, Mapping | list):
        _gather(value, error, depth + 1)


def _codes(value: str | int) -> set[str]:
    """Return a code in snake case, as the patterns spell it."""
    text = str(value)
    return {re.sub(r"(?<=[a-z])(?=[A-Z])|[ .-]+", "_", text).lower()}


def _add_words(error: _Error, words: str) -> None:
    error.words = (f"{error.words} {words}" if error.words else words)[:_MAX_WORDS]


def _is_named(name: str, words: str) -> bool:
    escaped = re.escape(name)
    if len(name) > _SHORT_FIELDS or "_" in name:
        return re.search(rf"(?<!\w){escaped}(?!\w)", words) is not None
    marked = (
        rf"""['"`\[]{escaped}['"`\]]|^{escaped}\b(?=\s*(:|is|does|must|cannot|not))"""
        rf"|(parameters?|arguments?|fields?|propert(y|ies)|keys?|supplied|inputs?|model)"
        rf"\W{{1,3}}{escaped}\b|(?<!\w){escaped} (is|are) (not|un)"
    )
    return re.search(marked, words) is not None
