"""Run a module of the packages beside this one: `python -P run_module.py MODULE ARGUMENT…`."""

import runpy
import sys
from pathlib import Path

code_dir = Path(__file__).resolve().parent.parent
if code_dir not in [Path(one).resolve() for one in sys.path]:
    sys.path.insert(0, str(code_dir))
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
