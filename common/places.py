"""Where the code and the user's files are, and how to run our code from there.

Only these differ between a checkout, an installed package and an editable install.
"""

import os
import sys
from pathlib import Path

CODE_DIR = Path(__file__).resolve().parent.parent
"""The folder that holds the packages: a checkout, or `site-packages`."""

HOME_DIR = Path(os.environ.get("PRM_HOME") or Path.cwd()).expanduser().resolve()
"""The folder of `.env` and `data/`: the current folder, or for `manage.py` the checkout."""

if os.environ.get("PRM_HOME"):
    os.environ["PRM_HOME"] = str(HOME_DIR)  # child processes start in other folders

_RUN_MODULE = Path(__file__).with_name("run_module.py")
IN_CHECKOUT = HOME_DIR == CODE_DIR and (CODE_DIR / "manage.py").is_file()

PROGRAM = "python manage.py" if IN_CHECKOUT else "prm"
"""How our command lines begin here, in hints and on pages."""


def to_type(arguments: str) -> str:
    """Return the command line that a user types here to run one of our commands."""
    return f"{PROGRAM} {arguments}"


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command line of a child process that runs a module of the same code as this one.

    `python -m` would look in the current folder first, and a user may have a `metrics/` there.
    """
    return [sys.executable, "-P", str(_RUN_MODULE), module, *arguments]
