"""Circuit breaker: if all trees fail for the same reason, the settings are wrong, not the trees."""

import re

MAX_TREES = 3
"""Stop when this many different trees fail for one reason without a success between them."""

_VARYING = re.compile(r"\d+|'[^']*'|\"[^\"]*\"")


class Circuit:
    """Counts the trees that failed for one reason since the last success."""

    def __init__(self) -> None:
        self._reason = ""
        self._trees: set[str] = set()

    def succeeded(self) -> None:
        self._trees.clear()

    def failed(self, tree: str, reason: str) -> bool:
        """Count a failure; return whether `MAX_TREES` trees have failed for this reason.

        Reasons that differ only in numbers or quoted texts are the same reason.
        """
        reason = _VARYING.sub("…", reason)
        if reason != self._reason:
            self._trees.clear()
        self._reason = reason
        self._trees.add(tree)
        return len(self._trees) >= MAX_TREES
