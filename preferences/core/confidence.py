"""The probability that the chosen side of a pair is truly the better one."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from forests.core.certainty.evidence import Evidence, evidence_of
from forests.core.tree import NodePath, ReasoningTree
from forests.core.values import NodeValue
from preferences.core.value_sources import ValueSource

if TYPE_CHECKING:  # it imports NumPy, which most commands do not need
    from forests.core.certainty.sibling_prior import SiblingPrior

USUAL_CONFIDENCE = 0.8
"""Default of `create_preferences`: see docs/confidence.md."""

Confidence: TypeAlias = Callable[[NodePath, NodePath], float | None]
"""Returns the probability that the first node is truly better than the second; None if unknown."""


def has_confidence(source: ValueSource) -> bool:
    """Return whether values of this source are shares of samples, or the progress by such shares.

    A scorer gives no samples, and the values of `any` are not shares, so the confidence of their
    pairs is unknown.
    """
    return not source.scorer and source.estimator != "any"


def confidence_in(
    tree: ReasoningTree,
    values: Mapping[NodePath, NodeValue],
    source: ValueSource,
    prior: "SiblingPrior | None",
) -> Confidence:
    """Return a function that gives the confidence of the pairs of a tree.

    It compares steps after one prefix by the prior of their forest. Whole solutions are certainly
    correct or certainly incorrect. Without a prior, or for values that are not shares of samples,
    the confidence is unknown.
    """
    if prior is None or not has_confidence(source):
        return lambda _one, _other: None
    if source.is_progress:  # progress orders the steps after one prefix as their values do
        values = source.states_of(tree, {})
    known = evidence_of(tree, values, source.estimator, source.ungraded, prior.correlation)

    @cache
    def pairs_after(prefix: NodePath) -> Callable[[Evidence, Evidence], float]:
        nodes = tree.children(prefix)
        siblings = [known[node.path] for node in nodes if node.path in known]
        return prior.pairs_of(len(prefix) + 1, siblings)

    def confidence(one: NodePath, other: NodePath) -> float | None:
        if one not in known or other not in known:
            return None
        return pairs_after(one[:-1])(known[one], known[other])

    return confidence
