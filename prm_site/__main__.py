"""The command `prm`, also as `python -m prm_site`."""

import os
import sys


def main() -> None:
    """Run a command; Ctrl-C ends it without a traceback, also while Django loads."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prm_site.settings")
    try:
        # Not at the top, as loading takes a second in which Ctrl-C would show a traceback.
        from prm_site.command_line import run  # noqa: PLC0415

        run(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
