"""Directories that are written as a whole or not at all."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from common.errors import UserError
from common.json_lines import JsonFileError, read_json

MANIFEST = "manifest.json"
"""The file that tells an export from any other directory; it is written last."""


class OutputError(UserError):
    """A directory cannot be written; the message is one line with the remedy."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where an export goes, and what it may replace there."""

    directory: Path
    formats: frozenset[str]
    """What the manifest of an export that may be replaced calls its format."""
    overwrite: bool

    @property
    def aside(self) -> Path:
        """Where the export is until it is whole."""
        return self._beside("partial")

    @property
    def replaced(self) -> Path:
        """Where an earlier export waits until the new one is in its place."""
        return self._beside("replaced")

    @property
    def lock(self) -> Path:
        return self._beside("lock")

    def _beside(self, what: str) -> Path:
        return self.directory.with_name(f".{self.directory.name}.{what}")


def check_output(output: Output) -> None:
    """Refuse to write over anything but an earlier export.

    Raises:
        OutputError: something else is there, or what is there may not be replaced.
        OSError: it cannot be told.
    """
    directory = output.directory
    if directory.name in ("", "..") or Path.cwd().is_relative_to(directory.resolve()):
        raise OutputError(
            f"--output {directory} is the directory that you are in, or one above it: name a new "
            "directory"
        )
    if directory.is_symlink():
        raise OutputError(f"{directory} is a link: give the directory itself as --output")
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if problem := _not_ours(output):
        raise OutputError(f"{directory} is there and {problem}: choose another --output")
    if not output.overwrite:
        raise OutputError(f"{directory} is there: choose another --output, or --overwrite it")


@contextmanager
def written_aside(output: Output) -> Iterator[Path]:
    """Give a directory beside the output, which takes its place if all goes well.

    Of several that write to one output at once, one does, and the others are refused.

    Raises:
        OutputError: something is there that may not be replaced, or another export writes there.
        OSError: the disk is full, or the directory cannot be written.
    """
    check_output(output)
    output.directory.parent.mkdir(parents=True, exist_ok=True)
    with _only_writer(output):
        _settle_replaced(output)
        check_output(output)
        shutil.rmtree(output.aside, ignore_errors=True)
        output.aside.mkdir()
        try:
            yield output.aside
            check_output(output)  # somebody may have put something there meanwhile
            if output.directory.exists():
                output.directory.rename(output.replaced)
            output.aside.rename(output.directory)
        finally:
            shutil.rmtree(output.aside, ignore_errors=True)
            _settle_replaced(output)


@contextmanager
def _only_writer(output: Output) -> Iterator[None]:
    """Hold the lock of an output; the system releases that of a process that was killed.

    Raises:
        OutputError: another process holds it, or the file system has no locks.
    """
    with output.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _another(output) from error
        except OSError as error:
            raise OutputError(
                f"the file system of {output.directory} cannot lock files ({error.strerror}): "
                "choose an --output on another"
            ) from error
        # The holder before deletes the file, perhaps between our opening and locking it.
        if not _is_at(file, output.lock):
            raise _another(output)
        try:
            yield
        finally:
            output.lock.unlink(missing_ok=True)


def _another(output: Output) -> OutputError:
    return OutputError(
        f"another export writes to {output.directory}: wait for its end, or choose another --output"
    )


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _not_ours(output: Output) -> str | None:
    """Return what tells a directory from an export that may be replaced; None where it is one.

    A manifest alone is not enough: all else in the directory goes with it.
    """
    if not (output.directory / MANIFEST).is_file():
        return "is no export"
    try:
        manifest = read_json(output.directory / MANIFEST)
    except JsonFileError:
        manifest = None
    files, format_name = (
        (manifest.get("files"), manifest.get("format"))
        if isinstance(manifest, dict)
        else (None, None)
    )
    if not (isinstance(files, dict) and isinstance(format_name, str)) or (
        format_name not in output.formats
    ):
        return "its manifest.json is not that of such an export"
    for path in sorted(output.directory.rglob("*")):
        name = path.relative_to(output.directory).as_posix()
        is_listed = name == MANIFEST or name in files
        is_part = any(file.startswith(f"{name}/") for file in files)
        if path.is_symlink() or not (is_listed if path.is_file() else is_part):
            return f"holds {name!r}, which no export wrote"
    return None


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


def _settle_replaced(output: Output) -> None:
    """Delete the export that was replaced, or put it back where none took its place."""
    if (output.directory / MANIFEST).is_file():
        shutil.rmtree(output.replaced, ignore_errors=True)
    elif output.replaced.is_dir():
        output.replaced.rename(output.directory)
