"""Selection of preference pairs in a tree: two continuations of a prefix, the better one chosen.

For n continuations of different value, `best_vs_worst` gives 1 pair, `adjacent` n - 1 pairs and
`all_pairs` n (n - 1) / 2 pairs. Pairs with equal values, equal texts, too small a margin or too
little evidence are left out and counted by reason.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from itertools import combinations, pairwise
from random import Random
from typing import Any

from forests.core.estimators import FOR_PAIRS
from forests.core.tree import ROOT, NodePath, ReasoningTree, parse_path
from forests.core.values import NodeValue, estimate_values
from forests.core.voting import counted_answer
from metrics.core.tree_filters import TREES_LEFT_OUT
from preferences.core.confidence import Confidence
from preferences.core.consensus import Consensus
from preferences.core.edit_distance import relative_edit_distance

PAIRINGS = ("best_vs_worst", "adjacent", "all_pairs")
STEP, STEP_TO_END, TRAJECTORY = LEVELS = ("step", "step_to_end", "trajectory")

REASONS = {
    "prefixes_with_one_continuation": "prefixes with fewer than two continuations to compare",
    "nodes_of_added_rollouts": "steps of rollouts that refine_forest added",
    "nodes_without_result": "continuations with no result under them",
    "nodes_with_too_few_leaves": "continuations with fewer leaves than --min_leaves",
    "nodes_with_blank_text": "ends of a solution that add no text",
    "nodes_with_repeated_text": "continuations with the same text as a sibling",
    "pairs_with_equal_values": "pairs with equal values",
    "pairs_below_min_margin": "pairs with a margin below --min_margin",
    "pairs_below_min_confidence": "pairs with a confidence below --min_confidence",
    "pairs_below_min_edit_distance": "pairs of texts that differ by less than --min_edit_distance",
    "pairs_without_other_scores": "pairs with a side that another source does not rate",
    "pairs_on_which_sources_disagree": "pairs whose chosen side another source does not prefer",
    "pairs_with_the_same_answer": "pairs whose sides end with the same answer",
    "pairs_without_end": "pairs with a side whose later steps have neither value nor grade",
    "pairs_with_equal_texts": "pairs whose continued sides have the same text",
    "pairs_repeated": "pairs with the same texts as another pair",
    "pairs_contradicted": "pairs whose texts another pair orders the other way",
    "pairs_over_prefix_cap": "pairs beyond --max_pairs_per_prefix",
    "pairs_over_tree_cap": "pairs beyond --max_pairs_per_tree",
    "trees_without_scores": "complete trees without scores of the scorer",
    **TREES_LEFT_OUT,
}
"""Reasons why something is left out, as shown."""

# Shares such as 0.7 and 0.2 are not exact in binary, but their difference must count as 0.5.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class PairingOptions:
    """Options of pair selection; the same options give the same pairs of a tree."""

    pairing: str = "best_vs_worst"
    min_margin: float = 0.0
    """Least difference of the two values; equal values never make a pair."""
    min_leaves: int = 1
    """Least number of leaves behind the value of each side."""
    min_confidence: float = 0.0
    """Least probability that the chosen side is truly better; pairs of unknown confidence stay."""
    min_edit_distance: float = 0.0
    """Least edit distance of the two steps, as a share of the longer one."""
    level: str = STEP_TO_END
    """`step_to_end`: next steps of a prefix, each continued to the end. The chosen step gets its
    best continuation, and the rejected step its worst, because its best one may be correct. `step`:
    the same steps with the same values, for trainers that add no end to a text. `trajectory`: whole
    solutions of the root prompt."""
    drop_same_answer: bool = False
    """Whether to leave out pairs whose sides end with the same answer."""
    max_pairs_per_tree: int | None = None
    max_pairs_per_prefix: int | None = None
    seed: int = 0
    """Seed of the random choice of pairs that a cap keeps."""

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: an option is invalid. The message names the first one, on one line.
        """
        caps = (self.max_pairs_per_tree, self.max_pairs_per_prefix)
        rules = (
            (self.pairing in PAIRINGS, f"pairing must be one of {', '.join(PAIRINGS)}"),
            (self.level in LEVELS, f"level must be one of {', '.join(LEVELS)}"),
            (0 <= self.min_margin <= 1, "min_margin must be a number from 0 to 1"),
            (0 <= self.min_confidence <= 1, "min_confidence must be a number from 0 to 1"),
            (0 <= self.min_edit_distance <= 1, "min_edit_distance must be a number from 0 to 1"),
            (self.min_leaves >= 1, "min_leaves must be at least 1"),
            (all(cap is None or cap >= 1 for cap in caps), "a cap on pairs must be at least 1"),
        )
        for good, rule in rules:
            if not good:
                raise ValueError(rule)

    def as_dict(self) -> dict[str, Any]:
        values = asdict(self)
        if not self.drop_same_answer:
            del values["drop_same_answer"]  # sets older than this option keep their names
        for later in ("min_confidence", "min_edit_distance"):  # the same
            if not values[later]:
                del values[later]
        return values


@dataclass(frozen=True, slots=True)
class Side:
    """One continuation of a prefix."""

    path: NodePath
    text: str
    value: float
    leaves: int


@dataclass(frozen=True, slots=True)
class Pair:
    """Two continuations of one prefix; prefix + side is exactly what the model wrote."""

    prefix: NodePath
    prefix_text: str
    chosen: Side
    rejected: Side
    confidence: float | None = None
    """Probability that the chosen side is truly better; None if it is unknown."""

    @property
    def margin(self) -> float:
        return self.chosen.value - self.rejected.value

    @property
    def texts(self) -> tuple[str, str, str]:
        return self.prefix_text, self.chosen.text, self.rejected.text


@dataclass(frozen=True, slots=True)
class PairSelection:
    """The pairs of a tree in the order of their prefixes, and counts of what was left out."""

    pairs: list[Pair] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def _unknown(_one: NodePath, _other: NodePath) -> float | None:
    return None


def steps_to_pair(
    refined_for: str, refined_steps: Sequence[str] | None
) -> Collection[NodePath] | None:
    """Return the steps of a tree that `refine_forest` compared; None: all may be paired.

    The first steps of added rollouts have one sample each. The best and the worst of many such
    steps would hide the pairs that `refine_forest` decided.
    """
    if refined_for != FOR_PAIRS or refined_steps is None:
        return None
    return {parse_path(step) for step in refined_steps}


def select_pairs(  # noqa: PLR0913  all but the first three are optional
    tree: ReasoningTree,
    values: Mapping[NodePath, NodeValue],
    options: PairingOptions,
    *,
    confidence: Confidence = _unknown,
    consensus: Consensus = Consensus(),  # noqa: B008  frozen
    steps: Collection[NodePath] | None = None,
    key: str = "",
) -> PairSelection:
    """Return the preference pairs of a tree.

    Args:
        tree: a complete tree.
        values: the value of each node; a node without a value is never a side of a pair.
        options: which pairs to select.
        confidence: the probability that one node is better than another.
        consensus: the other sources that must prefer the chosen side too.
        steps: the steps that can be a side, for levels of steps; None: all.
        key: name of the tree; caps then sample different positions in each tree.
    """
    graded = cache(lambda: estimate_values(tree, "leaf_mean", "exclude"))
    random = Random(f"{options.seed}/{key}")  # a text seeds it equally on every machine
    dropped: Counter[str] = Counter()
    pairs: list[Pair] = []
    for prefix, nodes in _continuations(tree, options.level, steps, dropped):
        sides = _usable_sides(tree, prefix, nodes, values, options, dropped)
        found = _different_enough(
            _pairs_of(prefix, tree.steps_text(prefix), sides, options, dropped), options, dropped
        )
        found = [
            replace(pair, confidence=confidence(pair.chosen.path, pair.rejected.path))
            for pair in found
        ]
        found = _sure_enough(found, options, dropped)
        found = _agreed(found, consensus, dropped)
        if options.level == STEP_TO_END:
            ended = [_to_end(tree, values, graded, pair) for pair in found]
            longer = [pair for pair in ended if pair is not None]
            dropped["pairs_without_end"] += len(ended) - len(longer)
            # After different steps, the continuations can still make the whole texts equal.
            found = [pair for pair in longer if pair.chosen.text != pair.rejected.text]
            dropped["pairs_with_equal_texts"] += len(longer) - len(found)
        if options.drop_same_answer:
            found = _without_same_answer(tree, found, dropped)
        kept = _sample(found, options.max_pairs_per_prefix, random)
        dropped["pairs_over_prefix_cap"] += len(found) - len(kept)
        pairs += kept
    by_texts: dict[tuple[str, str, str], Pair] = {}
    for pair in pairs:
        by_texts.setdefault(pair.texts, pair)
    dropped["pairs_repeated"] += len(pairs) - len(by_texts)
    consistent = _without_contradictions(by_texts, dropped)
    kept = _sample(consistent, options.max_pairs_per_tree, random)
    dropped["pairs_over_tree_cap"] += len(consistent) - len(kept)
    return PairSelection(kept, +dropped)


def _continuations(
    tree: ReasoningTree,
    level: str,
    steps: Collection[NodePath] | None,
    dropped: Counter[str],
) -> Iterator[tuple[NodePath, list[NodePath]]]:
    """Yield each prefix with the nodes at which its continuations end."""
    if level == TRAJECTORY:
        yield ROOT, [leaf.path for leaf in tree.leaves() if leaf.path]
        return
    for node in tree:
        children = [child.path for child in tree.children(node.path)]
        candidates = [path for path in children if steps is None or path in steps]
        dropped["nodes_of_added_rollouts"] += len(children) - len(candidates)
        if candidates:
            yield node.path, candidates


def _usable_sides(
    tree: ReasoningTree,
    prefix: NodePath,
    nodes: Iterable[NodePath],
    values: Mapping[NodePath, NodeValue],
    options: PairingOptions,
    dropped: Counter[str],
) -> list[Side]:
    """Return the continuations that can be compared, best first.

    Of several continuations with the same text, the one with the most leaves stays. Otherwise one
    pair could call a text better than a sibling, and another pair call the same text worse.
    """
    by_text: dict[str, Side] = {}
    for path in nodes:
        text = "".join(node.text for node in tree.path_nodes(path)[len(prefix) :])
        value, leaves = values[path].value, values[path].leaves
        if value is None:
            dropped["nodes_without_result"] += 1
        elif leaves < options.min_leaves:
            dropped["nodes_with_too_few_leaves"] += 1
        elif not text.strip():
            dropped["nodes_with_blank_text"] += 1
        else:
            side = Side(path, text, value, leaves)
            known = by_text.setdefault(text, side)
            if known is not side:
                dropped["nodes_with_repeated_text"] += 1
                by_text[text] = max(known, side, key=lambda side: side.leaves)
    return sorted(by_text.values(), key=lambda side: (-side.value, -side.leaves, side.path))


def _pairs_of(
    prefix: NodePath,
    prefix_text: str,
    ranked: Sequence[Side],
    options: PairingOptions,
    dropped: Counter[str],
) -> list[Pair]:
    if len(ranked) < 2:  # noqa: PLR2004
        dropped["prefixes_with_one_continuation"] += 1
        return []
    pairs = []
    for chosen, rejected in _candidates(ranked, options.pairing):
        margin = chosen.value - rejected.value
        if margin < _ROUNDING:
            dropped["pairs_with_equal_values"] += 1
        elif margin < options.min_margin - _ROUNDING:
            dropped["pairs_below_min_margin"] += 1
        else:
            pairs.append(Pair(prefix, prefix_text, chosen, rejected))
    return pairs


def _different_enough(
    pairs: list[Pair], options: PairingOptions, dropped: Counter[str]
) -> list[Pair]:
    """Return the pairs with sides that are not near-duplicates of each other."""
    least = options.min_edit_distance - _ROUNDING
    if least <= 0:
        return pairs
    different = [
        pair
        for pair in pairs
        if relative_edit_distance(pair.chosen.text, pair.rejected.text) >= least
    ]
    dropped["pairs_below_min_edit_distance"] += len(pairs) - len(different)
    return different


def _agreed(pairs: Sequence[Pair], consensus: Consensus, dropped: Counter[str]) -> list[Pair]:
    kept = []
    for pair in pairs:
        if reason := consensus.reason_against(pair.chosen.path, pair.rejected.path):
            dropped[reason] += 1
        else:
            kept.append(pair)
    return kept


def _sure_enough(
    pairs: Sequence[Pair], options: PairingOptions, dropped: Counter[str]
) -> list[Pair]:
    sure = [
        pair
        for pair in pairs
        if pair.confidence is None or pair.confidence >= options.min_confidence - _ROUNDING
    ]
    dropped["pairs_below_min_confidence"] += len(pairs) - len(sure)
    return sure


def _to_end(
    tree: ReasoningTree,
    values: Mapping[NodePath, NodeValue],
    graded: Callable[[], Mapping[NodePath, NodeValue]],
    pair: Pair,
) -> Pair | None:
    """Return the pair with both steps continued to a leaf.

    A judge may give the steps after the first error no values. Where no next step has a value, the
    graded leaves choose the way from there on. None if they have no value either.
    """

    def continued(side: Side, sign: int) -> Side | None:
        path, known = side.path, values
        while children := tree.children(path):
            if all(known[child.path].value is None for child in children):
                known = graded()
            rated = [child.path for child in children if known[child.path].value is not None]
            if not rated:
                return None
            path = max(
                rated, key=lambda one: (sign * (known[one].value or 0.0), known[one].leaves, one)
            )
        text = "".join(node.text for node in tree.path_nodes(path)[len(pair.prefix) :])
        return replace(side, path=path, text=text)

    chosen, rejected = continued(pair.chosen, 1), continued(pair.rejected, -1)
    return replace(pair, chosen=chosen, rejected=rejected) if chosen and rejected else None


def _without_same_answer(
    tree: ReasoningTree, pairs: Sequence[Pair], dropped: Counter[str]
) -> list[Pair]:
    def answer(side: Side) -> str | None:
        return counted_answer(tree.nodes[side.path])

    different = [
        pair
        for pair in pairs
        if answer(pair.chosen) is None or answer(pair.chosen) != answer(pair.rejected)
    ]
    dropped["pairs_with_the_same_answer"] += len(pairs) - len(different)
    return different


def _without_contradictions(
    by_texts: Mapping[tuple[str, str, str], Pair], dropped: Counter[str]
) -> list[Pair]:
    """Return the pairs that no other pair contradicts.

    Two prefixes can have equal texts, because a step may be blank or steps may end elsewhere. Such
    prefixes can order the same two continuations in different ways.
    """
    consistent = [
        pair
        for (prefix, chosen, rejected), pair in by_texts.items()
        if (prefix, rejected, chosen) not in by_texts
    ]
    dropped["pairs_contradicted"] += len(by_texts) - len(consistent)
    return consistent


def _candidates(ranked: Sequence[Side], pairing: str) -> Iterable[tuple[Side, Side]]:
    if pairing == "all_pairs":
        return combinations(ranked, 2)
    if pairing == "adjacent":
        return pairwise(ranked)
    worst = min(ranked, key=lambda side: (side.value, -side.leaves, side.path))
    return [(ranked[0], worst)]


def _sample(pairs: list[Pair], cap: int | None, random: Random) -> list[Pair]:
    """Return a random sample of at most `cap` pairs, in their order."""
    if cap is None or len(pairs) <= cap:
        return pairs
    return [pairs[position] for position in sorted(random.sample(range(len(pairs)), cap))]
