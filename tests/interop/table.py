"""The table of how each program read the exports, and its renewal by a run of some of the tests."""

from collections.abc import Sequence
from dataclasses import dataclass

HEAD = "| program | version | `--format` | checked | result |\n|---|---|---|---|---|\n"
NOT_RUN = "not run"


@dataclass(slots=True)
class Row:
    """One line, which one test fills."""

    program: str
    version: str
    format: str
    checked: str
    success: str
    result: str = NOT_RUN

    @property
    def line(self) -> str:
        cells = (self.program, self.version, self.format, self.checked, self.result)
        return f"| {' | '.join(cells)} |"


def renewed(old: str, rows: Sequence[Row], *, is_whole: bool) -> str:
    """Return the table after a run; a row that did not run keeps its result for the same version.

    `is_whole`: whether the rows are those of all tests. Otherwise, the other lines of `old` stay.
    """
    lines = {_key(line): line for line in old.splitlines()[2:]}
    left = {} if is_whole else dict(lines)
    for row in rows:
        before = lines.get(_key(row.line), "")
        ran = not row.result.startswith(NOT_RUN)
        keeps = not ran and _cells(before)[1:2] == [row.version]
        left[_key(row.line)] = before if keeps else row.line
    return HEAD + "".join(f"{line}\n" for line in left.values())


def _key(line: str) -> tuple[str, ...]:
    """Return the cells that name a line; the version may change."""
    program, _, *others = [*_cells(line), "", ""]
    return program, *others[:2]


def _cells(line: str) -> list[str]:
    return line.removeprefix("| ").removesuffix(" |").split(" | ")
