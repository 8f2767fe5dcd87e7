"""Stop where every tree fails for the same reason: the settings are wrong, not the trees."""

import re

MAX_TREES = 3
"""Different trees that may fail for one reason in a row, with no success between them."""

_VARYING = re.compile(r"\d+|'[^']*'|\"[^\"]*\"")


class Circuit:
    """Counts the trees that failed for one reason since the last success."""

    def __init__(self) -> None:
        self._reason = ""
        self._trees: set[str] = set()

    def succeeded(self) -> None:
        self._trees.clear()

    def failed(self, tree: str, reason: str) -> bool:
        """Return whether so many trees failed for this reason that others would too.

        Numbers and quoted texts may differ from tree to tree.
        """
        reason = _VARYING.sub("…", reason)
        if reason != self._reason:
            self._trees.clear()
        self._reason = reason
        self._trees.add(tree)
        return len(self._trees) >= MAX_TREES
