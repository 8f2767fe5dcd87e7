"""Compare answers that are no formulas: texts, numbers with units, yes and no, choice letters."""

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

MAX_ANSWER_LENGTH = 1_000
"""Characters; a longer text is no answer and is compared letter by letter only."""

_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<!\\)\\(?:[()\[\]!]|(?:left|right|displaystyle)(?![a-z]))", ""),
        (r"(?<!\\)\\[,;: ]|~|\u00a0|\u202f", " "),
        (r"\\[dt]frac", r"\\frac"),
        (r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}", r" \1 "),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree", "°"),
        (r"(?<!\\)\\([%$#&])", r"\1"),
        (r"\{,\}", ","),
        ("[\u2212\u2013]", "-"),
        ("\u2044", "/"),
        (r"\s+", " "),
    )
)
_MATH_DOLLAR = re.compile(r"(?<!\\)\$")
_SPACE_OUTSIDE_NUMBERS = re.compile(r"(?<![0-9]) | (?![0-9])")

_WORDS = frozenset({"true", "false", "yes", "no"})
_LEADING_WORD = re.compile(r"([a-z]+)(?:\s*[,.;:!].*)?")
_LABEL_CHOICE = re.compile(r"\(([A-Za-z])\)|([A-J])")
_ANSWER_CHOICE = re.compile(r"\(?([A-Za-z])\)?|\(([A-Za-z])\)\s.*|([A-Za-z])[.):]\s.*")

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
_QUANTITY = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<currency>[$€£¥]?)\s*(?P<inner_sign>-?)"
    rf"(?:(?P<whole>[0-9]+)\s+(?=[0-9]+/|\\frac)|(?P<attached>[0-9]+)(?=\\frac))?"
    r"(?:"
    r"\\frac\s*\{\s*(?P<top>-?[0-9]+)\s*\}\s*\{\s*(?P<bottom>[0-9]+)\s*\}"
    r"|\\frac\s*(?P<top_digit>[0-9])\s*(?P<bottom_digit>[0-9])"
    rf"|(?P<number>{_DECIMAL})(?:\s*/\s*(?P<divisor>{_DECIMAL})|[eE](?P<exponent>[+-]?[0-9]{{1,2}}))?"
    r")"
    r"(?P<gap>\s*)(?P<unit>[^0-9\s][^0-9]*[23]?|)"
)
_SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "trillion": 1_000_000_000_000,
}
_CURRENCIES = {"$": "dollar", "€": "euro", "£": "pound", "¥": "yen", "usd": "dollar"}
_DEGREES = frozenset({"°", "degree", "degrees", "°c", "° c", "°f", "° f"})
_PERCENTS = frozenset({"%", "percent", "per cent"})
_SHORT_UNITS = frozenset(
    {
        "am", "cc", "cl", "cm", "dl", "ft", "g", "gb", "h", "hr", "in", "kb", "kg", "kj", "km",
        "kw", "kwh", "l", "lb", "m", "mb", "mg", "min", "ml", "mm", "mph", "ms", "oz", "pm", "s",
        "tb", "yd",
    }
)  # fmt: skip
_UNIT = re.compile(r"[a-z][a-z. -]*(?:/ ?[a-z]+| per [a-z]+)?(?:\^?\{?[23]\}?|[²³])?")
_MAX_UNIT_WORDS = 4
_SHORTEST_WORD = 3
_NOT_UNITS = frozenset(
    {
        "and", "cos", "ln", "log", "minus", "mod", "not", "or", "pi", "plus", "sin", "sqrt", "tan",
        "times", "to",
    }
)  # fmt: skip


class _Quantity(NamedTuple):
    number: Fraction
    unit: str
    """Singular and in lower case; "" for none."""


def compare_plainly(answer: str, label: str) -> bool | None:
    """Return whether two answers are the same, or None where only a formula can tell."""
    answer, label = normalise(answer), normalise(label)
    if not answer or not label:
        return False
    if _same_text(answer, label):
        return True
    if label.casefold() in _WORDS:
        leading = _LEADING_WORD.fullmatch(answer.casefold())
        return leading is not None and leading[1] == label.casefold()
    chosen, right = _group(_ANSWER_CHOICE, answer), _group(_LABEL_CHOICE, label)
    if chosen and right:
        return chosen.upper() == right.upper()
    if len(answer) == len(label) == 1:
        return False  # two letters or digits: math-verify would take x for X
    given, wanted = _quantity(answer), _quantity(label)
    return _same_quantity(given, wanted) if given and wanted else None


def normalise(text: str) -> str:
    """Return a text with one spelling of LaTeX spacing, text commands, signs and delimiters."""
    if len(_MATH_DOLLAR.findall(text)) % 2 == 0:
        text = _MATH_DOLLAR.sub("", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text.strip().strip("*`\"'").rstrip(".,;:").strip()


@lru_cache(maxsize=4096)  # the samples of a tree repeat few answers
def canonical(answer: str) -> str:
    """Return one spelling of answers that are the same number, choice or text, to count votes."""
    if len(answer) > MAX_ANSWER_LENGTH:
        return answer
    text = normalise(answer)
    quantity = _quantity(text)
    if quantity is not None:
        return str(quantity.number)
    return (_group(_ANSWER_CHOICE, text) or _SPACE_OUTSIDE_NUMBERS.sub("", text)).casefold()


def _same_text(answer: str, label: str) -> bool:
    answer, label = (_SPACE_OUTSIDE_NUMBERS.sub("", text) for text in (answer, label))
    # A single letter is a variable, where x and X differ; words do not.
    return answer == label or (
        len(label) > 1
        and label.replace("-", "").isalpha()
        and answer.casefold() == label.casefold()
    )


def _group(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.fullmatch(text)
    return next(filter(None, match.groups()), None) if match else None


def _same_quantity(given: _Quantity, wanted: _Quantity) -> bool:
    """Compare numbers; a unit counts only where both have one, and 50 % is 50 as well as 1/2."""
    if given.unit and wanted.unit and given.unit != wanted.unit:
        return False
    if given.number == wanted.number:
        return True
    if (given.unit == "%") != (wanted.unit == "%"):
        percent, plain = (given, wanted) if given.unit == "%" else (wanted, given)
        return percent.number / 100 == plain.number
    return False


def _quantity(text: str) -> _Quantity | None:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number = _number(match)
    measure = _measure(match["unit"].casefold().strip(), is_attached=not match["gap"])
    if number is None or measure is None:
        return None
    scale, unit = measure
    return _Quantity(number * scale, _CURRENCIES.get(match["currency"], "") or unit)


def _number(match: re.Match[str]) -> Fraction | None:
    """Return the number of a quantity, or None for a division by zero."""
    whole = Fraction(match["whole"] or match["attached"] or 0)
    if match["number"]:
        top, bottom = _fraction(match["number"]), _fraction(match["divisor"] or "1")
        top *= Fraction(10) ** int(match["exponent"] or 0)
    else:
        top = Fraction(match["top"] or match["top_digit"])
        bottom = Fraction(match["bottom"] or match["bottom_digit"])
    if bottom == 0:
        return None
    is_negative = "-" in (match["sign"], match["inner_sign"])
    return (whole + top / bottom) * (-1 if is_negative else 1)


def _fraction(digits: str) -> Fraction:
    return Fraction(digits.replace(",", "").rstrip(".") or "0")


def _measure(text: str, *, is_attached: bool) -> tuple[int, str] | None:
    """Return the scale and the unit behind a number, or None where that is no unit."""
    if not text or text in _DEGREES:
        return 1, ""
    if text in _PERCENTS:
        return 1, "%"
    if text in _CURRENCIES:
        return 1, _CURRENCIES[text]
    words = re.findall(r"[a-z]+", text)
    if not _UNIT.fullmatch(text) or len(words) > _MAX_UNIT_WORDS or _NOT_UNITS & set(words):
        return None
    if words[0] in _SCALES:
        return _SCALES[words[0]], _singular(text.removeprefix(words[0]).strip())
    is_word = len(words[0]) >= _SHORTEST_WORD and not is_attached
    return (1, _singular(text)) if is_word or words[0] in _SHORT_UNITS else None


def _singular(unit: str) -> str:
    return unit.removesuffix("s") if len(unit) >= _SHORTEST_WORD else unit
