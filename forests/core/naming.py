"""Names and ids. An id says where its document belongs."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from common.errors import UserError
from forests.core.tree import NodePath, format_path, parse_path

# Addresses of the site that take precedence over /<forest_name>/.
RESERVED_NAMES = frozenset(
    {
        "accounts", "admin", "api", "compare", "django-rq", "docs", "favicon.ico", "forests",
        "healthz", "login", "logout", "metrics", "readyz", "rq", "search", "static",
    }
)  # fmt: skip
MAX_NAME_LENGTH = 120
IMPORTED_SCORER = "imported"
"""Name of the scorer that keeps the values in a file of `import_trees`."""
IMPORTED_JUDGE = "imported_judge"
"""Name of the scorer that keeps the verdicts of a judge, if such a file has both."""
MAX_DEPTH = 2000
"""Most levels above a node. Pages read all of them, and imports refuse deeper nodes."""
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]*")


class ForestNameError(UserError, ValueError):
    """A name cannot be used. The message says why."""


def forest_name(config_name: str, dataset_split: str, suffix: str) -> str:
    """Return the name of a forest: `<config>-<split>-<suffix>`, a URL slug.

    Raises:
        ForestNameError: a part is not a slug, or the name is a page of the site or too long.
    """
    for what, part in (("dataset split", dataset_split), ("forest name suffix", suffix)):
        check_slug(part, what)
    name = "-".join((config_name, dataset_split, suffix))
    check_forest_name(name)
    return name


def check_forest_name(name: str) -> None:
    """Refuse a name that a forest cannot have.

    Raises:
        ForestNameError: it is not a slug, is a page of the site, or is too long.
    """
    check_slug(name, "forest name")
    if name in RESERVED_NAMES:
        raise ForestNameError(f"forest name {name!r} is a page of the site: choose another suffix")
    if len(name) > MAX_NAME_LENGTH:
        raise ForestNameError(
            f"forest name {name!r} has {len(name)} characters: at most {MAX_NAME_LENGTH}"
        )


def check_slug(text: str, what: str) -> None:
    """Refuse a text that cannot be part of an address.

    Raises:
        ForestNameError: it is not a slug.
    """
    if not _SLUG.fullmatch(text):
        raise ForestNameError(
            f"{what} {text!r} cannot be part of an address: use a-z, 0-9, - and _, "
            "and begin with a letter or digit"
        )


def tree_id(forest: str, index: int) -> str:
    """Return `<forest>/<index>`; leading zeros make ids sort in the dataset's order."""
    return f"{forest}/{index:07d}"


def node_id(tree: str, path: NodePath) -> str:
    return f"{tree}/{format_path(path)}"


def child_id(parent: str, position: int) -> str:
    """Return the id of a node from its parent's id, which is faster than from its path."""
    return f"{parent}.{position}"


def scorer_id(forest: str, scorer: str) -> str:
    return f"{forest}/{scorer}"


def tree_scores_id(tree: str, scorer: str) -> str:
    return f"{tree}/{scorer}"


def model_server_id(server: str, model: str, api: str, extra_body: Mapping[str, Any]) -> str:
    """Return the id for the abilities of one server with one model and one way of asking.

    The config's own request fields are part of it, because they may turn thinking on or off.
    """
    parts = [server.rstrip("/"), model, api, extra_body]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def node_anchor(path: NodePath) -> str:
    """Return the HTML anchor of a node on the page of its tree."""
    return "node-" + format_path(path).replace(".", "-")


def index_of_tree(tree: str) -> int:
    return int(tree.rpartition("/")[2])


def path_of_node(node: str) -> NodePath:
    return parse_path(node.rpartition("/")[2])
