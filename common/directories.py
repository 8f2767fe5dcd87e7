"""Directories that are written completely or not at all."""

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
"""The file that identifies an export. It is written last."""


class OutputError(UserError):
    """A directory cannot be written; the message is one line with the remedy."""


@dataclass(frozen=True, slots=True)
class Output:
    """The destination of an export, and what it may replace there."""

    directory: Path
    formats: frozenset[str]
    """The `format` in the manifest of an export that may be replaced."""
    overwrite: bool

    @property
    def aside(self) -> Path:
        """Return where the export is built until it is complete."""
        return self._beside("partial")

    @property
    def replaced(self) -> Path:
        """Return where an earlier export waits until the new one is in place."""
        return self._beside("replaced")

    @property
    def lock(self) -> Path:
        return self._beside("lock")

    def _beside(self, what: str) -> Path:
        return self.directory.with_name(f".{self.directory.name}.{what}")


def check_output(output: Output) -> None:
    """Refuse to overwrite anything but an earlier export.

    Raises:
        OutputError: the path holds something else, or an export that may not be replaced.
        OSError: the path cannot be read.
    """
    directory = output.directory
    if directory.name in ("", "..") or Path.cwd().is_relative_to(directory.resolve()):
        raise OutputError(
            f"--output {directory} is the current directory or one above it: name a new directory"
        )
    if directory.is_symlink():
        raise OutputError(f"{directory} is a link: give the directory itself as --output")
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if problem := _not_ours(output):
        raise OutputError(f"{directory} exists and {problem}: choose another --output")
    if not output.overwrite:
        raise OutputError(f"{directory} exists: choose another --output, or add --overwrite")


@contextmanager
def written_aside(output: Output) -> Iterator[Path]:
    """Yield a directory beside the output; it replaces the output if the block succeeds.

    If several processes write to one output at once, one of them succeeds. The others are refused.

    Raises:
        OutputError: the output may not be replaced, or another export writes there.
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
            check_output(output)  # something may have appeared there meanwhile
            if output.directory.exists():
                output.directory.rename(output.replaced)
            output.aside.rename(output.directory)
        finally:
            shutil.rmtree(output.aside, ignore_errors=True)
            _settle_replaced(output)


@contextmanager
def _only_writer(output: Output) -> Iterator[None]:
    """Hold the lock of an output. The system releases the lock of a killed process.

    Raises:
        OutputError: another process holds the lock, or the file system has no locks.
    """
    with output.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _another(output) from error
        except OSError as error:
            raise OutputError(
                f"the file system of {output.directory} cannot lock files ({error.strerror}): "
                "choose an --output on another one"
            ) from error
        # The previous holder deletes the file, perhaps after we opened it and before we locked it.
        if not _is_at(file, output.lock):
            raise _another(output)
        try:
            yield
        finally:
            output.lock.unlink(missing_ok=True)


def _another(output: Output) -> OutputError:
    return OutputError(
        f"another export writes to {output.directory}: wait for it, or choose another --output"
    )


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _not_ours(output: Output) -> str | None:
    """Return why a directory is not an export that may be replaced; None if it is one.

    A manifest is not enough: replacing the directory deletes everything else in it.
    """
    if not (output.directory / MANIFEST).is_file():
        return "is not an export"
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
        return "its manifest.json belongs to something else"
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
    """Delete the export that was replaced, or restore it if no new one took its place."""
    if (output.directory / MANIFEST).is_file():
        shutil.rmtree(output.replaced, ignore_errors=True)
    elif output.replaced.is_dir():
        output.replaced.rename(output.directory)
