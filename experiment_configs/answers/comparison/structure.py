"""Parse the structure of an answer: list, tuple, set, interval, matrix, equation, inequality.

Only the parts (numbers, formulas, texts) are compared by meaning. So a list is never read as a
product, and an equation such as `x + 1 = 3` never equals its right side.
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

from experiment_configs.answers.comparison.spelling import closing_brace, without_text_marks

_OPENING = {"(": ")", "[": "]", r"\{": r"\}", r"\langle": r"\rangle"}
_OPENERS, _CLOSERS = frozenset({*_OPENING, "{"}), frozenset({*_OPENING.values(), "}"})
_TOKEN = re.compile(
    r"\\text\{(?P<word>[^{}]*)\}|\\(?P<begin>begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|\\.|(?P<plain>[A-Za-z]+)"
    r"|[<>=]|.",
    re.DOTALL,
)
_CONJUNCTIONS = frozenset({"and", "or"})
_RELATIONS = {
    "=": "=", r"\approx": "=", r"\equiv": "=", "<": "<", ">": ">", r"\leq": "<=", r"\geq": ">=",
    r"\neq": "!=", r"\in": "in",
}  # fmt: skip
TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""The sign of each inequality after its sides are swapped."""
_MATRIX = re.compile(
    r"[\[(|]?\s*\\begin\s*\{(?P<kind>[pbvBV]?(?:small)?matrix|array)\}(?:\s*\{[lcr|\s]*\})?(?P<body>.*)"
    r"\\end\s*\{(?P=kind)\}\s*[\])|]?",
    re.DOTALL,
)
_NAME = re.compile(
    r"(?:m?\s*\\(?:angle|triangle)\s*)?(?:\\(?:overline|vec|hat|bar)\s*)?"
    r"(?:[A-Za-z]|\\[A-Za-z]+|[A-Z]{2,4}|\{[A-Za-z]{1,4}\}|\\text\{[^{}]*\}|\|[A-Z]{2}\|)"
    r"(?:_(?:[A-Za-z0-9]|\\[A-Za-z]+|\{[^{}]*\}))?'*"
    r"(?:\^\{?-1\}?)?(?:\s*\([A-Za-z0-9, =<>|'\\]*\))?"
)
_NOT_NAMES = re.compile(
    r"\\(?:pi|infty|emptyset|sin|cos|tan|cot|sec|csc|ln|log|exp|sqrt|frac)(?![a-z])"
)
_SET_BUILDER = re.compile(
    r"(?P<name>[A-Za-z])(?:\s*\\in\s*\\mathbb\{R\})?[\s~]*[|:][\s~]*(?P<condition>.+)"
)
_OUTWARD_BRACKETS = re.compile(
    r"(?:(?P<out>(?<![\w)}\]])\])|(?P<opening>[\[(]))(?P<inner>[^\[\]()]*[^\[\]()\s~][\s~]*[,;][^\[\](),;]+)"
    r"(?:(?P<outward>\[)|(?P<closing>[\])]))"
)
_ANGLES = re.compile(r"<([^<>]*,[^<>]*)>")
_REAL_NUMBERS = re.compile(
    r"\\mathbb\{R\}|(?:the\s+set\s+of\s+)?(?:all\s+)?(?:the\s+)?real(?:s|\s+numbers)", re.IGNORECASE
)
_NO_SOLUTION = re.compile(
    r"(?:there\s+(?:is|are)\s+)?no\s+(?:real\s+)?solutions?(?:\s+exists?)?|(?:the\s+)?empty\s+set",
    re.IGNORECASE,
)
_WITHOUT = re.compile(
    r"\\mathbb\{R\}\s*(?:\\setminus|\\backslash|-)\s*\\\{(?P<point>[^{},;]+|.*\}[^,;]*)\\\}"
)
_TUPLE_OF_NAMES = re.compile(r"\(([^()]*,[^()]*)\)")
_PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])")
_SYMBOL = re.compile(r"\\(?!text(?![A-Za-z]))[A-Za-z]+'*")
_WORDS = re.compile(
    r"(?:[A-Za-z]+'?[A-Za-z]*|\\text\{[^{}]*\})(?:\s+(?:[A-Za-z]+|\\text\{[^{}]*\}))*"
)
_VALUE = re.compile(
    r"(?:\\(?:pi|sqrt|frac|cdot|binom|ln|log|sin|cos|tan)(?![A-Za-z])|[0-9\s~.,+*/^(){}!%$-])+"
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number, a formula or a text."""

    text: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """Several answers together."""

    items: "tuple[Structure, ...]"
    brackets: str
    """`()`, `[)` and the like for a tuple or an interval; `{}` for a set; "" for a plain list."""

    @property
    def is_ordered(self) -> bool:
        return self.brackets not in ("", "{}", "union")


@dataclass(frozen=True, slots=True)
class Matrix:
    """Cells by row."""

    kind: str
    """`|` for a determinant, "" otherwise."""
    rows: "tuple[tuple[Structure, ...], ...]"


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides with the signs between them, as in `0 < x < 1`."""

    sides: tuple[str, ...]
    signs: tuple[str, ...]

    @property
    def is_equation(self) -> bool:
        return set(self.signs) <= {"=", "in"}

    @property
    def name(self) -> str | None:
        """Return the left side of an equation if it is a name, as in `x = 5` or `f(x) = 2x`."""
        return self.sides[0] if self.is_equation and is_name(self.sides[0]) else None

    @property
    def subject(self) -> str | None:
        """Return the name that an inequality is about, as in `x < 2` or `0 < x < 2`."""
        sides = self.sides[1:2] if len(self.sides) == 3 else self.sides  # noqa: PLR2004
        return next(filter(is_name, sides), None)

    def value(self) -> "Structure | None":
        """Return the value that an equation gives to a name or a calculation; None without one.

        `x = 5`, `3 + 4 = 7` and `m + n = 2 + 5 = 7` have a value; `x + 1 = 3` has none.
        """
        if not self.is_equation:
            return None
        left = self.sides[0]
        is_calculated = all(is_value(side) for side in self.sides[1:]) and len(self.sides) > 2  # noqa: PLR2004
        if self.name is None and not is_value(left) and not is_calculated:
            return None
        return read_structure(self.sides[-1])


Structure: TypeAlias = Scalar | Sequence | Matrix | Relation


def read_structure(text: str) -> Structure:
    """Return the structure of an answer, as `normalise` returns it."""
    text = _without_outer_group(text.strip(" ~"))
    text = _OUTWARD_BRACKETS.sub(_inward, _ANGLES.sub(r"\\langle \1\\rangle", text))
    if (named := _named_set(text)) is not None:
        return named
    parts = _split(text)
    return (
        _list(parts)
        or _matrix(text)
        or _relation(parts)
        or _bracketed(text)
        or _with_both_signs(text)
        or _union(text)
        or Scalar(text)
    )


def is_set(value: Structure) -> bool:
    """Return whether a value is a set, which may be an element of another set."""
    if isinstance(value, Sequence):
        return value.brackets == "{}"
    return value == Scalar(r"\emptyset")


def is_name(text: str) -> bool:
    r"""Return whether a text is only a name, such as `x`, `f(x)`, `\theta`, `AB` or a word."""
    text = text.strip(" ~")
    if _NOT_NAMES.match(text):
        return False
    return bool(_NAME.fullmatch(text) or _WORDS.fullmatch(text))


def is_value(text: str) -> bool:
    """Return whether a text is a calculation with numbers only."""
    return bool(_VALUE.fullmatch(text))


def is_word_name(text: str) -> bool:
    """Return whether a name is a word, such as `Area`. It may stand for any symbol."""
    if _SYMBOL.fullmatch(text.strip(" ~")):
        return False
    return len(re.sub(r"\\text|[^A-Za-z]", "", text)) > 1 and "_" not in text and "(" not in text


def as_interval(relation: Relation) -> Structure | None:
    """Return the interval in which an inequality puts its variable; None if there is none."""
    sides, signs = relation.sides, relation.signs
    if signs == ("!=",) and is_name(sides[0]):
        return _all_but(sides[1])
    if set(signs) <= {"<", "<="} or set(signs) <= {">", ">="}:
        if signs[0].startswith(">"):
            sides, signs = sides[::-1], tuple(sign.replace(">", "<") for sign in signs[::-1])
        if len(sides) == 3 and is_name(sides[1]) and not is_name(sides[0]):  # noqa: PLR2004
            return _interval(sides[0], sides[2], signs[0], signs[1])
        if len(sides) == 2:  # noqa: PLR2004
            if is_name(sides[0]):
                return _interval(r"-\infty", sides[1], "<", signs[0])
            if is_name(sides[1]):
                return _interval(sides[0], r"\infty", signs[0], "<")
    return None


def _interval(low: str, high: str, left: str, right: str) -> Sequence:
    brackets = ("[" if left == "<=" else "(") + ("]" if right == "<=" else ")")
    return Sequence((read_structure(low), read_structure(high)), brackets)


def _inward(match: re.Match[str]) -> str:
    """Return an interval such as `]1, 2[` with the bracket `(` or `)` at each open end."""
    opening, closing = match["opening"] or "(", match["closing"] or ")"
    return f"{opening}{match['inner']}{closing}"


def _named_set(text: str) -> Structure | None:
    r"""Return the set that `\mathbb{R}`, `\mathbb{R} \setminus \{2\}` or "no solution" names."""
    words = without_text_marks(text).strip()
    if _NO_SOLUTION.fullmatch(words):
        return Scalar(r"\emptyset")
    if _REAL_NUMBERS.fullmatch(words):
        return _interval(r"-\infty", r"\infty", "<", "<")
    without = _WITHOUT.fullmatch(text)
    return _all_but(without["point"]) if without else None


def _all_but(point: str) -> Sequence:
    below = _interval(r"-\infty", point, "<", "<")
    return Sequence((below, _interval(point, r"\infty", "<", "<")), "union")


def _list(parts: "_Parts") -> Structure | None:
    if parts.separators == 0:
        return None
    items = tuple(
        read_structure(one) for item in parts.items if item for one in _both_signs(item) or (item,)
    )
    if len(items) < 2:  # noqa: PLR2004
        return None
    return (not parts.are_alternatives and _between(items)) or Sequence(items, "")


def _relation(parts: "_Parts") -> Structure | None:
    if not parts.signs or not all(parts.items):
        return None
    sides, signs = tuple(parts.items), tuple(parts.signs)
    if signs == ("=",) and is_name(sides[1]) and is_value(sides[0]):
        sides = sides[::-1]
    return _named_tuple(sides, signs) or Relation(sides, signs)


def _named_tuple(sides: tuple[str, ...], signs: tuple[str, ...]) -> Sequence | None:
    """Return `(x = 1, y = 2)` for `(x, y) = (1, 2)`."""
    names = _TUPLE_OF_NAMES.fullmatch(sides[0])
    values = read_structure(sides[-1]) if names and signs == ("=",) else None
    if names is None or not isinstance(values, Sequence) or values.brackets != "()":
        return None
    left = [name.strip(" ~") for name in names[1].split(",")]
    right = [item.text if isinstance(item, Scalar) else "" for item in values.items]
    if len(left) != len(right) or not all(map(is_name, left)) or not all(right):
        return None
    return Sequence(tuple(Relation(pair, ("=",)) for pair in zip(left, right, strict=True)), "()")


def _with_both_signs(text: str) -> Sequence | None:
    both = _both_signs(text)
    return Sequence(tuple(map(Scalar, both)), "") if both else None


def _both_signs(text: str) -> tuple[str, ...]:
    r"""Return the two texts that one with `\pm` stands for, or nothing."""
    if not _PLUS_MINUS.search(text) or r"\mp" in text:
        return ()
    both = (_PLUS_MINUS.sub(sign, text).strip() for sign in ("+", "-"))
    return tuple(one.removeprefix("+").strip() for one in both)


def _union(text: str) -> Sequence | None:
    parts = _split_at(text, r"\cup")
    return Sequence(tuple(map(read_structure, parts)), "union") if len(parts) > 1 else None


def _between(items: "tuple[Structure, ...]") -> Relation | None:
    """Return `0 < x < 1` for `x > 0, x < 1`."""
    bounds: dict[str, tuple[str, str]] = {}
    names = set()
    for item in items:
        if not isinstance(item, Relation) or len(item.sides) != 2 or item.signs[0] not in TURNED:  # noqa: PLR2004
            return None
        (left, right), sign = item.sides, item.signs[0]
        if not is_name(left):
            left, right, sign = right, left, TURNED[sign]
        names.add(left)
        bounds[sign[0]] = (right, sign)
    if len(names) != 1 or set(bounds) != {"<", ">"} or len(items) != 2:  # noqa: PLR2004
        return None
    (low, above), (high, below) = bounds[">"], bounds["<"]
    return Relation((low, names.pop(), high), (TURNED[above], below))


@dataclass(slots=True)
class _Parts:
    items: list[str]
    separators: int
    signs: list[str]
    are_alternatives: bool
    """Whether one of the separators is `or`."""


def _split(text: str) -> _Parts:
    """Split at commas and conjunctions outside brackets, or else at the signs of relations."""
    by_list, by_sign = [0], [0]
    list_ends, sign_ends, signs = list[int](), list[int](), list[str]()
    keeps_groups = _has_spaced_separator(text)
    are_alternatives = False
    depth = 0
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in _OPENERS or token["begin"] == "begin":
            depth += 1
        elif word in _CLOSERS or token["begin"] == "end":
            depth -= 1
        elif depth:
            continue
        elif word in (",", ";") or (conjunction := _conjunction(token)):
            if word == "," and keeps_groups and _groups_digits(text, token.start()):
                continue
            are_alternatives |= word not in (",", ";") and conjunction == "or"
            list_ends.append(token.start())
            by_list.append(token.end())
        elif word in _RELATIONS:
            sign_ends.append(token.start())
            by_sign.append(token.end())
            signs.append(_RELATIONS[word])
    starts, ends = (by_list, list_ends) if list_ends else (by_sign, sign_ends)
    items = [
        text[start:end].strip(" ~") for start, end in zip(starts, [*ends, len(text)], strict=True)
    ]
    return _Parts(items, len(list_ends), [] if list_ends else signs, are_alternatives)


def _conjunction(token: re.Match[str]) -> str:
    """Return `and` or `or` if a token is that word, otherwise ""."""
    word = (token["word"] or token["plain"] or "").strip(" ,").casefold()
    return word if word in _CONJUNCTIONS else ""


def _has_spaced_separator(text: str) -> bool:
    return bool(re.search(r",[ ~]|;|(?<![A-Za-z])(?:and|or)(?![A-Za-z])", text))


def _groups_digits(text: str, comma: int) -> bool:
    return bool(re.match(r",[0-9]{3}(?![0-9])", text[comma:])) and text[:comma][-1:].isdigit()


def _split_at(text: str, command: str) -> list[str]:
    depth, start, pieces = 0, 0, list[str]()
    for token in _TOKEN.finditer(text):
        if token[0] in ("{", r"\{"):
            depth += 1
        elif token[0] in ("}", r"\}"):
            depth -= 1
        elif token[0] == command and not depth:
            pieces.append(text[start : token.start()].strip(" ~"))
            start = token.end()
    return [*pieces, text[start:].strip(" ~")]


def _bracketed(text: str) -> Structure | None:
    """Return the tuple, interval or set that makes up a whole text."""
    opening = next((one for one in _OPENING if text.startswith(one)), "")
    end = _closing_bracket(text, len(opening)) if opening else None
    if end is None or end[1] != len(text):
        return None
    inner = text[len(opening) : end[0]].strip(" ~")
    if opening == r"\{":
        return _set(inner)
    content = read_structure(inner)
    brackets = opening + text[end[0] : end[1]]
    if isinstance(content, Sequence) and not content.brackets and re.search("[,;]", inner):
        is_interval = opening != r"\langle" and len(content.items) == 2  # noqa: PLR2004
        return Sequence(content.items, brackets if is_interval else "()")
    return content if brackets == "()" else None


def _set(inner: str) -> Structure | None:
    if not inner:
        return Scalar(r"\emptyset")
    if re.search(r"(?<!\\)[|:]", inner):
        return _described_set(inner)
    content = read_structure(inner)
    is_list = isinstance(content, Sequence) and not content.brackets
    return Sequence(content.items if is_list else (content,), "{}")  # type: ignore[union-attr]


def _described_set(inner: str) -> Structure | None:
    """Return the interval of `{x | x > 0}`; another condition is compared as it is written."""
    match = _SET_BUILDER.fullmatch(inner)
    condition = read_structure(match["condition"]) if match else None
    if match is None or not isinstance(condition, Relation) or condition.subject != match["name"]:
        return None
    return as_interval(condition)


def _closing_bracket(text: str, start: int) -> tuple[int, int] | None:
    """Return the start and end of the bracket that closes the first one."""
    depth = 1
    for token in _TOKEN.finditer(text, start):
        if token[0] in _OPENERS:
            depth += 1
        elif token[0] in _CLOSERS:
            depth -= 1
            if not depth:
                return token.start(), token.end()
    return None


def _matrix(text: str) -> Matrix | None:
    match = _MATRIX.fullmatch(text)
    if match is None or r"\begin" in match["body"]:
        return None
    rows = [
        row
        for row in re.split(r"\\\\(?:\[[^\]]*\])?|\\cr(?![a-z])", match["body"])
        if row.strip(" ~")
    ]
    cells = tuple(tuple(read_structure(cell) for cell in row.split("&")) for row in rows)
    return Matrix(
        "|" if match["kind"].lower().startswith("v") or text.startswith("|") else "", cells
    )


def _without_outer_group(text: str) -> str:
    while text.startswith("{") and closing_brace(text, 1) == len(text) - 1:
        text = text[1:-1].strip(" ~")
    return text
