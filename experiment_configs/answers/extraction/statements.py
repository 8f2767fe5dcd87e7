"""Answers that a solution states in words: "The answer is x", "Final answer: x"."""

import re

from experiment_configs.answers.comparison.equivalence import MAX_ANSWER_LENGTH
from experiment_configs.answers.extraction.cleaning import Found, clean, is_value

STATEMENTS_READ = 50
"""Most occurrences of "answer" that are examined, counted from the end of the text."""

_MARKS = r"[\s*_]{0,10}"
_STATEMENT = re.compile(
    # Answer: x. Or: final answer = x.
    rf"\b(?:final\s+)?answer\b{_MARKS}(?P<label>:|=){_MARKS}"
    # "the answer to this question is x", "the correct option is C"
    r"|\b(?:answers?|(?:correct|right|best)\s+(?:option|choice))\b"
    r"(?:\s{1,5}(?:to|for|of)\s+(?:the|this|that|our|part)\b[^.\n:=]{0,60}?)?"
    r"(?:,\s(?:therefore|then|thus|of\s+course|in\s+fact),)?"
    rf"{_MARKS}\b(?:is|are|was|(?:will|would|should|must)\s+be|becomes|equals?"
    r"|(?:comes|works)\s+(?:out\s+)?to|turns\s+out\s+to\s+be)\b"
    rf"(?:{_MARKS}(?P<colon>:))?{_MARKS}",
    re.IGNORECASE,
)
_LABEL_LINE = re.compile(
    r"^[ \t>#*_-]*(?:the\s+)?final\s+answer(?P<label>[ \t*_:]*)\n\s{0,10}(?=\S)",
    re.IGNORECASE | re.MULTILINE,
)
# "If the answer is 5, …" states nothing.
_SUPPOSED = re.compile(
    r"\b(?:if|whether|suppos(?:e|ing)|assum(?:e|ing)|unless|until|what|which|how|guess|why|where"
    r"|(?:check|verify|ensure|make\s+sure)(?:\s+that)?)\b"
    r"(?:\s+(?:that|the|our|my|this|your|final|correct|an?))*\s*[\"'*]*\s*$",
    re.IGNORECASE,
)
_CHARACTERS_BEFORE = 60

_FILLER = re.compile(
    r"(?:[\s*_:=,]|(?:therefore|thus|then|simply|just|now|indeed|hence|clearly|obviously|so|still"
    r"|also|definitely|exactly|precisely|actually|approximately|about|around|given\s+by"
    r"|equal\s+to|option|choice|letter|the\s+number|the\s+value|a\s+total\s+of)(?=[\s:,$\\*]))+",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*([^*\n]{1,300})\*\*")
_STRAY_BOLD = re.compile(r"\*\*(?=[\s.,;:!?)]|$)")
_FORMULA = re.compile(
    r"\$\$.{1,800}?\$\$|\$(?!\s)[^$\n]{1,500}?(?<!\s)\$(?!\d)|\\\(.{1,800}?\\\)|\\\[.{1,800}?\\\]"
    r"|\\begin\s*\{(\w+\*?)\}.{0,800}?\\end\s*\{\1\}|`[^`\n]{1,300}`",
    re.DOTALL,
)
_END = re.compile(
    r"\.(?=\s|$|[\"')*])|\?(?=\s|$)|!(?=\s(?!\s*[=+*/^-])|$)|\n|[。；！？]|;\s"
    r"|\s[–—-]+\s+(?=[A-Za-z]{2})"
)
_ABBREVIATION = re.compile(
    r"\b(?:st|mr|mrs|ms|dr|mt|jr|sr|prof|approx|sq|cu|vs|no|[ap]\.m|u\.s)$", re.IGNORECASE
)
_THE = r"(?:the|we|it|he|she|they|there|this|that)"
_EXPLANATION = re.compile(
    rf"(?:,\s*|\s+)(?:because|since|as\s+(?:{_THE}|required|desired|expected|needed|stated)"
    r"|so|which|where|when|after|given|due\s+to|thus|therefore|hence|i\.e\.?|that|if|but|not"
    rf"|making|meaning|and\s+(?:{_THE}|so|therefore|not)"
    r"|for\s+(?:the|this|that|all|each|every|any|a|his|her|their)|in\s+(?:total|all|the)|per\s+the)"
    r"\b.*$"
    r"|,\s+(?!(?:and|or)\b)[A-Za-z]{2,}(?![A-Za-z]*\s*[=(^_{\\]).*$"  # "72, as you see"
    r"|\s+\((?=[^()]*[A-Za-z]{3}[^()]*\s).*$",  # "72 (the sum of both)"
    re.IGNORECASE | re.DOTALL,
)
_PROSE = re.compile(
    r"(?:correct|right|wrong|incorrect|reasonable|clear|found|rounded|given|obtained|computed"
    r"|calculated|derived|verified|consistent|shown|written|based|as|in|to|by|that|this|these|those"
    r"|what|when|how|because|since|if|not|above|below|likely|probably|unique|simple|easy|obvious"
    r"|also|the\s+same|expected|it|we|i|you|our|unclear|unknown|confirmed|supposed|exact|close"
    r"|between|more|less|at|on|of|from|with|determined|stated|needed|required|available|valid"
    r"|invalid|acceptable|good|ready|done|here|there|and|or|but)\b"
    r"|.*\b(?:sum|product|difference|quotient|number|amount|total|value|result|one|following|answer"
    r"|solution|that|which|is|are|was|of\s+both|should|must|will|we|you)\b",
    re.IGNORECASE | re.DOTALL,
)
_MAX_WORDS = 6


def last_statement(text: str) -> Found | None:
    """Return the last statement of a value, or else the last one of a name of a few words."""
    named: Found | None = None
    matches = [*_STATEMENT.finditer(text), *_LABEL_LINE.finditer(text)]
    for match in sorted(matches, key=lambda match: -match.end())[:STATEMENTS_READ]:
        before = text[max(0, match.start() - _CHARACTERS_BEFORE) : match.start()]
        if _SUPPOSED.search(before.rpartition("\n")[2]):
            continue
        is_label = match["label"] is not None or bool(match.groupdict().get("colon"))
        rest = text[match.end() : match.end() + MAX_ANSWER_LENGTH]
        answer, is_a_value = _read(rest, may_begin_below=is_label)
        if answer and is_a_value:
            return Found(match.start(), answer)
        if answer and not named:
            named = Found(match.start(), answer)
    return named


def _read(rest: str, *, may_begin_below: bool) -> tuple[str, bool]:
    """Return the stated answer and whether it is a value; the answer is "" if the text is prose."""
    begins_with_formula = re.match(r"\s*(?:\$|\\\[|\\\()", rest)
    rest = rest.lstrip() if may_begin_below or begins_with_formula else rest.lstrip(" \t")
    rest = _STRAY_BOLD.sub("", _BOLD.sub(r"\1", rest))
    filler = _FILLER.match(rest)
    rest = rest[filler.end() :] if filler and "\n" not in filler[0] else rest
    hidden, formulas = _hide_formulas(rest)
    sentence = _first_sentence(hidden)
    whole = clean(_show(sentence, formulas))
    if is_value(whole) or (sentence and sentence[0] >= _HIDDEN):
        return clean(_show(_EXPLANATION.sub("", sentence), formulas)), True
    is_name = not _PROSE.match(whole) and len(whole.split()) <= _MAX_WORDS
    return (whole if is_name else ""), False


_HIDDEN = "\ue000"


def _hide_formulas(text: str) -> tuple[str, list[str]]:
    """Replace each formula by one character, so that nothing inside a formula ends a sentence."""
    formulas: list[str] = []

    def hide(match: re.Match[str]) -> str:
        formulas.append(match[0].strip("`"))
        return chr(ord(_HIDDEN) + len(formulas) - 1)

    return _FORMULA.sub(hide, text), formulas


def _show(text: str, formulas: list[str]) -> str:
    for number, formula in enumerate(formulas):
        text = text.replace(chr(ord(_HIDDEN) + number), formula)
    return text


def _first_sentence(text: str) -> str:
    for end in _END.finditer(text):
        if end[0] != "." or not _ABBREVIATION.search(text[: end.start()]):
            return text[: end.start()]
    return text
