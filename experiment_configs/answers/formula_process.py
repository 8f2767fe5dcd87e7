"""The child process of `formulas`: compares two formulas a line with math-verify, as JSON."""

import contextlib
import json
import logging
import re
import resource
import signal
import sys
from typing import TextIO

from math_verify import LatexExtractionConfig, parse, verify

MEMORY_BYTES = 2 << 30

_BARE_PI = re.compile(r"(?<![\\A-Za-z])pi(?![A-Za-z])")


def main() -> None:
    deadline_seconds = int(sys.argv[1])
    logging.disable(logging.CRITICAL)
    with contextlib.suppress(ValueError, OSError):  # not every system limits this
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    replies, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        if not line.strip():
            _write(replies, "ready")
            continue
        # Its default action: the kernel ends this process, even inside one long multiplication.
        signal.alarm(deadline_seconds)
        answer, label = json.loads(line)
        is_same = _is_same(answer, label)
        signal.alarm(0)
        _write(replies, json.dumps(is_same))


def _write(replies: TextIO, reply: str) -> None:
    replies.write(reply + "\n")
    replies.flush()


def _is_same(answer: str, label: str) -> bool:
    try:
        right, given = _parsed(label), _parsed(answer)
        return bool(right and given and verify(right, given, timeout_seconds=None))
    except (MemoryError, RecursionError):
        return False


def _parsed(text: str) -> list[object]:
    formulas: list[object] = parse(
        f"${_BARE_PI.sub(lambda _: chr(92) + 'pi', text)}$",
        extraction_config=[LatexExtractionConfig()],
        fallback_mode="no_fallback",
        parsing_timeout=None,  # type: ignore[arg-type]  # it is allowed, and documented
    )
    return formulas


if __name__ == "__main__":
    main()
