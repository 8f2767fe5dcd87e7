"""Answers by kind: what is the same, and what looks the same and is not."""

import pytest

from experiment_configs.answers import NotComparedError, is_same_answer

SAME = {
    "units and directions": [
        ("1 hour 30 minutes", "1 hr and 30 min"),
        ("5 feet 6 inches", "5 ft 6 in"),
        ("5 Ω", "5 ohms"),
        ("5 μm", "5 micrometers"),
        ("20 MW", "20 megawatts"),
        ("20 MW", "20"),
        ("5 M", "5"),
        ("2 times", "2"),
        ("25 units squared", "25 square units"),
        ("5 miles walked", "5 miles run"),
        ("10% increase", "10%"),
        ("5 km north", "5"),
        ("5th", "5"),
        (r"5^{\text{th}}", "5"),
        (r"22\text{nd}", "22"),
        ("¥500", "500 yuan"),
        ("¥500", "500 yen"),
        ("#5", "5"),
        ("No. 5", "5"),
        ("5 per day", "5"),
        ("$5/kg", "5 dollars per kg"),
        (r"\$3.50 per pound", "3.5"),
        ("3.0 × 10^8 m/s", "3e8"),
        ("33.333333%", "1/3"),
    ],
    "numbers and prices": [
        ("$1.5M", "1500000"),
        ("$2k", "2000"),
        ("$3bn", "$3,000,000,000"),
        ("€5,50", "5.50"),
        ("5,50 €", "5.50 €"),
        ("3,50 euros", "3.5"),
        ("1 234,5", "1234.5"),
        ("1 234,56 €", "1234.56"),
        ("CHF 5", "5"),
        ("₩5000", "5000 won"),
        ("٣٫١٤", "3.14"),
        ("१२", "12"),
        ("৫", "5"),
        ("minus 5", "-5"),
        (r"negative \frac12", "-0.5"),
        ("6.02214e23", "6.02214076e23"),
    ],
    "choices and verdicts": [
        ("B is correct", "B"),
        ("(B) since (A) is wrong", "B"),
        ("(B) 14, not (A)", "B"),
        ("C) Hepatitis B", "C"),
        ("(A),(C)", "(C),(A)"),
        ("No, no one knows", "no"),
        ("true, false", "true and false"),
    ],
    "times": [
        ("3 pm", "3"),
        ("3", "3:00"),
        ("12:00 PM", "12"),
    ],
    "sets and intervals": [
        ("]1,2[", "(1,2)"),
        ("[1,2[", "[1,2)"),
        (r"]-\infty;3]", r"(-\infty,3]"),
        ("]-∞,2[ ∪ ]3,∞[", "(-∞,2)∪(3,∞)"),
        ("[1;2]", "[1,2]"),
        (r"(-\infty,\infty)", r"\mathbb{R}"),
        ("all real numbers", r"\mathbb R"),
        (r"x\neq 2", r"(-\infty,2)\cup(2,\infty)"),
        (r"\mathbb{R}\setminus\{2\}", r"x \neq 2"),
        (r"\{x\mid x>2\}", r"(2,\infty)"),
        (r"\{x \in \mathbb{R} : 1<x<2\}", "(1,2)"),
        (r"\{x|x>2\}", r"\{y|y>2\}"),
        ("no solution", r"\emptyset"),
        ("no real solutions", "no solution"),
        ("a<b<c", "c>b>a"),
        (r"\text{Area}>2", "A>2"),
        ("[1, 2, 3]", "1,2,3"),
        ("<1,2>", "(1,2)"),
        (r"\{(1,2)\}", "(1,2)"),
    ],
    "tuples and matrices": [
        ("(x,y)=(2,1)", "(2,1)"),
        ("(x, y) = (2, 1)", "x=2, y=1"),
        ("y=1, x=2", "(2,1)"),
        ("c=3, a=1, b=2", "(1,2,3)"),
        ("m=2, b=3", "(2,3)"),
        ("(m,b)=(2,3)", "(2,3)"),
        (r"(r,\theta)=(2,\pi)", r"(2,\pi)"),
        (r"\begin{pmatrix}1\\2\\3\end{pmatrix}", "(1,2,3)"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,2],[3,4]]"),
    ],
    "equations and formulas": [
        ("5=x", "5"),
        ("5 = x", "x=5"),
        ("x:=5", "5"),
        ("x==5", "5"),
        ("+/-3", "3,-3"),
        (r"\pm 1, \pm 2", "-2,-1,1,2"),
        ("x=±1 or x=±2", "1,-1,2,-2"),
        ("x≡3 (mod 7)", "3"),
        (r"3 \pmod 7", r"x \equiv 3 \pmod{7}"),
        (r"x=2k\pi, k \in \mathbb{Z}", r"2k\pi"),
        (r"2k\pi (k∈ℤ)", r"2k\pi"),
        (r"{5 \choose 2}", "10"),
        (r"\dbinom52", "10"),
        (r"\frac\pi4", r"\pi/4"),
        ("x^-1", "1/x"),
        (r"\lg 100", "2"),
        (r"\log_e 2", r"\ln 2"),
        (r"\text{lcm}(4,6)", "12"),
        (r"\mathrm{sin}(x)", r"\sin x"),
        ("H2O", r"\text{H}_2\text{O}"),
        ("U.S.A.", "USA"),
        ("Washington, D.C.", "Washington, DC"),
    ],
}
DIFFERENT = {
    "units and directions": [
        ("1 hour 30 minutes", "1 hour"),
        ("1 hour 30 minutes", "90 minutes"),
        ("5 feet 6 inches", "6 feet 5 inches"),
        ("3 Mg", "3 mg"),
        ("5 MPa", "5 mPa"),
        ("3 MeV", "3 meV"),
        ("5 M", "5 m"),
        ("5 miles walked", "5 km walked"),
        ("5 red balls", "5 blue balls"),
        ("3 squared", "3"),
        ("5th", "5t"),
        ("500 yen", "500 yuan"),
        ("10% increase", "10% decrease"),
        ("10 more", "10 less"),
        ("5 km north", "5 km south"),
        ("$5 profit", "$5 loss"),
        ("5 per day", "5 per week"),
        ("$5/kg", "€5/kg"),
        ("33.33%", "1/3"),
    ],
    "numbers and prices": [
        ("$1.5M", "1.5"),
        ("$5k", "$5"),
        ("$1,20", "120"),
        ("1,5", "1.5"),
        ("minus 5", "5"),
        ("1.2e3", "1234"),
        ("1.23457e5", "123456"),
        ("৫", "6"),
    ],
    "choices and verdicts": [
        ("(B) and (C)", "B"),
        ("B, and C", "B"),
        ("Option B and C", "B"),
        ("option A or option B", "A"),
        ("A: 5, B: 6", "A"),
        ("(A) 3 (B) 4", "A"),
        ("B/C", "B"),
        ("B is not correct", "B"),
        ("true, false", "true"),
        ("no, yes", "no"),
        ("true, false, true", "true, true, false"),
    ],
    "times": [
        ("4", "3 pm"),
        ("7", "3:00"),
        ("12:00 PM", "0"),
        ("15", "3:10"),
    ],
    "sets and intervals": [
        ("]1,2[", "[1,2]"),
        ("[1,2[", "[1,2]"),
        ("(1;2)", r"\{1,2\}"),
        (r"x\neq 2", r"x\neq 3"),
        (r"\{x\in\mathbb{Z}: x>2\}", r"(2,\infty)"),
        (r"\{\emptyset\}", r"\emptyset"),
        (r"\{\{1,2\}\}", r"\{1,2\}"),
        ("x>2", "y>2"),
        ("a<b<c", "a<c<b"),
        ("no solution", "0"),
        ("[1,3,2]", "[1,2,3]"),
    ],
    "tuples and matrices": [
        ("(x,y)=(2,1)", "(1,2)"),
        ("(x,y)=(2,1)", "(a,b)=(2,1)"),
        ("y=1, x=2", "(1,2)"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(2,1)"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\{1,2\}"),
        (r"\begin{vmatrix}1\\2\end{vmatrix}", "(1,2)"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,3],[2,4]]"),
    ],
    "equations and formulas": [
        ("5=x", "6"),
        ("5=x", "y=5"),
        (r"\pm 1, \pm 2", r"\pm1,\pm3"),
        (r"x \equiv 3 \pmod 7", r"x\equiv 3 \pmod{5}"),
        ("7 mod 3", "7"),
        ("CO_2", "CO"),
        ("2_{10}", "210"),
        ("5-", "5"),
    ],
}


def by_kind(kinds):
    return [
        pytest.param(answer, label, id=f"{kind}: {answer} - {label}")
        for kind, pairs in kinds.items()
        for answer, label in pairs
    ]


@pytest.mark.parametrize(("answer", "label"), by_kind(SAME))
def test_spellings_of_one_answer_are_the_same_both_ways(answer, label):
    assert is_same_answer(answer, label)
    assert is_same_answer(label, answer)


@pytest.mark.parametrize(("answer", "label"), by_kind(DIFFERENT))
def test_an_answer_that_only_looks_like_the_label_is_wrong(answer, label):
    assert not is_same_answer(answer, label)


@pytest.mark.parametrize("label", ["3+", ",5", "***", "9 " * 501])
def test_a_label_that_cannot_be_read_has_no_result_and_as_an_answer_it_is_wrong(label):
    with pytest.raises(NotComparedError):
        is_same_answer("5", label)
    assert not is_same_answer(label, "5")
