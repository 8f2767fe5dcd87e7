"""Balance of pairs whose chosen side is longer with pairs whose chosen side is shorter.

If length predicts the chosen side, models learn to prefer length. So keep equally many pairs of
both kinds: all of the rarer kind, and a random sample of the other. Pairs of equal length stay.
"""

from collections import Counter
from random import Random

from preferences.core.pairing import Pair


def kind_of(pair: Pair) -> int:
    """Return 1 if the chosen side is longer in characters, -1 if it is shorter, otherwise 0."""
    chosen, rejected = len(pair.chosen.text), len(pair.rejected.text)
    return (chosen > rejected) - (chosen < rejected)


class LengthBalance:
    """Decides for each pair in turn whether to keep it, given the number of pairs of each kind.

    Of the more frequent kind it keeps exactly as many as there are of the rarer one. All subsets
    are equally likely (selection sampling; Knuth, The Art of Computer Programming 2, 3.4.2,
    algorithm S).
    """

    def __init__(self, counts: Counter[int], seed: int) -> None:
        self._left = Counter(counts)
        fewest = min(counts[1], counts[-1])
        self._wanted = {1: fewest, -1: fewest, 0: counts[0]}
        self._random = Random(seed)

    def keeps(self, pair: Pair) -> bool:
        """Return whether to keep this pair. Call it exactly once for each counted pair."""
        kind = kind_of(pair)
        is_kept = self._random.random() * self._left[kind] < self._wanted[kind]
        self._left[kind] -= 1
        self._wanted[kind] -= is_kept
        return is_kept
