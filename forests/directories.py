"""Directories that are written as a whole or not at all."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
"""The file that tells an export from any other directory; it is written last."""


class OutputError(Exception):
    """A directory cannot be written; the message is one line with the remedy."""


def check_output(output: Path, *, overwrite: bool) -> None:
    """Refuse to write over anything but an earlier export, also one a killed run moved away.

    Raises:
        OutputError: something is there.
    """
    _settle_replaced(output)
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / MANIFEST).is_file():
        raise OutputError(f"{output} is there and is no export: choose another --output")
    if not overwrite:
        raise OutputError(f"{output} is there: choose another --output, or --overwrite it")


@contextmanager
def written_aside(output: Path) -> Iterator[Path]:
    """Give a directory beside the output, which takes its place if all goes well."""
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{output.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        if output.exists():
            output.rename(_replaced(output))
        aside.rename(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        _settle_replaced(output)


def checksums(root: Path) -> dict[str, dict[str, Any]]:
    """Return the size in bytes and the SHA-256 of each file under a directory."""
    return {
        path.relative_to(root).as_posix(): checksum(path)
        for path in sorted(path for path in root.rglob("*") if path.is_file())
    }


def checksum(path: Path) -> dict[str, Any]:
    """Return the size in bytes and the SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _replaced(output: Path) -> Path:
    """Return where an earlier export waits until the new one is in its place."""
    return output.with_name(f".{output.name}.replaced")


def _settle_replaced(output: Path) -> None:
    """Delete the export that was replaced, or put it back where none took its place."""
    replaced = _replaced(output)
    if (output / MANIFEST).is_file():
        shutil.rmtree(replaced, ignore_errors=True)
    elif replaced.is_dir():
        replaced.rename(output)
