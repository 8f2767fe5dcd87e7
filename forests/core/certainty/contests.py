"""Which step after a prefix is better: what is known of it, during and after `refine_forest`.

Preference pairs take the best and the worst step after each prefix. A contest is decided if one of
the two is better with the wanted confidence (`forests.core.certainty.sibling_prior`).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from experiment_configs.refinements import Refinement
from forests.core.certainty.evidence import Evidence, evidence_of
from forests.core.certainty.standings import own_rollouts
from forests.core.tree import NodePath, ReasoningTree
from forests.core.values import estimate_values

if TYPE_CHECKING:
    from forests.core.certainty.sibling_prior import SiblingPrior


class ContestStanding(StrEnum):
    """What is known of the order of the best and the worst step after a prefix."""

    DECIDED = "decided"
    """The order has the wanted confidence."""
    OPEN = "open"
    """Undecided: more rollouts may decide it."""
    HOPELESS = "hopeless"
    """Undecided: even if the remaining rollouts come out as those before, they do not decide it."""
    SPENT = "spent"
    """Undecided, and all allowed rollouts are drawn."""


@dataclass(frozen=True, slots=True)
class Contest:
    """The best and the worst step after a prefix."""

    best: NodePath
    worst: NodePath
    confidence: float
    """Probability that the best step is truly better than the worst."""
    standing: ContestStanding
    missing: Mapping[NodePath, int]
    """How many rollouts may still be drawn from each of the two, if it is open."""


def steps_to_rank(tree: ReasoningTree) -> list[NodePath]:
    """Return the steps of a complete tree that have an alternative, parents first.

    The steps of rollouts that a refinement adds must not be ranked, so call this before the first
    refinement.
    """
    candidates = (
        [child.path for child in tree.children(node.path) if _is_step(tree, child.path)]
        for node in tree
    )
    return sorted(path for some in candidates if len(some) > 1 for path in some)


def _is_step(tree: ReasoningTree, path: NodePath) -> bool:
    return bool(tree.nodes[path].text.strip()) and not tree.nodes[path].is_thought


def contests(
    tree: ReasoningTree, steps: Collection[NodePath], refinement: Refinement
) -> Iterator[Contest]:
    """Yield the contest after each prefix that has two of these steps with a result.

    Args:
        tree: the tree.
        steps: the candidates: `steps_to_rank`.
        refinement: one with the goal `pairs`.
    """
    # It imports NumPy, which workers that rank no steps do not need.
    from forests.core.certainty.sibling_prior import SiblingPrior  # noqa: PLC0415

    prior = SiblingPrior.from_dict(refinement.prior or SiblingPrior().as_dict())
    target = refinement.target_confidence or 1.0
    most_rollouts = refinement.most_rollouts
    values = estimate_values(tree, "through_rollouts")
    known = evidence_of(tree, values, "through_rollouts")
    drawn, _ = own_rollouts(tree)
    groups: dict[NodePath, list[NodePath]] = {}
    for step in sorted(steps):
        if step in known:
            groups.setdefault(step[:-1], []).append(step)
    for prefix, group in groups.items():
        ranked = _ranked(tree, group, known)
        if len(ranked) > 1:
            best, worst = ranked[0], ranked[-1]
            siblings = {
                child.path: known[child.path]
                for child in tree.children(prefix)
                if child.path in known
            }
            missing = {
                step: most_rollouts - drawn[step]
                for step in (best, worst)
                if not known[step].is_certain and drawn[step] < most_rollouts
            }
            yield _contest(best, worst, siblings, missing, prior, target)


def _ranked(
    tree: ReasoningTree, group: Sequence[NodePath], known: Mapping[NodePath, Evidence]
) -> list[NodePath]:
    """Return the steps with different texts, best first and worst last; ties by most samples."""
    by_text: dict[str, NodePath] = {}
    for path in group:
        other = by_text.setdefault(tree.nodes[path].text, path)
        by_text[tree.nodes[path].text] = max(other, path, key=lambda one: known[one].samples)
    shares = {path: known[path].correct / known[path].samples for path in by_text.values()}
    ranked = sorted(shares, key=lambda one: (-shares[one], -known[one].samples, one))
    worst = min(ranked, key=lambda one: (shares[one], -known[one].samples, one))
    return [*(one for one in ranked if one != worst), worst]


def _contest(
    best: NodePath,
    worst: NodePath,
    siblings: Mapping[NodePath, Evidence],
    missing: Mapping[NodePath, int],
    prior: "SiblingPrior",
    target: float,
) -> Contest:
    def confidence(known: Mapping[NodePath, Evidence]) -> float:
        return prior.chance_better(known[best], known[worst], len(best), list(known.values()))

    found = confidence(siblings)
    if found >= target:
        return Contest(best, worst, found, ContestStanding.DECIDED, {})
    if not missing:
        return Contest(best, worst, found, ContestStanding.SPENT, {})
    outlook = {
        path: _with_more(one, missing[path]) if path in missing else one
        for path, one in siblings.items()
    }
    if confidence(outlook) < target:
        return Contest(best, worst, found, ContestStanding.HOPELESS, {})
    return Contest(best, worst, found, ContestStanding.OPEN, missing)


def _with_more(one: Evidence, number: int) -> Evidence:
    """Return evidence with more samples and the same share of correct ones."""
    share = one.correct / one.samples
    samples = one.samples + number
    return Evidence(round(share * samples, 6), samples)
