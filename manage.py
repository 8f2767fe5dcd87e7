#!/usr/bin/env python
"""Django's command line."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prm_site.settings")
    # Imported here so that Ctrl-C while Django loads ends without a traceback too.
    from prm_site.command_line import run  # noqa: PLC0415

    run(sys.argv)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
