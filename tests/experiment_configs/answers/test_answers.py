import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiment_configs.answers import (
    MAX_ANSWER_LENGTH,
    extract_last_answer,
    formulas,
    is_same_answer,
)
from experiment_configs.answers.plain import canonical

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("2 + 3 = 5\n#### 5", "5"),
        ("#### 1\nNo, again.\n#### 2\nDone.", "2"),
        ("#### $1,200.", "$1,200"),
        ("#### **18** ", "18"),
        ("So \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{x^{2_{3}}} and more", "x^{2_{3}}"),
        ("\\boxed {5}", "5"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{\\boxed{7}}", "7"),
        ("{\\boxed{7}", "7"),
        ("The answer is 3.5.", "3.5"),
        ("The answer is 3.5. So we are done.", "3.5"),
        ("the final answer is: 12", "12"),
        ("THE ANSWER IS 12", "12"),
        ("The answer is:\n\n$$x = 4$$", "x = 4"),
        ("The answer is $1,200.", "$1,200"),
        ("The answer is **true**.\nThat was easy.", "true"),
        ("The answer is the answer is 9", "9"),
        ("The answer is $\\boxed{5}$.", "5"),
        ("\\boxed{3}. No: the answer is 4.", "4"),
        ("The answer is 4. As I said, \\boxed{3}", "3"),
        ("#### \\(10\\)", "10"),
        ("#### 7\n#### Step 8: check", "7"),
        ("#### 7\n#### Conclusion:", "7"),
        ("#### 7\n##### 8", "7"),
        ("#### 5\n\\boxed{6", "5"),
        ("The answer is 6\nThe answer is", "6"),
        ("\\boxed{4}\n\\boxed{}", "4"),
    ],
)
def test_the_answer_stated_last_is_found(text, answer):
    assert extract_last_answer(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "", "5", "so we get 5", "####", "\\boxed{5", "\\boxed{}", "The answer is",
        "The answer is .", "Answers: 5", "#### Step 1: add",
        "#### " + "9" * (MAX_ANSWER_LENGTH + 1),
    ],
)  # fmt: skip
def test_a_text_that_states_no_answer_has_none(text):
    assert extract_last_answer(text) is None


@pytest.mark.parametrize(
    "piece",
    [
        "\\boxed{", "{", "}", "\\boxed{}", "\\boxed   ", "#", "#### ", "####\n", "answer is ",
        "answer is.", "answer ", "answer is:\n", "$*", "\\", "#### $*$*\n",
    ],
)  # fmt: skip
def test_hostile_texts_of_a_million_characters_take_little_time(piece):
    text = piece * (1_000_000 // len(piece))
    start = time.perf_counter()
    extract_last_answer(text)
    assert time.perf_counter() - start < 5  # quadratic time would be hours


@given(st.text(alphabet="#\\boxed{} answer is:.$*\n5", max_size=60))
def test_whatever_is_found_is_a_clean_part_of_the_text(text):
    answer = extract_last_answer(text)
    if answer is not None:
        assert answer
        assert answer in text
        assert answer == answer.strip()


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("18", "18"),
        ("18.0", "18"),
        ("18.", "18"),
        ("+18", "18"),
        ("018", "18"),
        (".5", "0.5"),
        ("1e3", "1000"),
        ("1,200", "1200"),
        ("1{,}200", "1,200"),
        ("$1,200", "1200"),
        ("\\$18", "18"),
        ("$18$", "18"),
        ("$18$ dollars", "18"),
        ("$18", "18 dollars"),
        ("18 USD", "$18"),
        ("18€", "€18"),
        ("-$5", "-5"),
        ("\u22125", "-5"),
        ("18 dollars per hour", "18"),
        ("5\\text{ cm}^2", "5"),
        ("5km", "5"),
        ("90^\\circ", "90"),
        ("90 degrees", "90°"),
        ("2 million", "2,000,000"),
        ("50%", "50"),
        ("50\\%", "1/2"),
        ("20 percent", "20%"),
        ("1/2", "0.5"),
        ("\\dfrac{1}{2}", "\\frac12"),
        ("-\\frac{1}{2}", "-1/2"),
        ("3\\frac{1}{2}", "3.5"),
        ("3 1/2", "7/2"),
        ("-1 1/2", "-1.5"),
        ("**5**", "5"),
        ("True.", "true"),
        ("Yes, he does.", "yes"),
        ("NO", "No"),
        ("(B)", "B"),
        ("b", "B"),
        ("B) fourteen", "(B)"),
        ("(B) 14", "B"),
        ("\\text{(B)}", "B"),
        ("\\text{Evelyn}", "evelyn"),
        ("x + 1", "x+1"),
        ("\\left( 1, 2 \\right)", "(1,2)"),
    ],
)
def test_spellings_of_one_answer_are_the_same_without_math_verify(monkeypatch, answer, label):
    monkeypatch.setattr(formulas, "_started", _refuse)
    assert is_same_answer(answer, label)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("14", "4"),
        ("4", "14"),
        ("4.5", "4"),
        ("-4", "4"),
        ("1 2", "12"),
        ("1,20", "120"),
        ("5 km", "5 m"),
        ("$18", "18 cents"),
        ("18€", "$18"),
        ("2 million", "2"),
        ("5x", "5"),
        ("18 apples and 3 pears", "18"),
        ("18 apples and 3 pears", "3"),
        ("between 18 and 20", "20"),
        ("not 5", "5"),
        ("50%", "0.05"),
        ("1/0", "0"),
        ("false", "true"),
        ("no one knows", "no"),
        ("1", "true"),
        ("C", "B"),
        ("(C) B", "B"),
        ("x", "X"),
        ("listen", "silent"),
        ("", "5"),
        ("...", "***"),
        ("{{{{", "}}}}"),
        ("\\frac{1}{0}", "1"),
        ("(1,2)", "(2,1)"),
        ("[1,2]", "(1,2)"),
        ("x^2+2", "x^2+1"),
    ],
)
def test_other_answers_are_not_the_same(answer, label):
    assert not is_same_answer(answer, label)


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("1+x^2", "x^2+1"),
        ("2\\sqrt{3}", "\\sqrt{12}"),
        ("sqrt(12)", "2\\sqrt{3}"),
        ("6*pi", "6\\pi"),
        ("x = 5", "5"),
        ("3 + 4 = 7", "7"),
        ("\\{2, 1\\}", "\\{1,2\\}"),
        ("10^2", "100"),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"),
        ("\\(\\frac{x}{2}\\)", "0.5x"),
    ],
)
def test_equal_formulas_are_the_same(answer, label):
    assert is_same_answer(answer, label)


@pytest.mark.parametrize(
    "answer",
    ["9**9**9**9", "5!!!!!!!!!", "10^{10^{10}}", "\\frac{1}{0}", "\\" * 900, "(" * 900, "\ud800"],
)
def test_hostile_answers_are_wrong_and_leave_grading_intact(answer):
    start = time.perf_counter()
    assert not is_same_answer(answer, "4")
    assert time.perf_counter() - start < formulas.DEADLINE_SECONDS + 10
    assert is_same_answer("y + 4", "4 + y")


@given(st.fractions(), st.sampled_from(["", " apples", " dollars", "°", "."]))
def test_a_fraction_is_the_same_in_any_unit_and_no_other_number_is(number, unit):
    assert is_same_answer(f"{number}{unit}", str(number))
    assert not is_same_answer(f"{number + Fraction(1, 3)}{unit}", str(number))


@given(st.text(max_size=30))
def test_every_text_is_the_same_as_itself(text):
    assert is_same_answer(text, text)


def test_texts_that_are_too_long_are_compared_letter_by_letter():
    long = "9" * 1_000_000
    assert is_same_answer(long, f" {long}")
    assert not is_same_answer(long, "9")


def test_a_comparison_works_from_threads():
    pairs = [(f"{n} + z", f"z + {n}") for n in range(8)] + [(f"{n} + z", "z") for n in range(1, 9)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda pair: is_same_answer(*pair), pairs))
    assert found == [True] * 8 + [False] * 8


def test_a_killed_child_is_replaced():
    assert is_same_answer("1 + k", "k + 1")
    process = formulas._child._process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert is_same_answer("2 + k", "k + 2")


def test_an_interrupted_comparison_leaves_no_reply_to_the_next(monkeypatch):
    assert is_same_answer("1 + i", "i + 1")
    read = formulas._reply

    def interrupted(process, question):
        process.stdin.write(question + "\n")
        process.stdin.flush()
        raise KeyboardInterrupt

    monkeypatch.setattr(formulas, "_reply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        is_same_answer("2 + i", "i + 2")
    monkeypatch.setattr(formulas, "_reply", read)
    assert not is_same_answer("3 + i", "i + 4")


def test_a_math_verify_that_does_not_start_is_an_error_and_not_a_wrong_answer(monkeypatch):
    monkeypatch.setattr(formulas, "_child", formulas._Child())
    monkeypatch.setattr(formulas, "_CHILD", Path("nowhere.py"))
    with pytest.raises(RuntimeError, match="math-verify does not start"):
        is_same_answer("1 + n", "n + 1 + m")


def test_a_forked_worker_compares_and_ends_without_leaving_a_process():
    script = """
import os
from experiment_configs.answers import formulas
from experiment_configs.answers import is_same_answer

assert is_same_answer("1 + x", "x + 1")
parent = formulas._child._process.pid
worker = os.fork()
if worker == 0:
    assert is_same_answer("2 + x", "x + 2")
    assert formulas._child._process.pid != parent
    print(formulas._child._process.pid, flush=True)
    os._exit(0)  # as RQ's work horse does, without `atexit`
assert os.waitpid(worker, 0)[1] == 0
assert is_same_answer("3 + x", "x + 3")
print(parent, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    pids = [int(pid) for pid in done.stdout.split()]
    deadline = time.monotonic() + 10
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def _refuse() -> None:
    pytest.fail("this comparison needs no formula")


@pytest.mark.parametrize(
    "answers",
    [("18", "18.0", "$18", "18 dollars"), ("(B)", "b", "B."), ("Pants on Fire", "pants on fire")],
)
def test_answers_that_are_the_same_have_one_spelling(answers: tuple[str, ...]):
    assert len(set(map(canonical, answers))) == 1


def test_a_text_too_long_for_an_answer_is_its_own_spelling():
    text = "^" + " " * 100_000 + "X"
    assert canonical(text) == text
