"""How Sphinx builds the documents: `make docs`."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]
os.environ |= {"PRM_ENV_FILE": "", "PRM_SECRET_KEY": "only-to-read-the-code"}
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prm_site.settings")

project = "PRM forests"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference"]
exclude_patterns = ["_ext"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "description"
smartquotes = False  # "--name" is an option, not a dash
html_theme = "furo"
html_title = "PRM forests"
html_show_copyright = False
