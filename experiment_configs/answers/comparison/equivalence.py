"""Tell whether two answers mean the same. docs/answers.md describes the rules."""

import re
from collections.abc import Sequence as Several
from string import ascii_letters

from experiment_configs.answers.comparison import structure
from experiment_configs.answers.comparison.formulas import (
    Kind,
    compare_formulas,
    evaluate_formula,
    is_formula,
    limited_comparisons,
)
from experiment_configs.answers.comparison.quantities import (
    Quantity,
    is_near,
    read_quantity,
    same_quantity,
)
from experiment_configs.answers.comparison.spelling import (
    normalise,
    squeeze,
    without_text_marks,
)
from experiment_configs.answers.comparison.structure import (
    Matrix,
    Relation,
    Scalar,
    Sequence,
    Structure,
)
from experiment_configs.answers.comparison.units import NO_UNIT, Unit, read_unit, same_unit
from experiment_configs.answers.comparison.words import compare_words, is_verdict, same_text
from experiment_configs.answers.errors import NotComparedError

MAX_ANSWER_LENGTH = 1_000
"""In characters. A longer text is not parsed, only compared character by character."""

_LEADING = re.compile(
    r"\A(?:[=:]|\\approx|\\simeq|\\text\{(?:about|approximately|approx|around)\.?\}"
    r"|(?:about|approximately|approx\.?|around|exactly|roughly)\b|(?:#|no\.)(?=[\s~]*[0-9]))[\s~]*",
    re.IGNORECASE,
)
_MINUS = re.compile(r"\A(?:minus|negative)[\s~]+(?=[0-9.\\$])", re.IGNORECASE)
_QUALIFIER_WORDS = (
    r"for(?:\s+(?:all|any|every|each|some)\b)|where|when|if|with|because|since|such\s+that|provided"
    r"|assuming|as\s+(?:required|desired|expected)"
)
_QUALIFIER = re.compile(
    rf"(?:[\s~,]*\\text\{{[\s,]*(?:(?:{_QUALIFIER_WORDS})\b|for\b|\().*"
    rf"|[\s~,]+(?:{_QUALIFIER_WORDS})\b.*"
    r"|[\s~,;]+\(?[a-zA-Z]\s*\\in\s*\\mathbb\{[A-Z]\}(?:\s*[_^]\s*\{?[+*0-9]+\}?)?\)?"
    r"|[\s~]+\((?=[^()]*[A-Za-z]{3})[A-Za-z][A-Za-z ,.'-]*\))$",
    re.DOTALL,
)
_BASE = re.compile(
    r"\(?(?P<digits>[0-9A-Fa-f.,]+)\)?_\{?(?:\\text\{)?(?P<base>[0-9]{1,2}|[a-z]+)\}{0,2}"
    r"|(?P<plain>[0-9A-Fa-f.,]+)[\s~]*\(?(?:\\text\{)?\(?(?:in[\s~]+)?base[\s~]*(?P<named>[0-9]{1,2})\)?\}?\)?"
)
_DIGITS = re.compile(r"[0-9A-Fa-f.,]+")
_BASES = {"two": "2", "three": "3", "five": "5", "eight": "8", "ten": "10", "sixteen": "16"}
_UNIT_BEHIND = re.compile(
    r"(?P<text>[\s~]*\\text\{[^{}]*\}(?:\s*\^?\s*\{?-?[1-9]\}?)?"
    r"(?:[\s~]*(?:/|\\cdot)?[\s~]*\\text\{[^{}]*\}(?:\s*\^?\s*\{?-?[1-9]\}?)?)*)$"
    r"|(?P<shown>~[\s~]*[A-Za-z][A-Za-z/]*(?:\s*\^?\s*\{?[1-9]\}?)?)$"
    r"|(?P<word>(?<![A-Za-z\\])[\s~]*(?:[A-Za-z]{2,}[\s~./]*)+(?:\s*\^?\s*\{?[1-9]\}?)?)$"
    r"|(?P<sign>[\s~]*(?:°[\s~]?[CFcf]?|%))$"
)
_AMOUNT_BEHIND = re.compile(r"(?<=[A-Za-z.}])[\s~]+(?=[0-9])")
"""The gap in an amount of two units, as in `1 hour 30 minutes`."""
_ANGLE_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_SUBSCRIPT = re.compile(r"(?<=[A-Za-z])_(?:([A-Za-z0-9])|\{([A-Za-z0-9]+)\})")
_FITTING = ({"", "{}"}, {"", "()"}, {"", "union"})
"""Brackets that a plain list may omit."""
_MODULUS = re.compile(r"[\s~]*\(?(?:\\[pb]?|(?<=\())mod\s*\{?\s*(?P<modulus>[^{}()]+?)\s*\}?\)?$")


def is_same_answer(answer: str, label: str) -> bool:
    """Return whether an answer means the same as the label, as `18.0 dollars` means `18`.

    Two texts that can be read get the same verdict in either order. Only the label must be
    readable: an answer that is not is different from it.

    Raises:
        NotComparedError: the comparison ran out of time or memory, or the label cannot be read.
        RuntimeError: the process that compares formulas does not start.
    """
    if answer.strip() == label.strip():
        return True
    if len(label) > MAX_ANSWER_LENGTH:
        raise NotComparedError(f"the label has more than {MAX_ANSWER_LENGTH:,} characters")
    if len(answer) > MAX_ANSWER_LENGTH:
        return False
    try:
        with limited_comparisons():
            return _same_spelled(normalise(answer), normalise(label))
    except RecursionError as error:
        raise NotComparedError(f"{answer!r:.80} has brackets nested too deeply") from error


def _same_spelled(answer: str, label: str) -> bool:
    answer, label = _without_leading(answer), _without_leading(label)
    if not label:
        raise NotComparedError("the label has no visible content")
    if not answer:
        return False
    if squeeze(answer) == squeeze(label):
        return True
    verdict = compare_words(answer, label)
    if verdict is not None:
        return verdict
    answer, label = _without_qualifier(answer), _without_qualifier(label)
    quantities = read_quantity(answer), read_quantity(label)
    if quantities[0] and quantities[1]:
        return same_quantity(quantities[0], quantities[1])
    return _same(_read(answer), _read(label))


def _without_leading(text: str) -> str:
    return _MINUS.sub("-", _LEADING.sub("", text, count=1))


def _without_qualifier(text: str) -> str:
    return _QUALIFIER.sub("", text).rstrip(" ~,") or text


def _read(text: str) -> Structure:
    # A number with thousands separators is not a list.
    if read_quantity(text):
        return Scalar(text)
    amounts = _AMOUNT_BEHIND.split(text)
    if len(amounts) > 1 and all(map(_has_unit, amounts)):
        return Sequence(tuple(map(Scalar, amounts)), "")
    return structure.read_structure(text)


def _has_unit(text: str) -> bool:
    quantity = read_quantity(text)
    return quantity is not None and bool(quantity.unit.dimensions)


def _same(answer: Structure, label: Structure) -> bool:
    if isinstance(answer, Relation) or isinstance(label, Relation):
        return _same_relation(answer, label)
    if isinstance(answer, Matrix) and isinstance(label, Matrix):
        return _same_matrix(answer, label)
    if (
        isinstance(answer, Sequence)
        and isinstance(label, Sequence)
        and len(answer.items) == len(label.items)
    ):
        return _same_sequence(answer, label)
    if isinstance(answer, Scalar) and isinstance(label, Scalar):
        return _same_scalar(answer.text, label.text)
    if isinstance(answer, Matrix) or isinstance(label, Matrix):
        return _same_vector(answer, label)
    return _same_single(answer, label) or _same_single(label, answer)


def _same_vector(answer: Structure, label: Structure) -> bool:
    """Compare a matrix with one row or column with a tuple, and others with a list of rows."""
    matrix, other = (answer, label) if isinstance(answer, Matrix) else (label, answer)
    if not isinstance(matrix, Matrix) or not isinstance(other, Sequence) or matrix.kind:
        return False
    rows = [Sequence(row, other.brackets) for row in matrix.rows]
    if len(rows) == 1:
        items = rows[0].items
    elif all(len(row.items) == 1 for row in rows):
        items = tuple(row.items[0] for row in rows)
    else:
        items = tuple(rows)
    return other.is_ordered and len(items) == len(other.items) and _all_same(items, other.items)


def _same_single(one: Structure, other: Structure) -> bool:
    """Compare a set of one element with that element."""
    return (
        isinstance(one, Sequence)
        and len(one.items) == 1
        and not structure.is_set(other)
        and _same(one.items[0], other)
    )


def _same_relation(answer: Structure, label: Structure) -> bool:
    if isinstance(answer, Relation) and isinstance(label, Relation):
        return _same_relations(answer, label)
    relation, other = (answer, label) if isinstance(answer, Relation) else (label, answer)
    if not isinstance(relation, Relation):
        raise TypeError("one of them is a relation")
    value = relation.value() if relation.is_equation else structure.as_interval(relation)
    return value is not None and _same(value, other)


def _same_relations(answer: Relation, label: Relation) -> bool:
    if answer.is_equation and label.is_equation:
        return _same_equations(answer, label)
    ranges = _range(answer), _range(label)
    if ranges[0] and ranges[1] and _are_one_name(answer.subject, label.subject):
        return _same(ranges[0], ranges[1])
    if answer.is_equation or label.is_equation:
        return False
    return _same_inequalities(answer, label)


def _same_equations(answer: Relation, label: Relation) -> bool:
    values = answer.value(), label.value()
    names = answer.name, label.name
    if values[0] and values[1] and (_are_one_name(*names) or None in names):
        return _same(values[0], values[1])
    are_single = len(answer.sides) == len(label.sides) == 2  # noqa: PLR2004
    return are_single and _holds("equation", _difference(answer), _difference(label))


def _same_inequalities(answer: Relation, label: Relation) -> bool:
    turned = tuple(structure.TURNED.get(sign, sign) for sign in answer.signs[::-1])
    if answer.signs != label.signs == turned:
        answer = Relation(answer.sides[::-1], turned)
    if len(answer.signs) > 1 or len(label.signs) > 1:
        return answer.signs == label.signs and _all_same(
            [structure.read_structure(side) for side in answer.sides],
            [structure.read_structure(side) for side in label.sides],
        )
    if answer.signs != label.signs:
        return False
    kind: Kind = "equation" if label.signs == ("!=",) else "inequality"
    return _holds(kind, _difference(answer), _difference(label))


def _range(relation: Relation) -> Structure | None:
    r"""Return the set of numbers that `x < 2` or `x \in (0, 2)` describes."""
    return relation.value() if "in" in relation.signs else structure.as_interval(relation)


def _are_one_name(mine: str | None, other: str | None) -> bool:
    if mine is None or other is None:
        return False
    if structure.is_word_name(mine) or structure.is_word_name(other):
        return True
    return squeeze(mine).replace("{", "").replace("}", "") == squeeze(other).replace(
        "{", ""
    ).replace("}", "")


def _difference(relation: Relation) -> str:
    return f"({relation.sides[0]})-({relation.sides[1]})"


def _holds(kind: Kind, answer: str, label: str) -> bool:
    return is_formula(answer) and is_formula(label) and compare_formulas(kind, answer, label)


def _same_matrix(answer: Matrix, label: Matrix) -> bool:
    shapes = [[len(row) for row in matrix.rows] for matrix in (answer, label)]
    return (
        answer.kind == label.kind
        and shapes[0] == shapes[1]
        and all(
            _same(mine, other)
            for mine_row, other_row in zip(answer.rows, label.rows, strict=True)
            for mine, other in zip(mine_row, other_row, strict=True)
        )
    )


def _same_sequence(answer: Sequence, label: Sequence) -> bool:
    brackets = {answer.brackets, label.brackets}
    if len(answer.items) != len(label.items) or not (len(brackets) == 1 or brackets in _FITTING):
        return False
    items, wanted = answer.items, label.items
    if "union" in brackets:
        items, wanted = tuple(map(_as_set, items)), tuple(map(_as_set, wanted))
    is_ordered = (
        answer.is_ordered
        or label.is_ordered
        or _names_on_one_side(items, wanted)
        or all(isinstance(one, Scalar) and is_verdict(one.text) for one in wanted)
    )
    if "()" in brackets:
        items, wanted = tuple(_by_name(items)), tuple(_by_name(wanted))
    return _all_same(items, wanted) if is_ordered else _match(items, wanted)


def _as_set(item: Structure) -> Structure:
    return (isinstance(item, Relation) and structure.as_interval(item)) or item


def _names_on_one_side(items: Several[Structure], wanted: Several[Structure]) -> bool:
    """Return whether one side names all its values and the other names none."""
    names = [
        [item.name for item in side if isinstance(item, Relation) and item.name]
        for side in (items, wanted)
    ]
    return any(
        len(set(mine)) == len(items) and not other for mine, other in (names, reversed(names))
    )


def _by_name(items: Several[Structure]) -> Several[Structure]:
    """Return `x = 2, y = 1` for `y = 1, x = 2`, which is the point (2, 1).

    Only names that follow each other in the alphabet have a place in a tuple.
    """
    named = {item.name or "": item for item in items if isinstance(item, Relation)}
    names = sorted(named)
    if len(names) != len(items) or "".join(names) not in ascii_letters:
        return items
    return [named[name] for name in names]


def _all_same(items: Several[Structure], wanted: Several[Structure]) -> bool:
    """Compare pair by pair. One pair that differs decides, even if another has no result."""
    missing: NotComparedError | None = None
    for item, one in zip(items, wanted, strict=True):
        try:
            if not _same(item, one):
                return False
        except NotComparedError as error:
            missing = error
    if missing:
        raise missing
    return True


def _match(items: Several[Structure], wanted: Several[Structure]) -> bool:
    """Return whether the items and the wanted items can be matched one to one."""
    left = list(wanted)
    missing: NotComparedError | None = None
    for item in items:
        for one in left:
            try:
                if _same(item, one):
                    left.remove(one)
                    break
            except NotComparedError as error:
                missing = error
        else:
            if missing:
                raise missing
            return False
    return True


def _same_scalar(answer: str, label: str) -> bool:
    if squeeze(answer) == squeeze(label) or _flat(answer) == _flat(label):
        return True
    bases = _base(answer), _base(label)
    if any(base and base[1] for base in bases):
        return _same_in_base(*bases)
    quantities = read_quantity(answer), read_quantity(label)
    if quantities[0] and quantities[1]:
        return same_quantity(quantities[0], quantities[1])
    moduli = _MODULUS.search(answer), _MODULUS.search(label)
    if moduli[0] and moduli[1] and squeeze(moduli[0]["modulus"]) != squeeze(moduli[1]["modulus"]):
        return False
    core, unit = _core_and_unit(answer, quantities[0])
    wanted, wanted_unit = _core_and_unit(label, quantities[1])
    if not (is_formula(core) and is_formula(wanted)):
        return not (is_formula(core) or is_formula(wanted)) and same_text(answer, label)
    return same_unit(unit, wanted_unit) and (
        _same_formula(_scaled(core, unit), _scaled(wanted, wanted_unit))
        or _is_rounded(quantities[0], wanted)
        or _is_rounded(quantities[1], core)
    )


def _flat(text: str) -> str:
    """Return a text without the signs of its subscripts: CO_2 is CO2."""
    return _SUBSCRIPT.sub(r"\1\2", squeeze(without_text_marks(text)))


def _same_formula(core: str, wanted: str) -> bool:
    if squeeze(core) == squeeze(wanted):
        return True
    # Two single letters or digits that differ in spelling also differ in meaning.
    return max(len(core), len(wanted)) > 1 and compare_formulas("value", core, wanted)


def _is_rounded(decimal: Quantity | None, formula: str) -> bool:
    if decimal is None or not decimal.number.may_be_rounded:
        return False
    value = evaluate_formula(formula)
    return value is not None and is_near(decimal.number, value)


def _scaled(core: str, unit: Unit) -> str:
    if unit.is_percent:
        return rf"\frac{{{core}}}{{100}}"
    return core if unit.scale == 1 else rf"({core}) \cdot {unit.scale}"


def _base(text: str) -> tuple[str, str] | None:
    """Return the digits of a number and its base, "" if none is named; None for another text."""
    match = _BASE.fullmatch(text)
    if match is None:
        return (text.replace(",", ""), "") if _DIGITS.fullmatch(text) else None
    base = match["base"] or match["named"]
    base = _BASES.get(base, base)
    digits = (match["digits"] or match["plain"]).replace(",", "")
    return digits, base if base.isdecimal() else ""


def _same_in_base(answer: tuple[str, str] | None, label: tuple[str, str] | None) -> bool:
    """Compare the digits. A number without a base is in the base that the question asks for."""
    if answer is None or label is None:
        return False
    digits = [text.upper().lstrip("0") for text, _ in (answer, label)]
    return digits[0] == digits[1] and (not answer[1] or not label[1] or answer[1] == label[1])


def _core_and_unit(text: str, quantity: Quantity | None) -> tuple[str, Unit]:
    """Return a formula without the unit after it, and the unit."""
    if quantity is not None:
        return _number_text(quantity), quantity.unit
    text = _MODULUS.sub("", text)
    match = _UNIT_BEHIND.search(text)
    if match is None or not text[: match.start()].strip(" ~"):
        return text, NO_UNIT
    core = text[: match.start()].strip(" ~")
    if match["sign"] and _ANGLE_FUNCTION.search(core):
        return text, NO_UNIT  # the degrees of an angle inside the formula
    is_attached = match["word"] is not None and match[0][0] not in " ~"
    unit = read_unit(match[0], is_attached=is_attached)
    if unit is None or not is_formula(core):
        return text, NO_UNIT
    return core, unit


def _number_text(quantity: Quantity) -> str:
    value = quantity.number.value
    return (
        str(value.numerator)
        if value.denominator == 1
        else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    )
