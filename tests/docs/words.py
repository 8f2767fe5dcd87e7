"""Finds phrases that docs/style.md bans: `python -m tests.docs.words`, a part of `make lint`."""

import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDERS = (
    "common", "experiment_configs", "forests", "rollouts", "metrics", "preferences", "prm_site",
    "templates", "deploy", "docs", "tests/docs",
)  # fmt: skip
"""Folders with the Python files and templates to check. Add a folder as soon as it is clean."""

NOT_CHECKED = {"docs/style.md", "tests/docs/test_words.py"}
"""Files that quote banned phrases."""

_ROOT = Path(__file__).resolve().parents[2]
_LIST = Path(__file__).with_name("banned_phrases.toml")
_LITERALS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}  # Python 3.12 and newer
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Phrase:
    pattern: re.Pattern[str]
    instead: str
    example: str


@dataclass(frozen=True)
class Fault:
    path: str
    line: int
    found: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.found!r}: say {self.instead}"


def banned_phrases() -> list[Phrase]:
    rows = tomllib.loads(_LIST.read_text(encoding="utf-8"))["phrase"]
    return [
        Phrase(
            re.compile(row["pattern"], re.IGNORECASE | re.MULTILINE), row["instead"], row["example"]
        )
        for row in rows
    ]


def checked_files() -> list[str]:
    """Return the paths, from the root, of the tracked files that are checked."""
    patterns = ["*.md", *(f"{folder}/*.{kind}" for folder in FOLDERS for kind in ("py", "html"))]
    listed = subprocess.check_output(["git", "ls-files", *patterns], cwd=_ROOT, text=True)
    return [path for path in listed.splitlines() if path not in NOT_CHECKED]


def prose_of(path: str, text: str) -> str:
    """Return the prose of a file at its places: comments and strings, or all but code."""
    if path.endswith(".py"):
        return _prose_of_python(text)
    return _CODE.sub(lambda found: re.sub(r"[^\n]", "·", found[0]), text)


def _prose_of_python(text: str) -> str:
    lines = [[" "] * len(line) for line in text.splitlines()]
    kinds = {tokenize.COMMENT, *_LITERALS}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds:
            row, column = token.start
            for part in token.string.splitlines():
                lines[row - 1][column : column + len(part)] = part
                row, column = row + 1, 0
    return "\n".join("".join(line) for line in lines)


def find_faults(path: str, text: str) -> Iterator[Fault]:
    """Find banned phrases; in documents also those that a line break divides."""
    prose = prose_of(path, text)
    lines_joined = re.sub(r"(?<!\n)\n(?!\n)", " ", prose) if path.endswith(".md") else prose
    for phrase in banned_phrases():
        for found in phrase.pattern.finditer(lines_joined):
            line = prose.count("\n", 0, found.end()) + 1
            yield Fault(path, line, found[0].strip(), phrase.instead)


def all_faults() -> list[Fault]:
    found = [
        fault
        for path in checked_files()
        for fault in find_faults(path, (_ROOT / path).read_text(encoding="utf-8"))
    ]
    return sorted(found, key=lambda fault: (fault.path, fault.line))


def main() -> int:
    faults = all_faults()
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
