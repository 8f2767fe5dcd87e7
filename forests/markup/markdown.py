r"""Markdown with formulas, as models write it: no HTML, no links, no images.

A model's angle brackets are text, and nobody should follow a URL that it made up. One parser reads
the text, and this module writes the HTML: from the tags below, escaped text and allowed MathML.
"""

import html
import re
import unicodedata
from collections.abc import Iterator

from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, blockquote, heading, list_block, table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline, emphasis
from markdown_it.rules_inline import escape as escaped_mark
from markdown_it.token import Token

from forests.markup.latex import as_html, formula_at, is_formula, spans

MAX_NESTING = 20
"""Most levels of lists (two each) and quotes; the parser leaves out deeper text."""
MAX_CELLS = 1_200
"""Most cells in the tables of a text: the parser fills up each short row with empty cells."""

_RULES = (
    "table", "code", "fence", "blockquote", "hr", "list", "heading",
    "newline", "escape", "backticks", "emphasis",
)  # fmt: skip
_TAGS = frozenset(
    {
        "blockquote", "em", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "p", "strong",
        "table", "tbody", "td", "th", "thead", "tr", "ul",
    }
)  # fmt: skip
_NUMBERS = frozenset({"start", "value"})
"""Attributes of a list and its items that are whole numbers."""
_LANGUAGES = frozenset({""}).union(
    """
    asm asy asymptote bash basic c c# c++ cmd console cpp cs csharp css csv diff fortran go haskell
    html java javascript js json jsx julia jupyter kotlin latex lean lean4 lisp lua make markdown
    mathematica matlab maxima md mermaid none octave pascal perl php plain plaintext powershell
    pseudocode py pycon python python3 r ruby rust sage scala scheme sh shell sql swift sympy tex
    text tikz toml ts tsx txt typescript wolfram xml yaml yml zsh
    """.split()  # noqa: SIM905
)
"""Words after the opening mark of a block of code that only name its language."""
_SUMMAND = re.compile(r"[-+*][ ]++(?=\D*+\d)[-+*/=x\xd7\xf7()$€£%\d., ]++$")
_ANSWER = re.compile(r"#{4}[ ]*+[-$]?\d")  # of GSM8K
_CELL_END = re.compile(r"(?<!\\)\|")
_TIMES = re.compile(r"(?<=[\w)\]$%])\*(?=[\w($\\])|(?<=[A-Za-z0-9)\]])\*\*(?=\d)")
_ESCAPED = frozenset("\\`*_#+-.>|~$%&<\n")
"""What a backslash can escape; before other marks it belongs to a command of LaTeX."""

_BEFORE_WORDS = ("Pi", "Ps", "Sc", "Sk")
"""Categories of Unicode: opening quotes and brackets, `$` of formulas and backticks."""

# They replace marks in spans that the parser must not read. No printable text contains them.
_LINE_END, _BAR = "\x01", "\x02"
_AS_WRITTEN = {ord(_LINE_END): "\n", ord(_BAR): "|"}


class TooDeepError(Exception):
    """Lists and quotes are nested too deeply to be read."""


def to_html(text: str) -> SafeString:
    """Return the HTML of a printable text.

    Raises TooDeepError.
    """
    tokens = _PARSER.parse(text)
    if any(token.level >= MAX_NESTING - 1 for token in tokens):
        raise TooDeepError
    _keep_numbers(tokens)
    return mark_safe("".join(_html_of(tokens)).rstrip("\n"))  # noqa: S308  allowed tags, escaped text, allowed MathML


def _keep_numbers(tokens: list[Token]) -> None:
    """Give an item of a list its number if it does not follow the number of the item before."""
    nexts: list[int] = []  # of each list around the token
    for token in tokens:
        if token.type == "ordered_list_open":
            nexts.append(int(token.attrs.get("start", 1)))
        elif token.type == "ordered_list_close":
            nexts.pop()
        elif token.type == "list_item_open" and token.info:
            number = int(token.info)
            if number != nexts[-1]:
                token.attrs["value"] = number
            nexts[-1] = number + 1


def _html_of(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "inline":
            yield from _html_of(token.children or [])
        elif token.tag in _TAGS:
            yield "" if token.hidden else _tag_of(token)
        else:
            yield _content_of(token)


def _tag_of(token: Token) -> str:
    if token.nesting < 0:
        return f"</{token.tag}>\n" if token.block else f"</{token.tag}>"
    numbers = "".join(
        f' {name}="{int(token.attrs[name])}"' for name in _NUMBERS & token.attrs.keys()
    )
    return f"<{token.tag}{numbers}>"


def _content_of(token: Token) -> str:
    if token.type in ("softbreak", "hardbreak", "hr"):
        return "<hr>\n" if token.type == "hr" else "<br>\n"
    text = token.content
    if token.type == "fence" and (info := token.info.strip()).lower() not in _LANGUAGES:
        text = f"{info}\n{text}"  # not a language: a part of the text
    text = text.translate(_AS_WRITTEN)
    escaped = html.escape(text, quote=False)
    if token.type == "code_inline":
        return f"<code>{escaped}</code>"
    if token.type in ("formula", "code_block") and (formula := _only_formula(text)):
        return formula if token.type == "formula" else f"<p>{formula}</p>\n"
    if token.type in ("code_block", "fence"):
        return f"<pre><code>{escaped}</code></pre>\n"
    return escaped


def _only_formula(text: str) -> str | None:
    """Return the HTML of a formula; None if there is other text."""
    formula = formula_at(text.strip(), 0)
    return as_html(formula) if formula and formula.end() == len(text.strip()) else None


def _hide_structure(state: StateCore) -> None:
    """Hide line ends and bars of formulas, and bars of code: they end no line or cell."""
    if "$" not in state.src and "\\" not in state.src and "`" not in state.src:
        return
    pieces, end = [], 0
    for span in spans(state.src):
        pieces.append(state.src[end : span.start()])
        end = span.end()
        if is_formula(span):
            formula = span[0].replace("|", _BAR)
            line = state.src[state.src.rfind("\n", 0, span.start()) + 1 : span.start()]
            is_quoted = "\n" in formula and line.lstrip(" ").startswith(">")
            pieces.append(formula if is_quoted else formula.replace("\n", _LINE_END))
        elif span["code"]:
            pieces.append(re.sub(r"(?<!\\)\|", _BAR, span[0]))
        else:
            pieces.append(span[0])
    state.src = "".join(pieces) + state.src[end:]


def _formula(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "$\\":
        return False
    if (formula := formula_at(state.src, state.pos)) is None:
        return False
    if not silent:
        state.push("formula", "math", 0).content = formula[0]
    state.pos = formula.end()
    return True


def _escape(state: StateInline, silent: bool) -> bool:
    following = state.src[state.pos + 1 : state.pos + 2]
    return following in _ESCAPED and escaped_mark(state, silent)


def _times(state: StateInline, silent: bool) -> bool:
    """Read `3*4*5` as a product and `2**3` as a power."""
    if not (sign := _TIMES.match(state.src, state.pos)):
        return False
    if not silent:
        state.append_pending(sign[0])
    state.pos = sign.end()
    return True


def _emphasis(state: StateInline, silent: bool) -> bool:
    """Read `**`, also between a mark and a letter: `**Note:**text`, and in Chinese `**“a”**b`."""
    start, first = state.pos, len(state.delimiters)
    if not emphasis.tokenize(state, silent):
        return False
    if state.src[start] == "*" and state.pos - start > 1:
        before, after = state.src[max(start - 1, 0) : start], state.src[state.pos : state.pos + 1]
        for delimiter in state.delimiters[first:]:
            delimiter.close = delimiter.close or _ends_before_letter(before, after)
            delimiter.open = delimiter.open or _begins_after_letter(before, after)
    return True


def _ends_before_letter(before: str, after: str) -> bool:
    """Return whether marks between these characters can end bold text; those of powers cannot."""
    if not after.isalpha() or not before or before.isalnum() or before.isspace():
        return False
    is_prose = before in ":;,.!?\"'" or not (before + after).isascii()
    return is_prose and unicodedata.category(before) not in ("Ps", "Pi")


def _begins_after_letter(before: str, after: str) -> bool:
    if not before.isalpha() or not after or after.isalnum() or after.isspace():
        return False
    is_prose = after in "\"'" or not (before + after).isascii()
    return is_prose and (after in "\"'\\" or unicodedata.category(after)[:2] in _BEFORE_WORDS)


def _heading(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    position = state.bMarks[start] + state.tShift[start]
    is_answer = _ANSWER.match(state.src, position, state.eMarks[start])
    return not is_answer and heading(state, start, end, silent)


def _list(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a list. A line of a sum (`+ 3`) below other text is text, and keeps its sign."""
    if silent and state.parentType == "paragraph" and state.listIndent < 0:
        line = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
        if _SUMMAND.match(line):
            return False
    return list_block(state, start, end, silent)


def _quote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a quote that ends at the first line without its mark.

    In CommonMark such lines may belong to the quote. With nested quotes each level would read all
    of them.
    """
    stop = start
    while stop < end and state.src.startswith(">", state.bMarks[stop] + state.tShift[stop]):
        stop += 1
    outer, state.lineMax = state.lineMax, stop
    is_quote = stop > start and blockquote(state, start, stop, silent)
    state.lineMax = outer
    return is_quote


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    state.env["columns"] = _num_cells(state, start)
    return table(state, start, end, silent)


def _end_of_table(state: StateBlock, line: int, _end: int, silent: bool) -> bool:
    """End a table at a line with more cells than columns: the parser would leave out the rest.

    Also end it when the tables of the text have more than `MAX_CELLS` cells.
    """
    if not silent or state.parentType != "table":
        return False
    columns = state.env["columns"]
    state.env["cells"] = state.env.get("cells", 0) + columns
    return not 0 < _num_cells(state, line) <= columns or state.env["cells"] > MAX_CELLS


def _num_cells(state: StateBlock, line: int) -> int:
    row = state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].rstrip()
    ends = [end.start() for end in _CELL_END.finditer(row)]
    return len(ends) + 1 - (0 in ends) - (len(row) - 1 in ends) if ends else 0


def _parser() -> MarkdownIt:
    parser = MarkdownIt("zero", {"maxNesting": MAX_NESTING}).enable(_RULES)
    parser.core.ruler.after("normalize", "hide_structure", _hide_structure)
    parser.block.ruler.at("heading", _heading, {"alt": ["paragraph", "blockquote"]})
    parser.block.ruler.at("blockquote", _quote, {"alt": ["paragraph", "blockquote", "list"]})
    parser.block.ruler.at("list", _list, {"alt": ["paragraph", "blockquote"]})
    parser.block.ruler.at("table", _table, {"alt": ["paragraph"]})
    parser.block.ruler.before("table", "end_of_table", _end_of_table, {"alt": ["blockquote"]})
    parser.inline.ruler.at("escape", _escape)
    parser.inline.ruler.at("emphasis", _emphasis)
    parser.inline.ruler.before("escape", "formula", _formula)
    parser.inline.ruler.before("emphasis", "times", _times)
    parser.parse("*a*")  # compiles the rules now, so that no thread sees only half of them
    return parser


_PARSER = _parser()
