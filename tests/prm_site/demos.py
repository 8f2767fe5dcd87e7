"""Demos as processes: each grows two trees and ends after the export."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

_STAGE = re.compile(r"^=== \d+/\d+ [^:]+: (?:python manage\.py|prm) (\w+)", re.MULTILINE)


class Demos:
    """Starts demos; at the end, kills those that still run."""

    def __init__(
        self, program: Sequence[str], directory: Path, environment: Mapping[str, str]
    ) -> None:
        self.output = directory / "export"
        self._program = program
        self._directory = directory
        self._environment = environment
        self._started: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    def start(self, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a demo; return its process and the path of its log."""
        log = self._directory / f"demo-{len(self._started)}.log"
        file = log.open("wb")
        demo = subprocess.Popen(
            [
                *self._program, "demo", "--exit", "--limit", "2", "--output", str(self.output),
                *arguments,
            ],
            cwd=self._directory,
            env=self._environment,
            stdout=file,
            stderr=file,
        )  # fmt: skip
        self._started.append((demo, file))
        return demo, log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for demo, file in self._started:
            demo.kill()
            demo.wait()
            file.close()


def stages(log: Path) -> Sequence[str]:
    """Return the commands that a demo started, in order."""
    return _STAGE.findall(log.read_text())
