"""The programs that browser tests need, and what happens if one is missing."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

_PROJECT = Path(__file__).resolve().parents[2]
_CHECKERS = _PROJECT / "build" / "checkers" / "node_modules"
_NODE_VERSION = 20
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

SCREENSHOTS = Path(os.environ.get("TEST_SCREENSHOTS") or _PROJECT / "build" / "screenshots")
"""Folder of the pictures; git ignores the default."""


def chromium() -> str:
    """Return the path of a browser: the one in `TEST_CHROMIUM`, or the first one found.

    Debian's `chromium-headless-shell` draws no window and needs half of the processor time.
    """
    named = os.environ.get("TEST_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    return found or _missing("no Chromium: apt-get install chromium, or set TEST_CHROMIUM")


def node() -> str:
    """Return the path of a Node.js that the checkers run on."""
    found = shutil.which("node") or _missing("no Node.js: install it, with npm")
    version = subprocess.check_output([found, "--version"], text=True)  # such as v20.19.0
    if int(version.removeprefix("v").split(".")[0]) < _NODE_VERSION:
        _missing(f"Node.js {version.strip()} is too old: install {_NODE_VERSION} or newer")
    return found


def checker(path: str) -> Path:
    """Return a file of a checker's npm package."""
    found = _CHECKERS / path
    return found if found.exists() else _missing(f"no {found}: make checkers (needs npm)")


def _missing(what: str) -> NoReturn:
    """Skip the test, or fail it if `TEST_REQUIRE_BROWSER` is 1."""
    if os.environ.get("TEST_REQUIRE_BROWSER") == "1":
        pytest.fail(what)
    pytest.skip(what)
