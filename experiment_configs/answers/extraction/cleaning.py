"""Remove everything around an answer: emphasis, delimiters, tags."""

import re
from typing import NamedTuple

from experiment_configs.answers.comparison.spelling import closing_brace

_STEP_TAG = re.compile(r"\s*(?:ки|<extra_0>|<\|[\w ]{1,40}\|>|</?s>|<(?:eos|pad|end_of_turn)>)\s*$")
_LATEX_SPACE = re.compile(r"(?:\\[,;:! ]|\\q?quad(?![A-Za-z])|\\(?=\s|$)|~|\s)+$")
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_VALUE = re.compile(
    r"(?:[-+±]|\\pm)?\s*(?:[$€£¥₹]\s*)?(?:"
    r"[-+]?\.?\d|[√∞π∅½-¾⅐-⅞]"
    r"|\\(?!text|mathrm|mbox|textbf)[A-Za-z{]"  # a formula
    r"|[(\[{|](?=[^A-Za-z]|[A-Za-z][\s,)\]}])"  # a tuple, or a letter in brackets
    # A single letter other than an article; a name followed by `=`, `^`, `_` or `(`.
    r"|[A-Za-z](?![A-Za-z'’])(?!\s+(?!(?:because|since|as|so|or|and)\b)[a-z]{2})"
    r"|[A-Za-z]{1,6}\s*[=≈^_(]"
    r"|(?:yes|no|true|false)\b"
    r"|\\(?:text|mathrm|mbox|textbf)\s*\{\s*[(-]?\s*(?:\d|[A-Z]\b|yes|no|true|false)"
    r")",
    re.IGNORECASE,
)


class Found(NamedTuple):
    """An answer, and where in the text it starts."""

    start: int
    answer: str


def is_value(text: str) -> bool:
    """Return whether a text starts like a value (number, formula, verdict) and not like prose."""
    return bool(_VALUE.match(text))


def clean(text: str) -> str:
    """Return an answer without emphasis, math delimiters, step tags and a final full stop."""
    before = None
    while text != before:
        before = text
        text = _STEP_TAG.sub("", text.strip()).strip("*_`").strip()
        text = _LATEX_SPACE.sub("", text).rstrip(".,;:。，；")
        for opening, closing in _DELIMITERS:
            inner = text[len(opening) : -len(closing)]
            is_whole = text.startswith(opening) and text.endswith(closing)
            if is_whole and inner and opening not in inner and closing not in inner:
                text = inner
                break
        if text.startswith("{") and closing_brace(text, 1) == len(text) - 1:
            text = text[1:-1]
    return "" if text in ("$", "$$") else text
