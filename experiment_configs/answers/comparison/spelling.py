r"""Give one spelling to everything that Unicode, LaTeX and Markdown can write in several ways.

Other modules need only `normalise`. In the text that it returns:

- math delimiters, sizes, fonts, colours and empty groups are gone, and signs have one spelling;
- upright words are in `\text{…}`, and `~` is a visible space;
- `\frac` and `\sqrt` have braces, functions have their backslash, and powers are written with `^`.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙᵢ", "0123456789+-=()ni", strict=True))
_RUN_OF_SUPERSCRIPTS = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_RUN_OF_SUBSCRIPTS = re.compile(f"[{''.join(_SUBSCRIPTS)}]+")
_VULGAR_FRACTION = re.compile("[¼-¾⅐-⅞]")
_ROOT = re.compile(r"([√∛∜])\s*(\([^()]*\)|\{[^{}]*\}|[0-9]+(?:\.[0-9]+)?|[A-Za-z])")
_ROOTS = {"√": r"\sqrt", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]"}
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("×·⋅∙✕", r"\cdot "), "∞": r"\infty ",
        "÷": "/", "⁄": "/", "∕": "/", "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-",
        "≤": r"\leq ", "≥": r"\geq ", "⩽": r"\leq ", "⩾": r"\geq ", "≠": r"\neq ", "≈": r"\approx ",
        "≃": r"\approx ", "±": r"\pm ", "∓": r"\mp ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
        "≡": r"\equiv ", "∅": r"\emptyset ", "⌀": r"\emptyset ", "π": r"\pi ",
        "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}",
        "ℂ": r"\mathbb{C}", "‘": "'", "’": "'", "′": "'",
        "“": '"', "”": '"', "″": '"', "„": '"', "«": '"', "»": '"', "「": '"', "」": '"', "。": ".",
        "、": ",", "∠": r"\angle ", "△": r"\triangle ", "º": "°", "˚": "°", "⟨": r"\langle ",
        "⟩": r"\rangle ", "√": r"\sqrt ", "٬": ",", "٫": ".",
        "\u00a0": "~", "\u202f": "~", "\u2009": "~", "\u2007": "~", "\u200a": "~", "\u2002": "~",
        "\u2003": "~", "\u3000": "~",
    }
)  # fmt: skip
_GREEK = {
    unicodedata.lookup(f"GREEK {case} LETTER {name.upper()}"): f"\\{spelled} "
    for name in (
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "lamda", "mu", "nu",
        "xi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega",
    )
    for case, spelled in (
        ("SMALL", name.replace("lamda", "lambda")),
        ("CAPITAL", name.replace("lamda", "lambda").capitalize()),
    )
}  # fmt: skip

_FUNCTIONS = (
    "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sin", "cos", "tan", "cot", "sec", "csc",
    "ln", "log", "exp", "gcd", "lcm", "max", "min", "lim", "det",
)  # fmt: skip
FUNCTIONS = frozenset(
    {*_FUNCTIONS, "sqrt", "pi", "inf", "infty", "infinity", "abs", "asin", "acos", "atan", "mod"}
)
"""Names that may appear in a formula and are not words."""
_OTHER_NAMES = {
    "asin": r"\arcsin", "acos": r"\arccos", "atan": r"\arctan", "pi": r"\pi", "infinity": r"\infty",
    "inf": r"\infty", "sqrt": r"\sqrt", "lg": r"\log", "tg": r"\tan", "ctg": r"\cot",
}  # fmt: skip
UNITS_TOO = ("min", "sec")
"""Functions that are also units: 60 min, but sec x."""
_NOT_A_UNIT = rf"(?!(?:{'|'.join(UNITS_TOO)})(?!\s*[({{_\\]|\s+[a-z](?![A-Za-z])))"
_BARE_NAME = re.compile(
    rf"(?<![\\A-Za-z]){_NOT_A_UNIT}"
    rf"(?:({'|'.join(_FUNCTIONS)})|({'|'.join(_OTHER_NAMES)}))(?![A-Za-z])"
)

_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_UPRIGHT = r"text(?:bf|it|rm|normal|sf|tt|up|sc|sl)?|mathrm|mbox|hbox|operatorname\*?|rm"
_UPRIGHT_COMMAND = re.compile(rf"\\(?:{_UPRIGHT})(?![A-Za-z])\s*\{{")
_FONT_COMMAND = re.compile(
    r"\\(?:mathbf|boldsymbol|bm|pmb|underline|uline|mathit|mathsf|mathtt|mathnormal|mathcal|emph"
    r"|ensuremath|boxed|fbox|framebox|textcolor\s*\{[^{}]*\}|colorbox\s*\{[^{}]*\}"
    r"|mathop|mathord|mathrel|smash|vphantom)(?![A-Za-z])\s*\{"
)
_INVISIBLE_COMMAND = re.compile(r"\\(?:[hv]?phantom|[hv]space\*?|tag\*?|label)\s*\{")
_GREEK_COMMAND = (
    r"\\(?:pi|" + "|".join(name.strip("\\ ") for name in _GREEK.values()) + r")(?![A-Za-z])"
)


def _without_points(match: re.Match[str]) -> str:
    return match[1].replace(".", "")


_COMMANDS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<!\\)\\[()\[\]]", ""),
        (
            r"\\(?:m?left|m?right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle"
            r"|n?olimits|limits|mathstrut|strut|large|Large|LARGE|huge|Huge|normalsize|small|tiny"
            r"|bf|it|rm|sf|tt|bfseries|itshape|rmfamily|boldmath|centering|noindent"
            r"|allowbreak|nobreak|relax|color\s*\{[^{}]*\})(?![A-Za-z])\s*\.?(?=\s*)",
            "",
        ),
        (r",\s*\\!\s*", ","),
        (r"\\!", ""),
        (r"(?<!\\)\\(?:[,;: ]|q?quad(?![A-Za-z])|thinspace|enspace|enskip|space(?![A-Za-z]))", "~"),
        (r"\{\s*,\s*\}", ","),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"\\binom\s*([0-9])\s*([0-9])", r"\\binom{\1}{\2}"),
        (r"\{\s*([^{}\\]+?)\s*\\choose\s*([^{}\\]+?)\s*\}", r"\\binom{\1}{\2}"),
        (r"\\(?:times|cdot|ast|bullet)(?![A-Za-z])", r"\\cdot "),
        (r"\\div(?![A-Za-z])", "/"),
        (r"\\le(?:q|qslant)?(?![A-Za-z])|<=|=<", r"\\leq "),
        (r"\\ge(?:q|qslant)?(?![A-Za-z])|>=", r"\\geq "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\neq?(?![A-Za-z])|!=", r"\\neq "),
        (r"(?<=[\w)}\]' ~])(?::=|==)", "="),
        (r"\+\s*/\s*-", r"\\pm "),
        (r"\\(?:approx|simeq|thickapprox|doteq)(?![A-Za-z])|~=", r"\\approx "),
        (r"\\(?:varnothing|O)(?![A-Za-z])", r"\\emptyset "),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\lbrack(?![A-Za-z])", "["),
        (r"\\rbrack(?![A-Za-z])", "]"),
        (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
        (r"\\(?:ldots|dots|dotsc|cdots)(?![A-Za-z])|\.{3,}|…", r"\\ldots "),
        (r"\\varepsilon(?![A-Za-z])", r"\\epsilon"),
        (r"\\varphi(?![A-Za-z])", r"\\phi"),
        (r"\\(?:therefore|implies|Rightarrow|because)(?![A-Za-z])", ""),
        (r"(?:\{\s*\})?\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])", "°"),
        (r"\\R(?![A-Za-z])", r"\\mathbb{R}"),
        (r"\\mathbb\s*([A-Z])(?![A-Za-z])", r"\\mathbb{\1}"),
        (r"\\lg(?![A-Za-z])", r"\\log"),
        (r"\\log\s*_\s*(?:e|\{\s*e\s*\})(?![A-Za-z])", r"\\ln "),
        (r"\^\s*-\s*([0-9]+|[A-Za-z](?![A-Za-z]))", r"^{-\1}"),
        (r"(?<![A-Za-z0-9\\.])((?:[A-Z]\.)+[A-Z])\.?(?![A-Za-z0-9])", _without_points),
        (r"(?<!\\)\\([%#&_])", r"\1"),
        (r"\\textdollar(?![A-Za-z])|\\dollar(?![A-Za-z])", r"\\$"),
        (r"\\euro(?![A-Za-z])", "€"),
        (r"\\pounds(?![A-Za-z])", "£"),
        (r"\\yen(?![A-Za-z])", "¥"),
        (r"(?<=[\w)}])\s*\*\*\s*(?=[\w({\\-])", "^"),
        (r"(?<=[\w)}])\s*\*\s*(?=[\w({\\-])", r"\\cdot "),
    )
)
_ESCAPED_TWICE = re.compile(r"\\\\(?=[A-Za-z])")
_ALIGNMENT = re.compile(
    r"\\(?:begin|end)\s*\{"
    r"(?:align|aligned|equation|gather|gathered|multline|split|displaymath|math)\*?\}"
)
_ABSOLUTE = re.compile(r"(?<![A-Za-z\\])abs\s*\(([^()]*)\)")
_MATH_DOLLAR = re.compile(r"(?<!\\)\$")
_SHORT_FRACTION = re.compile(
    rf"\\frac\s*(?:([0-9A-Za-z]|{_GREEK_COMMAND})"
    r"|(\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}))"
    rf"\s*(?:([0-9A-Za-z]|{_GREEK_COMMAND})|(?=\{{))"
)
_SHORT_ROOT = re.compile(
    r"\\sqrt\s*(\[[^\[\]]*\])?\s*(?:([0-9]+|[A-Za-z]|\\pi(?![A-Za-z]))|(?=\())"
)
_POWER_IN_PARENTHESES = re.compile(r"\^\s*(\((?:[^()]|\([^()]*\))*\))")
_GROUPED_COMMAND = re.compile(r"\{\s*\\(?:bf|it|rm|sf|tt|boldmath|color\s*\{[^{}]*\})\s+([^{}]*)\}")
_EMPHASIS = "*_`\"' \t\n~"
_END = ".,;:? ~"  # a `!` may be a factorial


@lru_cache(maxsize=4096)  # the samples of a tree repeat few answers, and all have one label
def normalise(text: str) -> str:
    """Return an answer in one spelling; "" if nothing in it is visible.

    Text that cannot be read as LaTeX is left unchanged.
    """
    text = _without_dollars(_plain_unicode(text))
    if r"\begin" not in text:  # inside an environment two backslashes end a row
        text = _ESCAPED_TWICE.sub(r"\\", text)
    if _ALIGNMENT.search(text):
        text = _ALIGNMENT.sub("", text).replace("&", "")
    text = _ABSOLUTE.sub(r"|\1|", text)
    text = _GROUPED_COMMAND.sub(r"{\1}", text)
    text = _rewrite_groups(text, _INVISIBLE_COMMAND, lambda _: "")
    text = _rewrite_groups(text, _UPRIGHT_COMMAND, _upright)
    text = _rewrite_groups(text, _FONT_COMMAND, lambda content: f"{{{content}}}")
    for pattern, replacement in _COMMANDS:
        text = pattern.sub(replacement, text)
    text = _with_braces(_with_backslashes(text))
    text = re.sub(r"(?<![\w^_}\]])\{\s*\}", "", text)
    text = re.sub(r"\s+", " ", text).strip(_EMPHASIS)
    return _unwrapped(text.rstrip(_END)).strip(_EMPHASIS)


def squeeze(text: str) -> str:
    """Remove the spaces of a text, except between two digits or two words."""
    text = re.sub(r"[ ~]+", " ", text)
    return re.sub(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])", "", text).strip()


def closing_brace(text: str, start: int) -> int | None:
    """Return the end of the group whose content begins at `start`; None if it is not closed."""
    depth, position = 1, start
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if not depth:
                return position
        position += 1
    return None


def _plain_unicode(text: str) -> str:
    text = "".join(character for character in text if unicodedata.category(character) != "Cf")
    text = _RUN_OF_SUPERSCRIPTS.sub(lambda m: f"^{{{_spelled(m[0], _SUPERSCRIPTS)}}}", text)
    text = _RUN_OF_SUBSCRIPTS.sub(lambda m: f"_{{{_spelled(m[0], _SUBSCRIPTS)}}}", text)
    text = _VULGAR_FRACTION.sub(_spelled_fraction, text)
    text = _ROOT.sub(lambda m: f"{_ROOTS[m[1]]}{{{m[2].strip('{}')}}}", text)
    text = text.translate(_SIGNS)
    text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    return "".join(_GREEK.get(character, _digit(character)) for character in text)


def _digit(character: str) -> str:
    """Return the digit that a character of any script is; any other character unchanged."""
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


def _spelled(run: str, alphabet: dict[str, str]) -> str:
    return "".join(alphabet[character] for character in run)


def _spelled_fraction(match: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", match[0]).partition("⁄")
    return rf" \frac{{{top}}}{{{bottom}}}"


def _without_dollars(text: str) -> str:
    """Return a text without math delimiters; a single `$` means money."""
    if len(_MATH_DOLLAR.findall(text)) % 2 == 0:
        text = _MATH_DOLLAR.sub("", text)
    return text.replace(r"\$", "$")


def _rewrite_groups(text: str, command: re.Pattern[str], rewrite: Callable[[str], str]) -> str:
    """Replace each command and its group by the result of `rewrite`, inner commands first."""
    for match in reversed(list(command.finditer(text))):
        end = closing_brace(text, match.end())
        if end is not None:
            text = text[: match.start()] + rewrite(text[match.end() : end]) + text[end + 1 :]
    return text


def without_text_marks(text: str, instead: str = "") -> str:
    r"""Return a text with the words of each `\text{…}`, between two times `instead`."""
    return _TEXT.sub(rf"{instead}\1{instead}", text)


def _upright(content: str) -> str:
    content = content.replace("\\ ", " ").replace("~", " ")
    if not re.search(r"[^\W\d_]", content):
        return content
    # Nested commands are rewritten first, so a text inside a text becomes one text.
    inner = without_text_marks(content.strip())
    if inner in _FUNCTIONS and inner not in UNITS_TOO:
        return rf"\{inner} "
    return rf"\text{{{inner}}}"


def _with_backslashes(text: str) -> str:
    r"""Add the backslash to function names; words in `\text` stay unchanged."""

    def spelled(match: re.Match[str]) -> str:
        return f"\\{match[1]} " if match[1] else f"{_OTHER_NAMES[match[2]]} "

    pieces = re.split(r"(\\text\{[^{}]*\})", text)
    return "".join(
        piece if number % 2 else _BARE_NAME.sub(spelled, piece)
        for number, piece in enumerate(pieces)
    )


def _with_braces(text: str) -> str:
    for _ in range(text.count(r"\frac")):
        text, changed = _SHORT_FRACTION.subn(_braced_fraction, text)
        if not changed:
            break
    text = _SHORT_ROOT.sub(lambda m: rf"\sqrt{m[1] or ''}" + (f"{{{m[2]}}}" if m[2] else ""), text)
    text = _parenthesised_roots(text)
    return _POWER_IN_PARENTHESES.sub(r"^{\1}", text)


def _braced_fraction(match: re.Match[str]) -> str:
    top = f"{{{match[1]}}}" if match[1] else match[2]
    return rf"\frac{top}" + (f"{{{match[3]}}}" if match[3] else "")


def _parenthesised_roots(text: str) -> str:
    return re.sub(
        r"\\sqrt(\[[^\[\]]*\])?\s*\(((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)", r"\\sqrt\1{\2}", text
    )


def _unwrapped(text: str) -> str:
    r"""Return the content of a group or a `\text` that makes up the whole text."""
    while True:
        text = text.strip()
        opening = next((one for one in ("{", r"\text{") if text.startswith(one)), None)
        if opening is None or closing_brace(text, len(opening)) != len(text) - 1:
            return text
        text = text[len(opening) : -1].rstrip(_END)
