"""Keep only the labels on which several sources agree.

Monte Carlo values alone miss a known kind of error: a wrong step with samples that still end with
the right answer. A judge alone makes errors of its own. Zhang et al. (2501.07301) trained only on
labels on which both agree, and got better results with fewer labels.

A source has an opinion of a step: good, not good, or none. The graded leaves call a step good if
its value is above the threshold of the labels. A scorer calls it good if its score is above 0.5,
and has no opinion at 0.5. A scorer may leave the steps below its first wrong step without a score:
they count as not good too, as in every format that marks the first error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from forests.core.opinions.verdicts import Verdict, verdict_of
from forests.core.tree import NodePath, ReasoningTree, Scores
from forests.core.values import NO_RESULT, NodeValue

MONTE_CARLO = "mc"
"""Name of the Monte Carlo values in a list of scorers: the values from graded leaves."""

Opinions: TypeAlias = Mapping[NodePath, bool]
"""Whether a source calls a step good; steps of which it has no opinion are absent."""
Prefers: TypeAlias = Callable[[NodePath, NodePath], bool | None]
"""Returns whether a source rates the first node above the second; None if it does not rate both."""


@dataclass(slots=True)
class Coverage:
    """Counts of the steps on which several sources have opinions, and on which they agree."""

    steps: int = 0
    """Steps on which the source of the values has an opinion."""
    compared: int = 0
    """Of these, the steps on which all sources have an opinion."""
    agreed: int = 0
    """Of these, the steps on which all sources agree."""

    def as_dict(self) -> dict[str, int | float | None]:
        """Return the counts and both shares, which are None without steps."""
        return {
            "steps": self.steps,
            "compared": self.compared,
            "agreed": self.agreed,
            "coverage": self.compared / self.steps if self.steps else None,
            "agreement": self.agreed / self.compared if self.compared else None,
        }


def opinions_of_values(
    values: Mapping[NodePath, NodeValue], is_good: Callable[[float], bool]
) -> Opinions:
    """Return the opinions of Monte Carlo values."""
    return {path: is_good(one.value) for path, one in values.items() if one.value is not None}


def opinions_of_scores(tree: ReasoningTree, scores: Scores) -> Opinions:
    """Return the opinions of a scorer."""
    found: dict[NodePath, bool] = {}
    below_wrong: set[NodePath] = set()
    for node in tree:  # parents first
        path = node.path
        verdict = verdict_of(scores[path]) if path in scores else None
        if (path and path[:-1] in below_wrong) or verdict is Verdict.WRONG:
            below_wrong.add(path)
        if verdict in (Verdict.RIGHT, Verdict.WRONG):
            found[path] = verdict is Verdict.RIGHT
        elif verdict is None and path in below_wrong:
            found[path] = False
    return found


def agreed_values(
    values: Mapping[NodePath, NodeValue],
    own: Opinions,
    others: Mapping[str, Opinions],
    coverage: Coverage,
) -> dict[NodePath, NodeValue]:
    """Return the values of the steps on which all sources agree; other steps have no result.

    Adds the counts of steps to `coverage`. The root is a prompt, not a step: it keeps its value.
    """
    kept = dict(values)
    for path, opinion in own.items():
        if not path:
            continue
        coverage.steps += 1
        said = {opinions[path] for opinions in others.values() if path in opinions}
        is_compared = all(path in opinions for opinions in others.values())
        is_agreed = is_compared and said <= {opinion}
        coverage.compared += is_compared
        coverage.agreed += is_agreed
        if not is_agreed:
            kept[path] = NO_RESULT
    return kept


def prefers_by_values(values: Mapping[NodePath, NodeValue]) -> Prefers:
    """Return a function that tells whether one node has a higher value than another."""
    return prefers_by_scores(
        {path: one.value for path, one in values.items() if one.value is not None}
    )


def prefers_by_scores(scores: Scores) -> Prefers:
    """Return a function that tells whether one node has a higher score than another."""

    def prefers(one: NodePath, other: NodePath) -> bool | None:
        if one not in scores or other not in scores:
            return None
        return scores[one] > scores[other]

    return prefers


@dataclass(frozen=True, slots=True)
class Consensus:
    """The other sources that must prefer the chosen side of a pair too."""

    prefers: Mapping[str, Prefers] = field(default_factory=dict)

    def reason_against(self, chosen: NodePath, rejected: NodePath) -> str:
        """Return why a pair is left out: the name of a reason; empty if all sources agree."""
        said = [prefers(chosen, rejected) for prefers in self.prefers.values()]
        if None in said:
            return "pairs_without_other_scores"
        return "" if all(said) else "pairs_on_which_sources_disagree"
