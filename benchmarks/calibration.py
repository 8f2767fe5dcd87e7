"""Share of pairs in the right order, by confidence, on simulated policies with known values.

Each policy draws the true values of the steps after one prefix from a known distribution. It grows
forests in the shapes of several strategies. The best and the worst step after each prefix make a
pair. Pairs of equal true values count as wrong. For comparison, each pair also gets a
naive confidence: from two posteriors with a uniform prior, without the forest.

usage: python benchmarks/calibration.py [--quick] [--json] [--picture FILE]
"""

import io
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.measures import Measure, argument_parser, print_json
from forests.core.certainty.evidence import evidence_of
from forests.core.certainty.sibling_prior import PriorEstimator
from forests.core.tree import ROOT, Grade, NodePath, ReasoningTree, TreeNode
from forests.core.values import NodeValue, estimate_values

LEVELS = (0.6, 0.8, 0.9, 0.95)
LEAST_PAIRS = 100
"""Fewest pairs with which a share is compared with its goal."""
Truth = dict[NodePath, float]
Concentration = Callable[[Random], float]

POLICIES: dict[str, Concentration] = {
    "equal siblings": lambda _: math.inf,
    "siblings differ a little (s = 16)": lambda _: 16.0,
    "siblings differ (s = 4)": lambda _: 4.0,
    "siblings differ much (s = 1)": lambda _: 1.0,
    "half equal, half different (s = 2)": lambda random: math.inf if random.random() < 0.5 else 2.0,
}
"""By name: the concentration s. If a parent has the value m, the values of its children are drawn
from Beta(m s, (1 - m) s)."""

SHAPES: dict[str, tuple[int, ...]] = {
    "branching (4, 2, 1)": (4, 2, 1),
    "branching (4, 2, 2, 1)": (4, 2, 2, 1),
    "branching (4, 8, 1)": (4, 8, 1),
    "sampled, 32 samples": (32,),
}


@dataclass
class Found:
    """Pairs of one policy: each confidence, and whether the order is right."""

    model: list[tuple[float, bool]] = field(default_factory=list)
    naive: list[tuple[float, bool]] = field(default_factory=list)


def main() -> None:
    parser = argument_parser(__doc__, quick="fewer trees")
    parser.add_argument("--picture", type=Path, help="also write a reliability plot as PNG")
    options = parser.parse_args()
    num_forests, num_trees = (1, 100) if options.quick else (5, 200)
    found: dict[str, Found] = {}
    measures: list[Measure] = []
    for shape, branching in SHAPES.items():
        for policy, concentration in POLICIES.items():
            pairs = Found()
            for number in range(num_forests):
                random = Random(f"{shape}/{policy}/{number}")
                trees = [grown(random, branching, concentration) for _ in range(num_trees)]
                judge(trees, pairs)
            found[f"{policy}, {shape}"] = pairs
            measures += _measures(f"{policy}, {shape}", pairs)
            print(f"{policy}, {shape}: {len(pairs.model)} pairs", file=sys.stderr, flush=True)
    if options.picture:
        options.picture.write_bytes(picture(found.values()))
    if options.json:
        print_json("calibration", measures)
        return
    for measure in measures:
        shown = measure.note or f"{measure.figure} right, {measure.baseline}"
        print(f"{measure.case}: {shown}")


def grown(
    random: Random, branching: Sequence[int], concentration: Concentration
) -> tuple[ReasoningTree, Truth]:
    """Return a tree that a policy grew, and the true values of its steps."""
    tree, truth = ReasoningTree(), {ROOT: random.random()}
    if len(branching) == 1:
        _draw_whole(random, tree, truth, branching[0], concentration(random))
        return tree, truth
    prefixes = [ROOT]
    for level, width in enumerate(branching):
        is_end = level == len(branching) - 1
        nexts = []
        for prefix in prefixes:
            s = concentration(random)
            for position in range(width):
                path = (*prefix, position)
                if is_end:
                    _end(random, tree, truth, path, drawn_from=len(prefix))
                else:
                    truth[path] = _value(random, truth[prefix], s)
                    tree.add(TreeNode(path, f"step {position}", drawn={len(prefix): 1}))
                    nexts.append(path)
        prefixes = nexts
    return tree, truth


def _draw_whole(random: Random, tree: ReasoningTree, truth: Truth, samples: int, s: float) -> None:
    """Draw whole solutions from the root, with six possible first steps of different chances."""
    counts = [0] * 6
    for step in random.choices(range(6), weights=[6, 5, 4, 3, 2, 1], k=samples):
        counts[step] += 1
    for position, count in enumerate(one for one in counts if one):
        truth[(position,)] = _value(random, truth[ROOT], s)
        tree.add(TreeNode((position,), f"step {position}", count=count, drawn={0: count}))
        for leaf in range(count):
            _end(random, tree, truth, (position, leaf), drawn_from=0)


def _value(random: Random, mean: float, s: float) -> float:
    if math.isinf(s):
        return mean
    return random.betavariate(max(mean * s, 1e-6), max((1 - mean) * s, 1e-6))


def _end(
    random: Random, tree: ReasoningTree, truth: Truth, path: NodePath, *, drawn_from: int
) -> None:
    is_right = random.random() < truth[path[:-1]]
    grade = Grade.CORRECT if is_right else Grade.INCORRECT
    node = TreeNode(path, f"end {path[-1]}", drawn={drawn_from: 1}, terminal=True, grade=grade)
    tree.add(node)


def judge(trees: Sequence[tuple[ReasoningTree, Truth]], pairs: Found) -> None:
    """Add the best and the worst step after each prefix of a forest, as pairs."""
    estimator = PriorEstimator("leaf_mean")
    for tree, _ in trees:
        estimator.add(tree, estimate_values(tree))
    prior = estimator.prior()
    for tree, truth in trees:
        values = estimate_values(tree)
        known = evidence_of(tree, values, "leaf_mean", correlation=prior.correlation)
        for node in tree:
            children = [child.path for child in tree.children(node.path) if child.path in truth]
            if len(children) < 2:
                continue
            ranked = sorted(children, key=lambda path: (values[path].value or 0.0, path))
            best, worst = ranked[-1], ranked[0]
            if values[best].value == values[worst].value:
                continue
            is_right = truth[best] > truth[worst]
            group = [known[path] for path in children]
            chance = prior.chance_better(known[best], known[worst], len(best), group)
            pairs.model.append((chance, is_right))
            pairs.naive.append((_naive(values[best], values[worst]), is_right))


@lru_cache
def _naive(best: NodeValue, worst: NodeValue) -> float:
    """Return the chance from two posteriors with a uniform prior, each of its own samples."""
    sides = []
    for value, leaves in (best, worst):
        right = (value or 0.0) * leaves
        points = [(number + 0.5) / 200 for number in range(200)]
        masses = [point**right * (1 - point) ** (leaves - right) for point in points]
        sides.append([mass / sum(masses) for mass in masses])
    below = 0.0
    chance = 0.0
    for mine, other in zip(*sides, strict=True):
        chance += mine * (below + other / 2)
        below += other
    return chance


def _measures(case: str, pairs: Found) -> Iterator[Measure]:
    for level in LEVELS:
        kept = [right for chance, right in pairs.model if chance >= level]
        naive = [right for chance, right in pairs.naive if chance >= level]
        share = f"{len(kept) / len(pairs.model):.1%} of {len(pairs.model):,} pairs kept"
        told = f"{share}; naive: {sum(naive) / len(naive):.2f} right" if naive else share
        is_enough = len(kept) >= LEAST_PAIRS
        yield Measure(
            case=f"{case}, confidence at least {level}",
            baseline=f"the confidence ({told})",
            unit="right",
            figure=round(sum(kept) / len(kept), 3) if is_enough else None,
            baseline_figure=level,
            at_least=1.0,
            note="" if is_enough else f"{sum(kept)} of {len(kept)} right; {told}",
        )


def picture(found: Iterable[Found]) -> bytes:
    """Return a reliability plot as PNG: the share of pairs that are right, by confidence."""
    bins: dict[str, defaultdict[int, list[bool]]] = {
        "with the prior of the forest": defaultdict(list),
        "naive: uniform prior": defaultdict(list),
    }
    for pairs in found:
        for name, judged in zip(bins, (pairs.model, pairs.naive), strict=True):
            for chance, right in judged:
                bins[name][min(9, int(chance * 10))].append(right)
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", linestyle="--", label="as sure as it says")
    for (name, rows), colour in zip(bins.items(), ("#3b82c4", "#c45a3b"), strict=True):
        shown = [number for number in sorted(rows) if len(rows[number]) >= LEAST_PAIRS]
        axes.plot(
            [(number + 0.5) / 10 for number in shown],
            [sum(rows[number]) / len(rows[number]) for number in shown],
            marker="o",
            color=colour,
            label=name,
        )
    axes.set_xlabel("confidence of a pair")
    axes.set_ylabel("share of pairs that are ordered right")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend()
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


if __name__ == "__main__":
    main()
