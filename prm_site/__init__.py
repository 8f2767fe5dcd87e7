"""Grow forests of reasoning steps, value every node, export preference data.

`from prm_site import open_forest, verify_config` is the Python API: see docs/python-api.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forests.core.reading import ReadError
    from prm_site.python_api.configs import verify_config
    from prm_site.python_api.open_forest import OpenForest
    from prm_site.python_api.open_tree import OpenTree, ValuedNode
    from prm_site.python_api.opening import open_forest
    from prm_site.python_api.pairs import TreePair

__all__ = [
    "OpenForest",
    "OpenTree",
    "ReadError",
    "TreePair",
    "ValuedNode",
    "open_forest",
    "verify_config",
]

_MODULES = {
    "OpenForest": "prm_site.python_api.open_forest",
    "OpenTree": "prm_site.python_api.open_tree",
    "ReadError": "forests.core.reading",
    "TreePair": "prm_site.python_api.pairs",
    "ValuedNode": "prm_site.python_api.open_tree",
    "open_forest": "prm_site.python_api.opening",
    "verify_config": "prm_site.python_api.configs",
}


def __getattr__(name: str) -> Any:
    # Every command imports this package for Django's settings, so import the API only when used.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
