"""The command `prm`, also as `python -m prm_site`."""

import gc
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prm_site.command_table import overview

_ASKS_FOR_OVERVIEW: tuple[list[str], ...] = ([], ["-h"], ["--help"], ["help"])
_ASKS_FOR_VERSION = (["--version"], ["version"])


def main() -> None:
    """Run a command; Ctrl-C ends it without a traceback, also while Django loads."""
    program, *arguments = sys.argv
    if arguments in _ASKS_FOR_OVERVIEW:
        name = Path(program).name
        sys.stdout.write(overview("prm" if name == "__main__.py" else name) + "\n")
        return
    if arguments in _ASKS_FOR_VERSION:
        sys.stdout.write(f"prm {_version()}\n")
        return
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prm_site.settings")
    gc.disable()  # until all is loaded: garbage collection would take a sixth of the start
    try:
        # Not at the top: loading takes a second, in which Ctrl-C would show a traceback.
        from prm_site.command_line import run  # noqa: PLC0415

        run(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)


def _version() -> str:
    try:
        return version("prm-site")
    except PackageNotFoundError:
        return "of a checkout that is not installed"


if __name__ == "__main__":
    main()
