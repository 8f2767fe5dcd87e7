"""Statistics of a dataset, accumulated pair by pair or tree by tree."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from forests.core.certainty.evidence import known_interval
from forests.core.values import NodeValue
from preferences.core.balance import kind_of
from preferences.core.pairing import Pair

MARGIN_BINS = 10
CONFIDENCES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Lower ends of the bins of confidences."""
SAMPLES = (1, 2, 4, 8, 16, 32)
"""Lower ends of the bins of numbers of samples."""
UNKNOWN = "unknown"


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


@dataclass(slots=True)
class EvidenceStatistics:
    """The samples and confidence behind a dataset: of the sides of pairs, or of labelled steps."""

    samples: Counter[int] = field(default_factory=Counter)
    """Values by their number of samples; values of scorers have no samples and are left out."""
    confidence: Counter[str] = field(default_factory=Counter)
    """Pairs by their confidence, in the bins of `CONFIDENCES`."""
    steps: int = 0
    good: int = 0
    undecided: int = 0
    """Steps whose 95 % interval contains good and bad values."""

    def add_pair(self, pair: Pair) -> None:
        self.confidence[_confidence_bin(pair.confidence)] += 1
        self._add_samples(pair.chosen.leaves)
        self._add_samples(pair.rejected.leaves)

    def add_steps(self, values: Iterable[NodeValue], is_good: Callable[[float], bool]) -> None:
        """Add the values of labelled steps; those without a value have no label."""
        for one in values:
            if one.value is None:
                continue
            self.steps += 1
            self.good += is_good(one.value)
            if (interval := known_interval(one)) is not None:
                self.undecided += is_good(interval[0]) != is_good(interval[1])
            self._add_samples(one.leaves)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types; the median is None without a sample."""
        found: dict[str, Any] = {
            "samples": _binned(self.samples),
            "median_samples": _median(self.samples),
        }
        if self.confidence:
            names = [*_names_of_confidences(), UNKNOWN]
            found["confidence"] = {name: self.confidence[name] for name in names}
        if self.steps:
            found |= {"steps": self.steps, "good": self.good, "undecided": self.undecided}
        return found

    def _add_samples(self, leaves: int) -> None:
        if leaves:
            self.samples[leaves] += 1


def _confidence_bin(confidence: float | None) -> str:
    if confidence is None:
        return UNKNOWN
    return _names_of_confidences()[bisect_right(CONFIDENCES, confidence) - 1]


def _binned(samples: Counter[int]) -> dict[str, int]:
    names = [_range(first, after - 1) for first, after in pairwise(SAMPLES)]
    names.append(f"{SAMPLES[-1]} and more")
    counts: Counter[str] = Counter()
    for leaves, number in samples.items():
        counts[names[bisect_right(SAMPLES, leaves) - 1]] += number
    return {name: counts[name] for name in names}


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


def _names_of_confidences() -> list[str]:
    names = [f"{low:g} to {high:g}" for low, high in pairwise(CONFIDENCES)]
    return [*names, f"{CONFIDENCES[-1]:g} and more"]


def _median(samples: Counter[int]) -> int | None:
    """Return the lower median."""
    sizes = sorted(samples)
    reached = accumulate(samples[size] for size in sizes)
    half = (samples.total() + 1) // 2
    return next((size for size, so_far in zip(sizes, reached, strict=True) if so_far >= half), None)
