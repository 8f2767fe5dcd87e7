"""Read JSON files that users give to commands.

All commands refuse the same input, because JSON does not allow it or a database cannot store it:
NaN and infinities (pandas writes NaN), numbers with thousands of digits, brackets nested too
deeply, lone surrogates, text that is not UTF-8. A byte order mark is skipped.
"""

import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from math import isinf
from pathlib import Path
from sys import get_int_max_str_digits
from typing import Any, NamedTuple, Never

from common.errors import UserError

MAX_NUMBER = 1e100
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class JsonError(ValueError):
    """A text cannot be read as JSON. The message says why, and what to write instead."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        """Line with the syntax error, from 1; None if unknown."""


class JsonFileError(UserError):
    """A file cannot be read. The message is one line with the file, the place and the remedy."""


class WrittenFloat(float):
    """A number that `str` returns as the file spells it: 12345678901234567.0 keeps its digits."""

    def __new__(cls, written: str) -> "WrittenFloat":
        number = super().__new__(cls, written)
        number._written = written  # type: ignore[attr-defined]
        return number

    def __str__(self) -> str:
        return str(self._written)  # type: ignore[attr-defined]


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each line that is not blank.

    Raises:
        JsonFileError: the file or a line cannot be read. All lines before it are yielded.
    """
    for number, line in read_lines(path):
        if line.strip():
            yield number, parse_line(path, number, line)


class RowPlace(NamedTuple):
    """Where a row is in its file."""

    kind: str
    """`line`, or `entry` of a list."""
    number: int
    """From 1."""

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


def read_json_rows(path: Path) -> Iterator[tuple[RowPlace, Any]]:
    """Yield the place and the value of each row of a file.

    A file holds JSON lines, one JSON list, or one JSON object that may span several lines.

    Raises:
        JsonFileError: the file or a row cannot be read. All rows before it are yielded.
    """
    lines = ((number, line) for number, line in read_lines(path) if line.strip())
    first = next(lines, None)
    if first is None:
        return
    number, line = first
    if not _is_part(path, number, line):
        yield RowPlace("line", number), parse_line(path, number, line)
        for number, line in lines:
            yield RowPlace("line", number), parse_line(path, number, line)
        return
    found = _read_whole(path, WrittenFloat)
    for number, entry in enumerate(found if isinstance(found, list) else [found], start=1):
        yield RowPlace("entry", number), entry


class ChosenRows:
    """Rows of a file in any order, found by their numbers.

    `is_whole`: the file is one JSON text, and its entries stay in memory. Otherwise each read of a
    line goes to the file.
    """

    def __init__(self, path: Path, *, is_whole: bool) -> None:
        self._path = path
        self._entries = [row for _, row in read_json_rows(path)] if is_whole else []
        self._starts = array("Q")
        if not is_whole:
            start = 0
            with path.open("rb") as lines:
                for line in lines:
                    self._starts.append(start)
                    start += len(line)

    def read(self, numbers: Iterable[int]) -> Iterator[Any]:
        """Yield the rows with these numbers, from 1: numbers of lines, or of entries.

        Raises:
            JsonFileError: the file has changed, and a line can no longer be read.
        """
        if self._entries:
            for number in numbers:
                yield self._entries[number - 1]
            return
        with self._path.open("rb") as file:
            for number in numbers:
                file.seek(self._starts[number - 1])
                line = file.readline().removeprefix(_BYTE_ORDER_MARK)
                yield parse_line(self._path, number, line.decode("utf-8", "replace"))


def read_json(path: Path) -> Any:
    """Return the value of a file that holds one JSON text.

    Raises:
        JsonFileError: the file cannot be read.
    """
    return _read_whole(path, float)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line.

    Raises:
        JsonFileError: the file cannot be read, or is not text in UTF-8.
    """
    number = 1
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if number == 1 and line.startswith(_GZIP):
                    raise JsonFileError(f"{path} is compressed: unpack it first")
                text = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
                yield number, text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonFileError(f"{path} line {number} is not UTF-8: save the file as UTF-8") from error
    except OSError as error:
        raise JsonFileError(f"{path} cannot be read: {error.strerror}") from error


def parse_line(path: Path, number: int, line: str) -> Any:
    """Return the value of one line of a file.

    Raises:
        JsonFileError: the line cannot be read.
    """
    try:
        return parse_json(line, WrittenFloat)
    except JsonError as error:
        raise JsonFileError(f"{path} line {number}: {error}") from error


def parse_json(text: str, parse_float: Callable[[str], float]) -> Any:
    """Return the value of a JSON text; `parse_float` reads numbers with a point or an exponent.

    Raises:
        JsonError: the text cannot be read.
    """

    def finite(written: str) -> float:
        number = parse_float(written)
        if isinf(number):
            raise JsonError(f"the number {written:.40} is too large: write it as a text")
        return number

    try:
        value = json.loads(text, parse_float=finite, parse_constant=_refuse_constant)
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except JsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise _json_error(error) from error
    return value


def _json_error(error: ValueError | RecursionError) -> JsonError:
    if isinstance(error, json.JSONDecodeError):
        where = f"{error.msg}, column {error.colno}"
        return JsonError(f"not JSON ({where}): write one JSON object per line", error.lineno)
    if isinstance(error, UnicodeEncodeError):
        return JsonError("a text holds a lone surrogate: write the whole character")
    if isinstance(error, RecursionError):
        return JsonError("its brackets are nested too deeply: use fewer levels")
    # The only other ValueError: `int` limits the number of digits.
    return JsonError(
        f"a number has more than {get_int_max_str_digits()} digits: write it as a text"
    )


def is_number(value: object) -> bool:
    """Return whether a value is a number that can be summed without overflow."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= MAX_NUMBER


def _refuse_constant(name: str) -> Never:
    raise JsonError(f"{name} is not JSON: write null, or leave the key out")


def _read_whole(path: Path, parse_float: Callable[[str], float]) -> Any:
    text = "".join(line for _, line in read_lines(path))
    try:
        return parse_json(text, parse_float)
    except JsonError as error:
        place = "" if error.line is None else f" line {error.line}"
        raise JsonFileError(f"{path}{place}: {error}") from error


def _is_part(path: Path, number: int, line: str) -> bool:
    """Return whether the first line of a file starts a list, or an object of several lines."""
    try:
        return isinstance(parse_json(line, WrittenFloat), list)
    except JsonError as error:
        if error.line is None:
            raise JsonFileError(f"{path} line {number}: {error}") from error
        return True
