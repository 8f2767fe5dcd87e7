r"""The child process of `formulas`: compares formulas, one JSON question per line.

latex2sympy2_extended reads the formulas. They are compared by their values at a few points, to 120
digits and relative to their size. So `\frac{1}{2^{98}}` and `\frac{1}{2^{99}}` differ, which a
fixed number of decimal places would not show. Nothing is simplified, because that may take hours.
"""

import contextlib
import json
import logging
import random
import re
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from latex2sympy2_extended import latex2sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig
from sympy import (
    Add,
    Derivative,
    Expr,
    Float,
    I,
    Integer,
    Integral,
    Limit,
    Product,
    Rational,
    Sum,
    Symbol,
    UnevaluatedExpr,
    nan,
    oo,
    zoo,
)
from sympy.core.function import AppliedUndef

MEMORY_BYTES = 2 << 30
DIGITS = 120
AGREEMENT = Rational(1, 10**90)
"""Largest relative difference of two equal values."""
POINTS = 12
ENOUGH_POINTS = 4

_READING = ConversionConfig(lowercase_symbols=False)
_PRIMED = re.compile(r"(?<![A-Za-z\\])([A-Za-z])('+)")
_WHOLE_NUMBERS = frozenset("nkmNKM")
_LAZY = (Sum, Product, Integral, Limit, Derivative, UnevaluatedExpr)


class UnreadableError(Exception):
    """A text is not a formula."""


def main() -> None:
    """Answer questions until the input ends. The kernel kills the process if it takes too long."""
    processor_seconds = float(sys.argv[1])
    logging.disable(logging.CRITICAL)
    with contextlib.suppress(ValueError, OSError):  # not every system has this limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    replies, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        if not line.strip():
            _write(replies, "ready")
            continue
        # SIGPROF's default action ends this process, even inside one long multiplication.
        signal.setitimer(signal.ITIMER_PROF, processor_seconds)
        reply = answer(*json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(replies, json.dumps(reply))


def answer(kind: str, first: str, second: str) -> bool | str | None:
    """Return the verdict on two formulas, the value of one, or None if there is no result.

    `value`: whether they have the same value. `equation`: whether `first = 0` and `second = 0` mean
    the same, so one is a multiple of the other. `inequality`: the same with a positive factor.
    `evaluate`: the real value of `first`, in digits, or False if it has none. If the answer
    (`first`) is unreadable, the verdict is False; if the label (`second`) is, there is no result.
    """
    try:
        if kind == "evaluate":
            return _evaluated(first)
        label = read(second)
        try:
            given = read(first)
        except UnreadableError:
            return False
        if kind == "value":
            return same_value(given, label)
        return same_up_to_factor(given, label, must_be_positive=kind == "inequality")
    except (MemoryError, RecursionError, UnreadableError):
        return None
    except Exception:  # noqa: BLE001  SymPy raises anything over formulas that it does not know
        return None


def _write(replies: TextIO, reply: str) -> None:
    replies.write(reply + "\n")
    replies.flush()


def read(text: str) -> Any:
    """Return a formula as a SymPy expression with exact numbers.

    Raises:
        UnreadableError: the text is not a formula.
    """
    if any(text.count(opening) != text.count(closing) for opening, closing in ("()", "{}")):
        raise UnreadableError(text)
    text = text.replace("~", " ").replace("°", r"^{\circ}").replace("%", r"\%")
    text = _PRIMED.sub(lambda m: rf"\text{{{m[1]}{'p' * len(m[2])}}}", text)
    try:
        found = latex2sympy(
            text, convert_degrees=True, normalization_config=None, conversion_config=_READING
        )
    except MemoryError:
        raise
    except Exception as error:
        raise UnreadableError(text) from error
    return _exact(found)


def _exact(found: Any) -> Any:
    """Return a formula whose decimals are fractions and whose unknown functions are names."""
    if not isinstance(found, Expr):
        return found
    changes: dict[Any, Any] = {number: Rational(str(number)) for number in found.atoms(Float)}
    changes |= {one: Symbol(str(one)) for one in found.atoms(AppliedUndef)}
    is_lazy = found.has(*_LAZY)
    if Symbol("i") in found.free_symbols and not is_lazy:
        changes[Symbol("i")] = I
    found = found.xreplace(changes) if changes else found
    return found.doit() if is_lazy else found


def _evaluated(text: str) -> str | bool:
    """Return the real value of a formula; False if it has none or is unreadable."""
    try:
        formula = read(text)
    except UnreadableError:
        return False
    value = formula.evalf(DIGITS) if isinstance(formula, Expr) and not formula.free_symbols else nan
    return str(value) if value.is_Float or value.is_Integer else False


def same_value(first: Any, second: Any) -> bool | None:
    """Return whether two formulas have the same value wherever both have one."""
    if not (isinstance(first, Expr) and isinstance(second, Expr)):
        return bool(first == second) if type(first) is type(second) else False
    agreed = disagreed = 0
    if not first.free_symbols and _value(first, {}) is None and _value(second, {}) is not None:
        return False  # the answer divides by zero
    for values in _values(first, second):
        reals = [_is_real(value) for value in values]
        if reals[0] != reals[1]:
            disagreed += 1  # for x < 0, ln(x^2) and 2 ln(x) do: not a verdict yet
        elif not _are_equal(*values):
            return False
        else:
            agreed += 1
    if agreed:
        return True
    return False if disagreed else None


def same_up_to_factor(first: Any, second: Any, *, must_be_positive: bool) -> bool | None:
    """Return whether one formula is a constant multiple of the other."""
    if not (isinstance(first, Expr) and isinstance(second, Expr)):
        return None
    if first.free_symbols != second.free_symbols or not first.free_symbols:
        return False
    factor = None
    for mine, other in _values(first, second):
        if _is_zero(mine) or _is_zero(other):
            if _is_zero(mine) != _is_zero(other):
                return False
            continue
        ratio = (mine / other).evalf(DIGITS)
        if factor is not None and not _are_equal(ratio, factor):
            return False
        factor = ratio
    if factor is None:
        return None
    return not must_be_positive or bool(_is_real(factor) and factor.as_real_imag()[0] > 0)


def _values(first: Expr, second: Expr) -> Iterator[tuple[Expr, Expr]]:
    """Yield the values of both formulas at up to `ENOUGH_POINTS` points where both have one."""
    symbols = sorted(first.free_symbols | second.free_symbols, key=str)
    found = 0
    for point in _points(symbols):
        values = _value(first, point), _value(second, point)
        if values[0] is not None and values[1] is not None:
            yield values[0], values[1]
            found += 1
        if found == ENOUGH_POINTS or not symbols:
            return


def _points(symbols: list[Any]) -> Iterator[Mapping[Any, Expr]]:
    """Yield points with positive unknowns. At every third point one unknown is negative.

    With several negative ones, products of roots that people treat as equal would differ.
    """
    numbers = random.Random(0)
    for number in range(POINTS):
        point = {
            symbol: Integer(numbers.randint(2, 9) + number)
            if str(symbol) in _WHOLE_NUMBERS
            else Rational(numbers.randint(10**9, 4 * 10**9), 10**9)
            for symbol in symbols
        }
        signed = [symbol for symbol in symbols if str(symbol) not in _WHOLE_NUMBERS]
        if number % 3 == 1 and signed:
            chosen = numbers.choice(signed)
            point[chosen] = -point[chosen]
        yield point


def _value(formula: Expr, point: Mapping[Any, Expr]) -> Expr | None:
    value = formula.evalf(DIGITS, subs=dict(point), maxn=1000)
    if value in (oo, -oo):
        return value if not point else None
    return value if value.is_number and not value.has(nan, zoo, oo) else None


def _parts(value: Expr) -> tuple[Expr, Expr]:
    """Return real and imaginary part; a part without a certain digit is zero."""
    real, imaginary = value.as_real_imag()
    return tuple(Integer(0) if _is_uncertain(part) else part for part in (real, imaginary))


def _is_uncertain(part: Expr) -> bool:
    return isinstance(part, Float) and part._prec <= 1  # noqa: SLF001  SymPy tells it nowhere else


def _is_real(value: Expr) -> bool:
    return bool(_parts(value)[1] == 0)


def _is_zero(value: Expr) -> bool:
    return all(part == 0 for part in _parts(value))


def _are_equal(first: Expr, second: Expr) -> bool:
    if first == second:
        return True
    if oo in (abs(first), abs(second)):
        return False
    parts = _parts(first), _parts(second)
    size = max(abs(part) for value in parts for part in value)
    return all(
        abs(Add(mine, -other)) <= AGREEMENT * size for mine, other in zip(*parts, strict=True)
    )


if __name__ == "__main__":
    main()
