"""What every command line has in common, as `prm` and as `manage.py`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandParser

from common.commands import ProjectCommand
from prm_site import __main__ as program
from prm_site.command_line import CommandLine
from prm_site.command_table import COMMANDS, VERBS

OURS = [
    name
    for name in get_commands()
    if isinstance(load_command_class(get_commands()[name], name), ProjectCommand)
]
"""The commands of the project."""
LISTED = [entry.name for group in COMMANDS.values() for entry in group]
DJANGOS = (
    "--settings", "--pythonpath", "--traceback", "--no-color", "--force-color", "--skip-checks",
    "--version", "--verbosity",
)  # fmt: skip


def parser_of(name: str, prog: str = "prm") -> CommandParser:
    return load_command_class(get_commands()[name], name).create_parser(prog, name)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = 0
    try:
        CommandLine(["/somewhere/prm", *words]).execute()
    except SystemExit as end:
        status = int(end.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def test_the_overview_has_every_command_of_the_project_once():
    assert len(OURS) > 20
    assert len(LISTED) == len(set(LISTED))
    assert set(OURS) <= set(LISTED) <= set(get_commands())
    assert not VERBS.keys() & get_commands().keys()
    assert set(VERBS) == {"verify", "seed", "grow", "measure", "pair", "bundle", "export"}


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_has_one_line_a_command(words, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["manage.py", *words])

    program.main()

    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == LISTED
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.parametrize("name", OURS)
def test_help_has_our_options_and_not_those_of_django_which_work(name: str):
    text = parser_of(name).format_help()

    assert [option for option in DJANGOS if re.search(rf"{option}\b", text)] == []
    assert "-v " not in text
    known = parser_of(name)._option_string_actions
    assert {"--traceback", "--settings", "-v"} <= known.keys()


@pytest.mark.parametrize("name", OURS)
def test_options_have_one_spelling_in_help_and_examples(name: str):
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("prm", name)
    own = [one for one in parser._option_string_actions if one not in DJANGOS]

    assert [one for one in own if "-" in one[2:].removeprefix("no-")] == []
    shown = re.findall(r"--[a-z][\w-]*", parser.format_help())
    assert [one for one in shown if "-" in one[2:].removeprefix("no-")] == []


def test_examples_begin_as_the_program_was_called():
    assert "\n  prm demo --exit" in parser_of("demo", "/venv/bin/prm").format_help()
    assert "\n  python manage.py demo --exit" in parser_of("demo", "manage.py").format_help()


@pytest.mark.parametrize(("verb", "name"), VERBS.items())
def test_a_short_name_is_the_command(verb: str, name: str, capsys):
    status, out, _ = run(capsys, verb, "--help")

    assert status == 0
    expected = load_command_class(get_commands()[name], name)
    assert out.startswith(f"usage: prm {verb} ")
    assert " ".join(expected.help.split())[:60] in " ".join(out.split())
    assert run(capsys, "help", verb)[1] == out


@pytest.mark.django_db
@pytest.mark.parametrize("option", ["--forest-name", "--forest_name", "--forest-na"])
@pytest.mark.parametrize("command", ["recount_forest", "recount-forest"])
def test_both_spellings_reach_the_command(command: str, option: str, capsys):
    status, _, err = run(capsys, command, option, "none-there")

    assert status == 1
    assert "no forest named 'none-there'" in err


def test_an_error_names_an_option_as_help_does(capsys):
    status, _, err = run(capsys, "seed", "--dataset-config-name", "x", "--forest-name-suffix", "y")

    assert status == 2
    assert err == ("Error: the following arguments are required: --dataset_split (see --help)\n")


def test_commands_of_others_take_both_spellings_too(capsys):
    status, out, _ = run(capsys, "rqworker-pool", "--num_workers", "2", "--help")

    assert status == 0
    assert "--num-workers" in out


@pytest.mark.parametrize("words", [["--version"], ["version"]])
def test_the_version_is_that_of_the_project(words, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["prm", *words])

    program.main()

    told = re.search(r'^version = "(.+)"$', Path("pyproject.toml").read_text(), re.MULTILINE)
    assert told is not None
    assert capsys.readouterr().out == f"prm {told[1]}\n"


def test_a_relative_home_is_the_same_folder_for_child_processes(tmp_path: Path):
    code = (
        "import os, subprocess, sys\n"
        "from common.places import HOME_DIR\n"
        "os.makedirs(HOME_DIR, exist_ok=True)\n"
        "child = 'from common.places import HOME_DIR; print(HOME_DIR)'\n"
        "print(HOME_DIR, flush=True)\n"
        "subprocess.run([sys.executable, '-c', child], cwd=HOME_DIR, check=True)"
    )
    here = str(Path.cwd())
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PRM_HOME": "work", "PYTHONPATH": here},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert told == [str(tmp_path / "work")] * 2
