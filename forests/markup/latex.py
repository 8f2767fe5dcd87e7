r"""LaTeX formulas in a text: find them and convert them to MathML.

Formulas are `$…$`, `$$…$$`, `\(…\)`, `\[…\]` and the common display environments. Prices
("$2 per egg and $3") and GSM8K's calculator notes (`<<48/2=24>>`) are not formulas.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from django.utils.html import escape
from math_core import LatexError, LatexToMathML

MAX_LENGTH = 4000
MAX_NESTING_UNITS = 250
"""Most commands, braces and signs such as `∑` in a formula: the converter recurses over them, and
deep nesting crashes it."""
MAX_OPENINGS = 6
"""Most opening brackets that the converter may pair: it takes twice the time for each unclosed one.
"""

_ENVIRONMENTS = "align|aligned|equation|gather|gathered|multline|cases|array|[bpvBV]?matrix"
_NO_DELIMITER = r"(?:\\[^()\[\]]|[^\\])++"
_FORMULA = rf"""
    \$\$ (?P<dollars> (?:\\.|[^$\\])++ ) \$\$
  | \\\[ (?P<brackets> {_NO_DELIMITER} ) \\\]
  | \\\( (?P<parentheses> {_NO_DELIMITER} ) \\\)
  | (?P<environment> \\begin\{{ (?P<name>(?:{_ENVIRONMENTS})\*?) \}}
      (?:[^\\] | \\(?!(?:begin|end)\{{(?P=name)\}}) )*+ \\end\{{ (?P=name) \}} )
  | \$ (?!\s) (?P<dollar> (?:\\.|[^$\\\n]|\n(?!\n))++ ) (?<!\s) \$ (?![\d<])
"""
FORMULA = re.compile(_FORMULA, re.VERBOSE | re.DOTALL)
SPAN = re.compile(
    rf"""
    (?P<fence> ^[ ]{{0,3}} (?P<bar>(?P<mark>[`~])(?P=mark){{2,}}+) [^\n`]*+ \n
      .*? (?: ^[ ]{{0,3}} (?P=bar) (?P=mark)*+ [ ]*+ $ | \Z ) )
  | (?P<code> (?<!`) (?P<ticks>`++) (?:(?!\n\n).)+? (?<!`) (?P=ticks) (?!`) )
  | {_FORMULA}
  | \\ [\\`$()\[\]{{}}]
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
"""Code, formulas and escaped marks: parts of a text with no line or table structure inside."""

_DISPLAY = ("dollars", "brackets", "environment")
_INLINE = ("parentheses", "dollar")

_converter = LatexToMathML(fancy_error=False, max_expansions=100)
_DEFINITION = re.compile(
    r"\\(?:(?:re|provide)?newcommand|[gex]?def|let|DeclareMathOperator)(?![a-zA-Z])"
)
_ROW_SPACE = re.compile(r"\\\\\[-?[\d.]+ ?[a-z]{2}\]")  # `\\[2pt]`: the converter takes it for text
# Commands that MATH and models use and the converter does not know.
_ALIAS = re.compile(
    r"""(?<!\\)\\ (?:
        (?P<text> text(?:bf|it|rm|sf|tt|normal|up) | emph | mbox | hbox ) (?![a-zA-Z])
      | (?P<bold> pmb | bm ) (?![a-zA-Z])
      | (?P<space> hfill ) (?![a-zA-Z])
      | tag\*? \{ (?P<tag> [^{}$\\]* ) \}
      | substack \{ (?P<lines> [^{}]* ) \}
      | (?P<split> begin | end ) \{split\}
    )""",
    re.VERBOSE,
)
_NESTING_UNIT = re.compile(r"\\[a-zA-Z]+|[{\[^_]|[^\x00-\x7f\w\s]")
_OPENING = re.compile(
    r"""
    %[^\r\n]*
  | \\text\s*\{[^{}]*\}
  | \\sqrt\s*\[
  | \\(?:left|right|middle|[bB]igg?[rm]?)(?![a-zA-Z])\s*(?:\\[a-zA-Z]+|\\.|.)
  | (?P<one>
      \\[bB]igg?l(?![a-zA-Z])\s*(?:\\[a-zA-Z]+|\\.|.)
    | \\(?:lAngle|lBrace|lVert|lang|langle|lbrace|lbrack|lceil|lfloor|lgroup|llangle|llbracket
        |llcorner|llparenthesis|lmoustache|lparen|lvert|ulcorner)(?![a-zA-Z])
    | \\\{ | [(\[] | [\u2308\u230a\u231c\u231e\u23b0\u2772\u27c5\u27e6\u27e8\u27ea\u27ec\u27ee]
    | [\u2983\u2985\u2987\u2989\u298b\u298d\u298f\u2991\u2993\u2995\u2997\u29d8\u29da\u29fc] )
  | (?P<macro> \\(?:bra|ket|braket|set|p?mod|pod)(?![a-zA-Z])(?!\s*\{[^{}\\^_&%]*\}) )
  | \\[a-zA-Z]+ | \\.
    """,
    re.VERBOSE | re.DOTALL,
)
"""Openings that the converter pairs with a closing bracket, in the named groups. The other tokens
contain the same characters but open nothing."""
_COMMAND_OR_GROUP = re.compile(r"\\[a-zA-Z]+|\{[^{}]*\}")

_TAG = re.compile(r"<(/?)([a-z]+)((?: [a-z]+=\"[^\"<>]*\")*)(/?)>")
_ATTRIBUTE = re.compile(r" ([a-z]+)=\"([^\"<>]*)\"")
_TAGS = frozenset(
    {
        "math", "menclose", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded",
        "mphantom", "mprescripts", "mroot", "mrow", "mspace", "msqrt", "mstyle", "msub", "msubsup",
        "msup", "mtable", "mtd", "mtext", "mtr", "munder", "munderover",
    }
)  # fmt: skip
_ATTRIBUTES = frozenset(
    {
        "accent", "accentunder", "depth", "display", "displaystyle", "form", "height",
        "largeop", "linethickness", "lspace", "mathvariant", "maxsize", "minsize",
        "movablelimits", "notation", "rspace", "scriptlevel", "stretchy", "symmetric", "voffset",
        "width",
    }
)  # fmt: skip
# The site's Content-Security-Policy refuses the style attributes that the converter writes.
_CLASS_OF_STYLE = {
    "width: 100%": "m-wide",
    "width: 50%": "m-half",
    "text-align: left": "m-left",
    "text-align: right": "m-right",
    "padding-left: 0": "m-pl0",
    "padding-right: 0": "m-pr0",
    "padding-left:1em": "m-pl1",
    "border-left: 0.05em solid currentcolor": "m-bl",
    "border-right: 0.05em solid currentcolor": "m-br",
    "border-top: 0.05em solid currentcolor": "m-bt",
    "border-bottom: 0.05em solid currentcolor": "m-bb",
}


def spans(text: str) -> Iterator[re.Match[str]]:
    """Yield each `SPAN` of a text, without the dollar signs of prices."""
    position = 0
    while match := SPAN.search(text, position):
        if is_price(match):
            position = match.start() + 1
        else:
            yield match
            position = match.end()


def formula_at(text: str, position: int) -> re.Match[str] | None:
    """Return the `FORMULA` that begins at a position; None if there is none, or a price."""
    match = FORMULA.match(text, position)
    return None if match is None or is_price(match) else match


def is_formula(span: re.Match[str]) -> bool:
    return any(span[kind] for kind in (*_DISPLAY, *_INLINE))


def is_price(match: re.Match[str]) -> bool:
    """Return whether dollar signs stand for money, and the text between them is prose."""
    return match["dollar"] is not None and _is_about_money(match["dollar"])


def as_html(formula: re.Match[str]) -> str:
    """Return the MathML of a `FORMULA`; its source as HTML if it cannot be converted."""
    kind = next(kind for kind in (*_DISPLAY, *_INLINE) if formula[kind])
    html = to_mathml(formula[kind], display=kind in _DISPLAY)
    return html or f'<code class="formula">{escape(formula[0])}</code>'


def to_mathml(latex: str, *, display: bool) -> str | None:
    """Return MathML Core without style, id or link; None if the formula cannot be converted."""
    if len(latex) > MAX_LENGTH or _DEFINITION.search(latex):
        return None
    if len(_NESTING_UNIT.findall(latex)) > MAX_NESTING_UNITS:
        return None
    try:
        source = _with_few_openings(_ALIAS.sub(_known, _ROW_SPACE.sub(r"\\\\", latex)))
        if source is None:
            return None
        mathml = _converter.convert_with_local_state(source, displaystyle=display)
    except LatexError:
        return None
    rest = _TAG.sub("", mathml)
    names = {found[1] for found in _TAG.findall(mathml)}
    if "<" in rest or ">" in rest or not names <= _TAGS:
        return None
    return _TAG.sub(_tidied, mathml)


def _known(match: re.Match[str]) -> str:
    """Return the replacement of an `_ALIAS`, in commands that the converter knows."""
    if match["tag"] is not None:
        return rf"\qquad\text{{({match['tag']})}}"
    if match["lines"] is not None:
        return rf"\begin{{matrix}}{match['lines']}\end{{matrix}}"
    if match["split"]:
        return rf"\{match['split']}{{aligned}}"
    return r"\text" if match["text"] else r"\boldsymbol" if match["bold"] else r"\quad "


def _with_few_openings(latex: str) -> str | None:
    """Return a formula in which the converter pairs few brackets; None if that is impossible.

    The converter looks for the partner of each opening bracket, up to the end of its group. If
    there is none, it reads the group again, so n of them take time in proportion to 2^n. If there
    are many, each bracket gets a group of its own, which looks the same and needs no partner.
    """
    found = [match.lastgroup for match in _OPENING.finditer(latex) if match.lastgroup]
    if len(found) <= MAX_OPENINGS:
        return latex
    if len(found) > MAX_NESTING_UNITS or found.count("macro") > MAX_OPENINGS:
        return None
    return _OPENING.sub(
        lambda match: rf"\mathopen{{{match[0]}{{}}}}" if match["one"] else match[0], latex
    )


def _is_about_money(text: str) -> bool:
    """Return whether the text between two dollar signs reads as prose about prices."""
    plain = _COMMAND_OR_GROUP.sub(" ", text)
    if text[0].isdigit():
        return bool(re.search(r"[a-zA-Z]{2}", plain)) or text[-1] in "=+-*/(,"
    return len(re.findall(r"[a-zA-Z]{3,}", plain)) > 1


def _tidied(match: re.Match[str]) -> str:
    closing, name, attributes, empty = match.groups()
    return f"<{closing}{name}{_tidied_attributes(attributes)}{empty}>"


@lru_cache(maxsize=1024)
def _tidied_attributes(attributes: str) -> str:
    return "".join(_tidied_attribute(*found) for found in _ATTRIBUTE.findall(attributes))


def _tidied_attribute(name: str, value: str) -> str:
    if name == "style":
        styles = [style.strip() for style in value.split(";")]
        color = next((s[6:] for s in styles if re.fullmatch(r"color:#[0-9A-Fa-f]{6}", s)), None)
        classes = [_CLASS_OF_STYLE[style] for style in styles if style in _CLASS_OF_STYLE]
        return (f' class="{" ".join(classes)}"' if classes else "") + (
            f' mathcolor="{color}"' if color else ""
        )
    if name in _ATTRIBUTES and re.fullmatch(r"[\w.%+-]*", value):
        return f' {name}="{value}"'
    return ""
