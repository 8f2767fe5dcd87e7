"""The runner of all benchmarks, here with small scripts of our own, in real processes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from benchmarks.peers import PEERS
from benchmarks.run_all import BENCHMARKS, PROJECT, main
from tests.waiting import wait_until

GROWING = """
    import json, sys
    case = "small" if "--quick" in sys.argv else "large"
    measure = {
        "case": case, "baseline": "a bare loop", "unit": "requests/s", "figure": 1080.0,
        "baseline_figure": 1200.0, "at_least": 0.9, "at_most": None, "note": "",
    }
    print("growing …", file=sys.stderr)
    print(json.dumps({"benchmark": "growing", "measures": [measure], "results": [1, 2]}))
"""
SLOW = GROWING.replace("1080.0", "600.0")
BROKEN = """
    import sys
    print("reading …", file=sys.stderr)
    raise RuntimeError("the forest did not grow: [0]")
"""
SILENT = "raise SystemExit(4)"
TALKATIVE = "print('ratio: 0.9')"
OF_ANOTHER_SHAPE = "print('{\"results\": []}')"
WITH_A_SERVER = """
    import os, pathlib, subprocess, sys, time
    server = subprocess.Popen(["sleep", "600"])
    pathlib.Path(__file__).with_suffix(".pid").write_text(f"{server.pid}\\n")
"""
ABORTING = f"{WITH_A_SERVER}    os.abort()"
ENDLESS = f"""{WITH_A_SERVER}
    try:
        time.sleep(600)
    finally:
        pathlib.Path(__file__).with_suffix(".cleaned").touch()
"""

Run = Callable[..., int]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "found" / "benchmarks.json"


@pytest.fixture
def run(tmp_path: Path, output: Path) -> Run:
    """Run these scripts by name; return the exit code."""

    def run(scripts: Mapping[str, str], *arguments: str) -> int:
        return main(["--output", str(output), *arguments], write(tmp_path, scripts))

    return run


def write(folder: Path, scripts: Mapping[str, str]) -> dict[str, Path]:
    paths = {name: folder / f"{name}.py" for name in scripts}
    for name, source in scripts.items():
        paths[name].write_text(dedent(source))
    return paths


def rows(printed: str) -> list[list[str]]:
    """Return the cells of the Markdown table, without its head."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; a zombie has."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def server_of(folder: Path, name: str) -> int | None:
    path = folder / f"{name}.pid"
    text = path.read_text() if path.exists() else ""
    return int(text) if text.endswith("\n") else None


def test_each_measure_is_a_row_with_baseline_ratio_and_goal(run: Run, capsys: Any):
    assert run({"growing": GROWING, "slow": SLOW}) == 0

    baseline = "a bare loop: 1,200.0 requests/s"
    assert rows(capsys.readouterr().out) == [
        ["growing", "large", baseline, "1,080.0 requests/s", "0.90", "at least 0.9", "yes"],
        ["slow", "large", baseline, "600.0 requests/s", "0.50", "at least 0.9", "no"],
    ]


def test_the_machine_stands_above_the_table(run: Run, capsys: Any):
    run({"growing": GROWING})

    machine, _, _ = capsys.readouterr().out.partition("| benchmark")
    assert re.search(r"\d+ cores, [\d.]+ GiB, load [\d.]+\n", machine)
    assert f"Python {sys.version.split()[0]}" in machine
    assert re.search(r"20\d\d-\d\d-\d\dT.*, commit \w+", machine)
    assert re.search(r"pymongo \d.*openai \d", machine)


def test_everything_is_written_as_json(run: Run, output: Path):
    run({"growing": GROWING, "broken": BROKEN})

    found = json.loads(output.read_text())
    growing, broken = found["benchmarks"]
    (measure,) = growing["measures"]
    assert found["machine"]["cores"] >= 1
    assert found["is_quick"] is False
    assert (measure["figure"], measure["ratio"], measure["is_met"]) == (1080.0, 0.9, True)
    assert growing["details"]["results"] == [1, 2]
    assert growing["seconds"] > 0
    assert (broken["measures"], "did not grow" in broken["failure"]) == ([], True)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (BROKEN, "RuntimeError: the forest did not grow: [0]"),
        (SILENT, "ended with 4"),
        (TALKATIVE, "printed no JSON"),
        (OF_ANOTHER_SHAPE, "no measures: KeyError('measures')"),
    ],
)
def test_a_benchmark_that_fails_is_a_row_and_the_others_go_on(
    run: Run, capsys: Any, script: str, reason: str
):
    assert run({"failing": script, "growing": GROWING}) == 3

    failed, grown = rows(capsys.readouterr().out)
    assert failed[0] == "failing"
    assert failed[1].startswith("FAILED: ")
    assert reason in failed[1]
    assert grown[0] == "growing"


def test_what_a_benchmark_says_is_kept_beside_the_json(run: Run, output: Path):
    run({"broken": BROKEN})

    log = (output.parent / "benchmarks" / "broken.log").read_text()
    assert log.startswith("reading …")
    assert "Traceback" in log
    assert str(output.parent / "benchmarks" / "broken.log") in output.read_text()


def test_only_those_asked_for_run_and_in_that_order(run: Run, capsys: Any):
    assert run({"growing": GROWING, "broken": BROKEN, "slow": SLOW}, "--only", "slow,growing") == 0

    assert [row[0] for row in rows(capsys.readouterr().out)] == ["slow", "growing"]


@pytest.mark.parametrize("names", ["groving", "growing,groving", ","])
def test_an_unknown_name_is_refused_before_anything_runs(
    run: Run, capsys: Any, output: Path, names: str
):
    with pytest.raises(SystemExit) as ended:
        run({"growing": GROWING}, "--only", names)

    assert ended.value.code == 2
    assert "there are growing" in capsys.readouterr().err.splitlines()[-1]
    assert not output.parent.exists()


def test_quick_reaches_every_benchmark(run: Run, capsys: Any, output: Path):
    run({"growing": GROWING, "slow": SLOW}, "--quick")

    assert [row[1] for row in rows(capsys.readouterr().out)] == ["small", "small"]
    assert json.loads(output.read_text())["is_quick"] is True


def test_the_servers_of_a_benchmark_that_died_are_stopped(run: Run, tmp_path: Path):
    assert run({"aborting": ABORTING}) == 3

    server = server_of(tmp_path, "aborting")
    assert server is not None
    wait_until(lambda: is_gone(server))


def test_ctrl_c_stops_the_benchmark_and_keeps_what_was_finished(tmp_path: Path, output: Path):
    paths = write(tmp_path, {"growing": GROWING, "endless": ENDLESS})
    code = f"""
        import signal, sys
        from pathlib import Path
        from benchmarks.run_all import main
        # A shell may have started the tests with Ctrl-C ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        scripts = {{name: Path(path) for name, path in {[(n, str(p)) for n, p in paths.items()]}}}
        sys.exit(main(["--output", {str(output)!r}], scripts))
    """
    runner = subprocess.Popen(
        [sys.executable, "-c", dedent(code)], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: server_of(tmp_path, "endless") is not None)

    runner.send_signal(signal.SIGINT)
    printed, _ = runner.communicate(timeout=30)

    assert runner.returncode == 130
    assert [row[0] for row in rows(printed)] == ["growing"]
    assert [one["benchmark"] for one in json.loads(output.read_text())["benchmarks"]] == ["growing"]
    server = server_of(tmp_path, "endless")
    assert server is not None
    wait_until(lambda: is_gone(server))
    assert (tmp_path / "endless.cleaned").exists()


def test_every_script_that_can_be_run_is_among_them():
    scripts = {
        path.stem
        for path in (PROJECT / "benchmarks").glob("*.py")
        if '\nif __name__ == "__main__":' in path.read_text()
    }

    # The runner itself, the simulated server, a count that takes no time, a conversion of published
    # judgements, and what runs in the environment of the peers.
    others = {
        "__main__",
        "agent_process_bench",
        "openai_simulator",
        "answers",
        *(Path(script).stem for script in PEERS.values()),
    }
    assert scripts - others == set(BENCHMARKS)


def test_each_of_them_can_be_asked_for_its_usage():
    children = [
        subprocess.Popen(
            [sys.executable, str(path), "--help"], cwd=PROJECT, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": ""},
        )
        for path in BENCHMARKS.values()
    ]  # fmt: skip

    for child in children:
        printed, _ = child.communicate(timeout=60)
        assert child.returncode == 0
        assert "--quick" in printed
        assert "--json" in printed
