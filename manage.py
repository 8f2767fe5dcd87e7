#!/usr/bin/env python
"""The command `prm`, for a checkout: `.env` and `data/` are those beside this file."""

import os
from pathlib import Path

from prm_site.__main__ import main

if __name__ == "__main__":
    os.environ.setdefault("PRM_HOME", str(Path(__file__).resolve().parent))
    main()
