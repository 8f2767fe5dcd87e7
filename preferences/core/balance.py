"""As many pairs whose chosen side is the longer as pairs whose chosen side is the shorter.

Trainers learn length where it tells the better side. Here it does not: of the more frequent kind
as many pairs are kept as there are of the other, drawn at random, and pairs of equal length stay.
"""

from collections import Counter
from random import Random

from preferences.core.pairing import Pair


def kind_of(pair: Pair) -> int:
    """Return 1 where the chosen side is the longer in characters, -1 the shorter, 0 neither."""
    chosen, rejected = len(pair.chosen.text), len(pair.rejected.text)
    return (chosen > rejected) - (chosen < rejected)


class LengthBalance:
    """Says of each pair in turn whether it is kept, once it is known how many come of each kind.

    Keeps exactly as many as there are of the rarer kind, each choice of them equally likely
    (selection sampling; Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
    """

    def __init__(self, counts: Counter[int], seed: int) -> None:
        self._left = Counter(counts)
        fewest = min(counts[1], counts[-1])
        self._wanted = {1: fewest, -1: fewest, 0: counts[0]}
        self._random = Random(seed)

    def keeps(self, pair: Pair) -> bool:
        """Return whether this pair is kept; each pair that was counted is asked for once."""
        kind = kind_of(pair)
        is_kept = self._random.random() * self._left[kind] < self._wanted[kind]
        self._left[kind] -= 1
        self._wanted[kind] -= is_kept
        return is_kept
