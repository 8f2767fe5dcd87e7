"""Writes a table of how each consumer read the exports: `build/interop.md`.

`RENEW_INTEROP=1` also replaces the rows of this run in `docs/interop.md`.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from forests.models import Forest
from tests.forests.factories import QUESTION, add_trees, make_forest
from tests.interop.consumers import CONSUMERS
from tests.interop.table import HEAD, NOT_RUN, Row, renewed
from tests.preferences.trees import addition_tree

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "build" / "interop.md"
DOCUMENT = ROOT / "docs" / "interop.md"
BEGIN, END = "<!-- interop: begin -->\n", "<!-- interop: end -->"


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


_rows: dict[str, Row] = {}
_files: set[Path] = set()


@pytest.hookimpl(tryfirst=True)  # before -k leaves out tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    _files.update(item.path for item in items)
    for item in items:
        if mark := item.get_closest_marker("reads"):
            key, name, container, checked = mark.args
            one = CONSUMERS[key]
            version = one.version or f"checkout named by `{one.checkout}`"
            success = "trained two steps" if mark.kwargs.get("trains", True) else "read"
            success = mark.kwargs.get("finds", success)
            commit = one.commit()
            success = f"{success} ({commit})" if commit else success
            form = f"`{name}` ({container})"
            _rows[item.nodeid] = Row(one.name, version, form, checked, success)


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


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not _rows:
        return
    REPORT.parent.mkdir(exist_ok=True)
    rows = list(_rows.values())
    REPORT.write_text(HEAD + "".join(f"{row.line}\n" for row in rows))
    if os.environ.get("RENEW_INTEROP"):
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        table, _, after = rest.partition(END)
        has_all_files = _files >= set(Path(__file__).parent.glob("test_*.py"))
        is_whole = has_all_files and not any("::" in one for one in session.config.args)
        new = renewed(table, rows, is_whole=is_whole)
        DOCUMENT.write_text(f"{before}{BEGIN}{new}{END}{after}")
