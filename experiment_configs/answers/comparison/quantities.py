"""Numbers in all their spellings, exact, with the unit after them."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from experiment_configs.answers.comparison.units import CURRENCY_SIGNS, Unit, read_unit, same_unit

_GAP = r"[ ~]"
_GROUPS = (
    r"[0-9]{1,3}(?:,[0-9]{3})+",
    rf"[0-9]{{1,3}}(?:{_GAP}[0-9]{{3}})+",
    r"[0-9]{1,3}(?:'[0-9]{3})+",
    r"[0-9]{1,3}(?:_[0-9]{3})+",
    r"[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}",
)
_EUROPEAN = (
    r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+|[0-9]{1,3}(?:\.[0-9]{3}){2,}"
    rf"|[0-9]{{1,3}}(?:{_GAP}[0-9]{{3}})+,[0-9]{{1,2}}"
)
_PRICE = re.compile(
    rf"(?<![0-9.,])([0-9]+),([0-9]{{2}})(?={_GAP}*[{re.escape(CURRENCY_SIGNS)}]|(?:{_GAP}*(?:euros?|EUR))\b)"
    rf"|(?<=[{re.escape(CURRENCY_SIGNS)}])({_GAP}*[0-9]+),([0-9]{{2}})(?![0-9.,])"
)
"""A price with a decimal comma, as in `5,50 €`. Without the sign it may be a list."""
_MONEY_SCALE = re.compile(r"(?:([kK])|([mM]n?)|([bB]n?)|([tT]))(?![A-Za-z])")
_RATE = re.compile(r"[ ~]*(?:/|per\b)")
_ORDINAL = re.compile(r"\^?(?:\{|\\text\{){0,2}(?:st|nd|rd|th)\}{0,2}(?![A-Za-z])")
_REPEATING = r"[0-9]*\.[0-9]*\\(?:overline|bar|dot)\s*\{?[0-9]+\}?"
_PLAIN = rf"(?:(?:{'|'.join(_GROUPS)})(?![0-9])|[0-9]+)(?:\.[0-9]*)?|\.[0-9]+"
_DECIMAL = rf"(?:{_REPEATING}|(?:{_EUROPEAN})(?![0-9.,])|{_PLAIN})"
_FRACTION = r"\\frac\s*\{\s*(?P<top>-?[0-9.,]+)\s*\}\s*\{\s*(?P<bottom>[0-9.,]+)\s*\}"
_TEN = r"(?:\\cdot|[xX])\s*10\s*\^\s*\{?\s*(?P<power>[+-]?\s*[0-9]{1,3})(?:\s*\})?"
_SIGN = r"[+-]?"
_CURRENCY = (
    rf"[{re.escape(CURRENCY_SIGNS)}]"
    r"|(?:US\$|USD|EUR|GBP|INR|CNY|RMB|JPY|CHF|CAD|AUD|Rs\.?)(?=[ ~0-9.])"
)
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN})\s*(?P<currency>{_CURRENCY}|)\s*(?P<inner_sign>{_SIGN})\s*"
    rf"(?:(?P<whole>[0-9]+){_GAP}*(?={_GAP}[0-9]+/[0-9]|\\frac)\s*)?"
    rf"(?:{_FRACTION}|10\s*\^\s*\{{?\s*(?P<ten>[+-]?[0-9]{{1,3}})(?:\s*\}})?"
    rf"|(?P<number>{_DECIMAL})"
    rf"(?:\s*/\s*(?P<divisor>{_DECIMAL})|[eE](?P<exponent>[+-]?[0-9]{{1,3}})(?![0-9A-Za-z])"
    rf"|{_GAP}*{_TEN})?"
    r")"
)
_REPEATED = re.compile(r"([0-9]*)\.([0-9]*)\\(?:overline|bar|dot)\s*\{?([0-9]+)\}?")
_DIGITS_TO_ROUND_TO = 5
_DIGITS_OR_PLACES_TO_ROUND_TO = 6


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was written."""

    value: Fraction
    unit_in_last_place: Fraction | None = None
    """Size of the last decimal place; None if the number was written exactly."""
    digits: int = 0
    """Significant digits of a decimal."""

    @property
    def may_be_rounded(self) -> bool:
        """Whether it has enough digits to be a rounded form of another value."""
        if self.unit_in_last_place is None:
            return False
        places = len(str(self.unit_in_last_place.denominator)) - 1
        return self.digits >= _DIGITS_TO_ROUND_TO and (
            max(self.digits, places) >= _DIGITS_OR_PLACES_TO_ROUND_TO
        )

    def scaled(self, factor: Fraction) -> "Number":
        """Return the number in another unit."""
        step = self.unit_in_last_place
        return Number(self.value * factor, step * factor if step else None, self.digits)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit."""

    number: Number
    unit: Unit


@lru_cache(maxsize=4096)  # a comparison asks for it several times, and labels repeat
def read_quantity(text: str) -> Quantity | None:
    """Return the number and unit that a text consists of, or None if it is something else.

    Args:
        text: as `normalise` returns it.
    """
    text = _PRICE.sub(lambda m: f"{m[1] or m[3]}.{m[2] or m[4]}", text)
    match = _NUMBER.match(text)
    number = _number(match) if match else None
    if match is None or number is None:
        return None
    rest = text[match.end() :]
    if number.value.denominator == 1 and match["number"]:
        rest = _without_start(rest, _ORDINAL.match(rest))
    if match["currency"]:
        unit, factor = _unit_of_price(match["currency"].removeprefix("US$") or "$", rest)
    else:
        unit, factor = _unit_behind(rest), 1
    if unit is None:
        return None
    return Quantity(number.scaled(Fraction(unit.scale * factor)), unit)


def same_quantity(first: Quantity, second: Quantity) -> bool:
    """Return whether two quantities are the same.

    Units are only compared if both have one. 50 % equals 50 as well as 1/2.
    """
    if not same_unit(first.unit, second.unit) and first.unit != second.unit:
        return False
    if same_number(first.number, second.number):
        return True
    if first.unit.is_percent != second.unit.is_percent:
        percent, plain = (first, second) if first.unit.is_percent else (second, first)
        return same_number(percent.number.scaled(Fraction(1, 100)), plain.number)
    return False


def same_number(first: Number, second: Number) -> bool:
    """Return whether two numbers are equal, or one is the other rounded or truncated.

    A decimal may be a rounded value if it has at least six significant digits, or five and six
    decimal places: 0.333333 equals 1/3, and 0.33 does not.
    """
    if first.value == second.value:
        return True
    return _is_rounded(first, second) or _is_rounded(second, first)


def is_near(rounded: Number, value: Fraction) -> bool:
    """Return whether a decimal is the value, rounded or truncated at the decimal's last place."""
    step = rounded.unit_in_last_place
    difference = abs(value) - abs(rounded.value)
    has_same_sign = value * rounded.value >= 0
    return step is not None and has_same_sign and -step / 2 <= difference < step


def _is_rounded(rounded: Number, other: Number) -> bool:
    step = rounded.unit_in_last_place
    if not rounded.may_be_rounded or step is None or not is_near(rounded, other.value):
        return False
    if other.unit_in_last_place is not None:
        return other.unit_in_last_place < step
    return (other.value / step).denominator != 1  # otherwise the decimal would show all its digits


def _without_start(text: str, start: re.Match[str] | None) -> str:
    return text[start.end() :] if start else text


def _unit_behind(rest: str) -> Unit | None:
    return read_unit(rest, is_attached=bool(rest) and rest[0] not in " ~")


def _unit_of_price(currency: str, rest: str) -> tuple[Unit | None, int]:
    """Return the unit of a number behind the sign of a currency, and the factor of `$1.5M`."""
    if _RATE.match(rest):
        return read_unit(currency + rest), 1
    size = _MONEY_SCALE.match(rest)
    rest = _without_start(rest, size)
    money, unit = read_unit(currency), _unit_behind(rest)
    is_compound = any(sign in rest for sign in CURRENCY_SIGNS)
    if money is None or unit is None or is_compound or not same_unit(money, unit):
        return None, 1
    factor = 1000 ** (size.lastindex or 0) if size else 1
    return unit._replace(dimensions=unit.dimensions or money.dimensions), factor


def _number(match: re.Match[str]) -> Number | None:
    """Return the number; None for a division by zero or an unreadable fraction."""
    is_negative = (match["sign"] == "-") != (match["inner_sign"] == "-")
    sign = -1 if is_negative else 1
    whole = int(match["whole"] or 0)
    if match["ten"]:
        return Number(sign * Fraction(10) ** int(match["ten"]))
    if match["number"]:
        top = _decimal(match["number"])
        bottom = _decimal(match["divisor"] or "1").value
        exponent = int((match["exponent"] or match["power"] or "0").replace(" ", ""))
        if match["divisor"] or whole:
            return _mixed(sign, whole, top.value, bottom)
        factor = Fraction(10) ** exponent
        step = top.unit_in_last_place
        return Number(sign * top.value * factor, step * factor if step else None, top.digits)
    try:
        return _mixed(sign, whole, _decimal(match["top"]).value, _decimal(match["bottom"]).value)
    except ValueError:
        return None


def _mixed(sign: int, whole: int, top: Fraction, bottom: Fraction) -> Number | None:
    return Number(sign * (whole + top / bottom)) if bottom else None


def _decimal(text: str) -> Number:
    """Return the number that digits with a point and separators spell.

    Raises:
        ValueError: they spell no number.
    """
    if repeating := _REPEATED.fullmatch(text):
        return Number(_repeating(*repeating.groups()))
    if re.fullmatch(_EUROPEAN, text):
        text = text.replace(".", "").replace(",", ".")
    text = re.sub(r"[ ~,'_]", "", text)
    places = len(text.partition(".")[2])
    value = Fraction(text.rstrip(".") or "0")
    digits = len(text.lstrip("-").replace(".", "").lstrip("0"))
    return Number(value, Fraction(1, 10**places) if places else None, digits)


def _repeating(whole: str, fixed: str, period: str) -> Fraction:
    start = Fraction(int(whole + fixed or "0"), 10 ** len(fixed))
    return start + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fixed))
