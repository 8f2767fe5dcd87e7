"""Child process that runs the regular expressions of step rules: one JSON question per line."""

import json
import re
import signal
import sys


def main() -> None:
    """Answer questions until the input ends; a timer kills the process during a long search."""
    processor_seconds = float(sys.argv[1])
    for line in sys.stdin:
        if not line.strip():
            print("ready", flush=True)  # noqa: T201  the parent waits for this line
            continue
        regex, flags, text = json.loads(line)
        # SIGPROF's default action ends this process, even inside one long search.
        signal.setitimer(signal.ITIMER_PROF, processor_seconds)
        reply = ends(re.compile(regex, flags), text)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(reply), flush=True)  # noqa: T201


def ends(pattern: re.Pattern[str], text: str) -> list[int]:
    """Return where the matches end, without an empty match at the end of the text."""
    return [
        found.end()
        for found in pattern.finditer(text)
        if found.end() < len(text) or found.start() < found.end()
    ]


if __name__ == "__main__":
    main()
