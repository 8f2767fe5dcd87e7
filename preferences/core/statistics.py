"""Statistics of a dataset of pairs, accumulated pair by pair."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from preferences.core.balance import kind_of
from preferences.core.pairing import Pair

MARGIN_BINS = 10


@dataclass(slots=True)
class PairStatistics:
    """Margins, lengths in characters, and depths of the prefixes."""

    pairs: int = 0
    sum_of_margins: float = 0.0
    margins: Counter[int] = field(default_factory=Counter)
    """Counts by bin: 0 for margins up to 0.1, 9 for margins above 0.9."""
    chosen_characters: int = 0
    rejected_characters: int = 0
    kinds: Counter[int] = field(default_factory=Counter)
    """See `preferences.core.balance.kind_of`."""
    depths: Counter[int] = field(default_factory=Counter)

    def add(self, pair: Pair) -> None:
        self.pairs += 1
        self.sum_of_margins += pair.margin
        self.margins[bin_of_margin(pair.margin)] += 1
        self.chosen_characters += len(pair.chosen.text)
        self.rejected_characters += len(pair.rejected.text)
        self.kinds[kind_of(pair)] += 1
        self.depths[len(pair.prefix)] += 1

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types; means are None without a pair."""
        pairs = self.pairs

        def mean(total: float) -> float | None:
            return total / pairs if pairs else None

        return {
            "pairs": pairs,
            "mean_margin": mean(self.sum_of_margins),
            "margins": [self.margins[number] for number in range(MARGIN_BINS)],
            "mean_chosen_characters": mean(self.chosen_characters),
            "mean_rejected_characters": mean(self.rejected_characters),
            "chosen_longer": self.kinds[1],
            "chosen_shorter": self.kinds[-1],
            "depths": {str(depth): number for depth, number in sorted(self.depths.items())},
        }


def bin_of_margin(margin: float) -> int:
    """Return the bin of a margin above 0 and up to 1."""
    tenths = round(margin * MARGIN_BINS, 6)  # 0.3 * 10 is slightly more than 3
    return max(0, min(MARGIN_BINS - 1, -int(-tenths // 1) - 1))
