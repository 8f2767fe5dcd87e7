r"""Formulas that could make the converter run for hours or crash; here they do neither.

Each formula is converted in another process with limited time and a limited stack.
"""

import json
import subprocess
import sys
import unicodedata

import pytest

from forests.markup.latex import MAX_LENGTH, MAX_OPENINGS, to_mathml

SECONDS = 60
"""The limit for all formulas of a test. Each takes milliseconds; an unbounded one takes hours."""

OPENING = [
    "(", "[", r"\{", r"\lvert ", r"\lVert ", r"\langle ", r"\lang ", r"\lfloor ", r"\lceil ",
    r"\lbrace ", r"\lbrack ", r"\lparen ", r"\lgroup ", r"\lmoustache ", r"\ulcorner ",
    r"\llcorner ", r"\llbracket ", r"\lAngle ", r"\lBrace ", r"\llangle ", r"\llparenthesis ",
    r"\bigl(", r"\Bigl[", r"\biggl\{", r"\Biggl|", r"\bigl\vert ", r"\mathopen(", r"\mathopen\{",
    r"\mathord(", r"\mathinner[", r"\mathrel(", "⌊", "⟨", "⎰",
]  # fmt: skip
# Here the converter does not pair the closing bracket with the opening one.
HIDDEN = [
    "(^)", "(_)", r"(\hat)", r"(\textcolor{red})", r"(\sqrt[)]x", r"(\frac1)", "({)}",
    r"(\left.)\right.", "(&)", r"(\\)", r"(\color{red})", "(%)\n", "%\\text{\n((((}", r"\\text{((}",
    r"\left((\right.", r"\bigl(\bigm)", r"\pmod{x^}", r"\bra{x^}", r"\ket{\hat}", r"\set{x_}",
]  # fmt: skip
OTHER = [
    ")(", "(]", "(a", "a(b", "(=", "()", "((a)", "|", r"\|", "!", "'", "^", "_", "x^", r"\not ",
    r"\over ", r"\frac", r"\left(", r"\middle|", r"\text{", "&", r"\\", "~", "x", "-", "+", "∑",
    "∫", "∏x", "⨋", "⅀", "¬", "√", "∂", r"\sum ", r"\int ", r"\sin ", r"\lim\limits ",
    r"\mathchoice", r"\begin{array}{c}", r"\hline ", "$",
]  # fmt: skip


def converted(formulas: list[str]) -> list[bool]:
    """Return for each formula whether it was converted, by a process with a time limit."""
    script = """
import json, sys, threading
from forests.markup.latex import to_mathml
found = []
def convert():
    for formula in json.load(sys.stdin):
        found.append(to_mathml(formula, display=True) is not None)
threading.stack_size(1024 * 1024)
thread = threading.Thread(target=convert)
thread.start()
thread.join()
print(json.dumps(found))
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(formulas),
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    assert result.returncode == 0, result.stderr
    found: list[bool] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("pieces", [OPENING, HIDDEN, OTHER], ids=["opening", "hidden", "other"])
def test_no_formula_takes_long_or_ends_the_process(pieces: list[str]):
    """If each piece doubled the time, thirty pieces would take an hour."""
    converted([piece * number for piece in pieces for number in (30, 60, MAX_LENGTH // len(piece))])


def test_the_pieces_are_formulas_that_the_converter_knows():
    assert all(converted([piece + "x" for piece in OPENING]))


def test_no_bracket_of_unicode_takes_long():
    brackets = [
        chr(code)
        for code in range(128, sys.maxunicode)
        if unicodedata.category(chr(code)) in ("Ps", "Pi", "Pe", "Pf")
    ]
    assert len(brackets) > 150
    converted([bracket * 30 for bracket in brackets])


def test_two_kinds_of_brackets_that_nothing_closes_take_no_longer():
    converted([(one + other) * 20 for one in OPENING[:20] for other in OPENING[20:]])


def test_a_long_solution_with_many_brackets_is_converted():
    line = r"f(x) &= (x+1)(x-1) = \left(x^2-1\right) \quad \text{(by (1))} \pmod{7} \\"

    html = to_mathml(rf"\begin{{align*}}{line * 12}\end{{align*}}", display=True)

    assert html is not None
    assert html.count(">(</mo>") == 12 * 5
    assert html.count("(by\N{NO-BREAK SPACE}(1))") == 12


@pytest.mark.parametrize("opening", OPENING)
def test_many_brackets_are_shown_as_a_few_are(opening: str):
    number = MAX_OPENINGS + 1
    few, many = (to_mathml(f"{opening}-x" * n, display=False) for n in (1, number))

    assert few is not None
    assert many is not None
    bracket = few.partition("</mo>")[0].rpartition(">")[2]
    assert many.count(f">{bracket}</mo>") == number
    minus = few.partition("<mi>")[0].rpartition("<mo")[2]  # a minus sign, not a subtraction
    assert many.count(minus) == number


def test_brackets_that_belong_to_a_command_are_left_to_it():
    brackets = r"\left(\frac{1}{2}\right] + \sqrt[3]{x} + \big( y \big)"

    html = to_mathml("(a)" * MAX_OPENINGS + brackets, display=False)
    same = to_mathml("(a)" * (MAX_OPENINGS + 2) + brackets, display=False)

    assert html is not None
    assert same is not None
    assert same.endswith(html.rpartition("<mo>+</mo><mroot>")[2])
