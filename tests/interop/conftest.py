"""Writes a table of how each consumer read the exports: `build/interop.md`.

`RENEW_INTEROP=1` also replaces the rows of this run in `docs/interop.md`.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from forests.models import Forest
from tests.forests.factories import QUESTION, add_trees, make_forest
from tests.interop.consumers import CONSUMERS
from tests.preferences.trees import addition_tree

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "build" / "interop.md"
DOCUMENT = ROOT / "docs" / "interop.md"
BEGIN, END = "<!-- interop: begin -->\n", "<!-- interop: end -->"
HEAD = "| program | version | `--format` | checked | result |\n|---|---|---|---|---|\n"
NOT_RUN = "not run"


@pytest.fixture
def forest(db) -> Forest:
    return _with_pairs(make_forest("additions-test-first"), question=QUESTION)


@pytest.fixture
def chats(db) -> Forest:
    """Return a forest with chats as prompts."""
    worker_config = {**make_forest("x-test-first").worker_config, "api": "chat"}
    prompt = [{"role": "system", "content": "Add."}, {"role": "user", "content": "2 + 3?"}]
    return _with_pairs(make_forest("chats-test-first", worker_config=worker_config), prompt=prompt)


def _with_pairs(forest: Forest, **fields: Any) -> Forest:
    forest = add_trees(forest, [addition_tree() for _ in range(2)], **fields)
    words = ["--forest_name", forest.name, "--set_name", "all", "--pairing", "all_pairs"]
    call_command("create_preferences", "--min_confidence", "0", *words)
    return forest


@dataclass(slots=True)
class _Row:
    subject: str
    """The columns that name the row."""
    success: str
    result: str = NOT_RUN


_rows: dict[str, _Row] = {}


@pytest.hookimpl(tryfirst=True)  # before -k leaves out tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if mark := item.get_closest_marker("reads"):
            key, name, container, checked = mark.args
            one = CONSUMERS[key]
            version = one.version or f"checkout named by `{one.checkout}`"
            subject = f"| {one.name} | {version} | `{name}` ({container}) | {checked} | "
            success = "trained two steps" if mark.kwargs.get("trains", True) else "read"
            success = mark.kwargs.get("finds", success)
            commit = one.commit()
            _rows[item.nodeid] = _Row(subject, f"{success} ({commit})" if commit else success)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    row = _rows.get(report.nodeid)
    if row is None:
        return
    if report.failed:
        row.result = "failed"
    elif report.skipped and isinstance(report.longrepr, tuple):
        row.result = f"{NOT_RUN}: {report.longrepr[2].removeprefix('Skipped: ')}"
    elif report.when == "call":
        row.result = row.success


def pytest_sessionfinish() -> None:
    if not _rows:
        return
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(HEAD + "".join(f"{row.subject}{row.result} |\n" for row in _rows.values()))
    if os.environ.get("RENEW_INTEROP"):
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        table, _, after = rest.partition(END)
        old = table.splitlines()
        lines = [_renewed(row, old) for row in _rows.values()]
        DOCUMENT.write_text(f"{before}{BEGIN}{HEAD}{''.join(lines)}{END}{after}")


def _renewed(row: _Row, old: list[str]) -> str:
    """Return the line of a row; a row that did not run keeps the line of an earlier run."""
    if row.result == NOT_RUN:
        for line in old:
            if line.startswith(row.subject):
                return f"{line}\n"
    return f"{row.subject}{row.result} |\n"
