import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import pytest

from common import child_process
from common.child_process import ChildProcess
from experiment_configs.answers import NotComparedError, is_same_answer
from experiment_configs.answers.comparison import formulas

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def new_child(monkeypatch):
    """Return a function that replaces the child by one with this limit of processor time."""
    children = []

    def start(processor_seconds):
        children.append(ChildProcess(formulas._SCRIPT, str(processor_seconds)))
        monkeypatch.setattr(formulas, "_child", children[-1])

    yield start
    for child in children:
        child.stop()


@pytest.mark.parametrize(
    "answer",
    ["9^{9^{9^{9}}}", "5!!!!!!!!!", "10^{10^{10^{10}}}", r"\sum_{n=1}^{10^9} \frac{1}{n!}"],
)
def test_a_formula_without_end_has_no_result_and_leaves_grading_intact(answer, new_child):
    new_child(1.0)
    with pytest.raises(NotComparedError):
        is_same_answer(answer, "4")
    assert is_same_answer("y + 4", "4 + y")


def test_a_missing_result_is_not_kept_for_the_next_time(new_child):
    pair = (r"\sqrt{2+\sqrt{3}}+h", r"\frac{\sqrt{6}+\sqrt{2}}{2}+h")
    new_child(0.001)
    with pytest.raises(NotComparedError):
        is_same_answer(*pair)
    new_child(3.0)
    assert is_same_answer(*pair)


def test_time_in_which_the_child_does_not_run_is_not_counted(new_child):
    new_child(0.5)
    assert is_same_answer("1 + p", "p + 1")
    child = formulas._child._process
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(is_same_answer, "2 + p", "p + 2")
        time.sleep(1)
        assert not waiting.done()
        os.kill(child.pid, signal.SIGCONT)
        assert waiting.result()


def test_a_child_that_never_replies_is_given_up(monkeypatch):
    monkeypatch.setattr(formulas, "WALL_SECONDS", 0.5)
    assert is_same_answer("1 + g", "g + 1")
    child = formulas._child._process
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(NotComparedError):
        is_same_answer("2 + g", "g + 2")
    monkeypatch.undo()
    assert is_same_answer("2 + g", "g + 2")


def test_lists_of_formulas_cost_bounded_time(monkeypatch):
    asked = []

    def compare(kind, answer, label):
        asked.append(answer)
        return answer.removeprefix("x+") == label.removesuffix("+x")

    monkeypatch.setattr(formulas, "_compare", compare)
    forwards = [f"x+{number}y" for number in range(60)]
    backwards = [f"{number}y+x" for number in reversed(range(60))]
    assert is_same_answer(",".join(forwards[:20]), ",".join(backwards[-20:]))
    asked.clear()
    with pytest.raises(NotComparedError, match="too many formulas"):
        is_same_answer(",".join(forwards), ",".join(backwards))
    assert len(asked) == formulas.MAX_COMPARISONS


def test_a_formula_has_a_value_to_many_digits():
    value = formulas.evaluate_formula(r"\sqrt{2}")
    assert value is not None
    assert abs(value**2 - 2) < Fraction(1, 10**35)
    assert formulas.evaluate_formula("x") is None
    assert formulas.evaluate_formula("+ *") is None


def test_a_rounded_number_has_no_result_if_the_formula_takes_too_long_to_evaluate(new_child):
    new_child(0.001)
    with pytest.raises(NotComparedError, match="cannot be evaluated"):
        formulas.evaluate_formula(r"\sqrt{3}")
    new_child(3.0)
    assert formulas.evaluate_formula(r"\sqrt{3}") is not None


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
    read = child_process._reply

    def interrupted(process, question, seconds):
        process.stdin.write(question + "\n")
        process.stdin.flush()
        raise KeyboardInterrupt

    monkeypatch.setattr(child_process, "_reply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        is_same_answer("2 + i", "i + 2")
    monkeypatch.setattr(child_process, "_reply", read)
    assert not is_same_answer("3 + i", "i + 4")


def test_a_child_that_does_not_start_is_an_error_and_not_a_wrong_answer(monkeypatch):
    monkeypatch.setattr(formulas, "_child", ChildProcess(Path("nowhere.py"), "3"))
    with pytest.raises(RuntimeError, match=r"does not start: run `python nowhere.py 3` to see why"):
        is_same_answer("1 + n", "n + 1 + m")


def test_a_forked_worker_compares_and_ends_without_leaving_a_process():
    script = """
import os
from experiment_configs.answers import is_same_answer
from experiment_configs.answers.comparison import formulas

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
