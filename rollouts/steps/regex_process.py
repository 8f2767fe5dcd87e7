"""The child process of `steps`: where a regular expression ends steps, one question a line."""

import json
import re
import signal
import sys


def main() -> None:
    """Answer questions until the input ends; the kernel ends the process that needs too long."""
    processor_seconds = float(sys.argv[1])
    for line in sys.stdin:
        if not line.strip():
            print("ready", flush=True)  # noqa: T201  what the parent waits for
            continue
        regex, flags, text = json.loads(line)
        # SIGPROF's default action ends this process, even inside one long search.
        signal.setitimer(signal.ITIMER_PROF, processor_seconds)
        reply = ends(re.compile(regex, flags), text)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(reply), flush=True)  # noqa: T201


def ends(pattern: re.Pattern[str], text: str) -> list[int]:
    """Return where the matches end; at the end of the text only one that holds characters."""
    return [
        found.end()
        for found in pattern.finditer(text)
        if found.end() < len(text) or found.start() < found.end()
    ]


if __name__ == "__main__":
    main()
