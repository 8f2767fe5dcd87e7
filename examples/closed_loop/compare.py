"""Compare the models on the same held-out items, and write report.md and report.json.

Means over items, with 95 % intervals; gains are paired by item. No item was trained on.

usage: compare.py RESULTS
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from metrics.core.statistics.intervals import PairedGain, TreeMean
from prm_site import open_forest
from prm_site.python_api.open_tree import OpenTree

MODELS = {
    "base": "before training",
    "dpo": "trained on the pairs",
    "control": "control: pairs turned round at random",
}
MEASURES: dict[str, Callable[[OpenTree], float | None]] = {
    "pass@1": lambda tree: tree.pass_rate,
    "majority of 16": lambda tree: tree.majority_vote,
}
Items: TypeAlias = Mapping[str, Mapping[str, float | None]]
"""Measures of each item, by its question."""


def main() -> None:
    results = Path(sys.argv[1])
    items = {name: items_of(open_forest(results / "forests" / name).trees()) for name in MODELS}
    gains = compared(items)
    scorer = json.loads((results / "scorer.json").read_text())
    votes = votes_of(scorer)
    report = {"models": gains, "votes": votes, "scorer": scorer["quality"]}
    (results / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    text = as_markdown(gains, votes)
    (results / "report.md").write_text(text)
    print(text)


def items_of(trees: Iterable[OpenTree]) -> Items:
    """Return the measures of the complete trees."""
    return {
        tree.question: {name: measure(tree) for name, measure in MEASURES.items()}
        for tree in trees
        if tree.is_complete
    }


def compared(models: Mapping[str, Items]) -> list[dict[str, Any]]:
    """Return a row for each measure and model: its mean, and its gain over the first model.

    Only items with complete trees of all models count.
    """
    base, *_ = models
    shared = sorted(set.intersection(*(set(found) for found in models.values())))
    rows = []
    for measure in MEASURES:
        for name, found in models.items():
            mean, gain = TreeMean(), PairedGain()
            for question in shared:
                mean.add(found[question][measure])
                gain.add(found[question][measure], models[base][question][measure])
            figure = gain.figure()
            rows.append(
                {
                    "measure": measure,
                    "model": name,
                    "items": mean.trees,
                    "value": mean.value,
                    "interval": mean.interval,
                    "gain": None if name == base else figure.value,
                    "gain_interval": None if name == base else (figure.low, figure.high),
                }
            )
    return rows


def votes_of(scorer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the votes weighted by the step scorer, with their gains over a majority vote.

    `scorer` is what `evaluate_scorer --json` printed.
    """
    return [
        {
            "aggregation": row["aggregation"],
            "samples": row["k"],
            "items": row["trees"],
            "value": row["value"],
            "interval": (row["low"], row["high"]),
            "gain": row["gain"],
            "gain_interval": (row["gain_low"], row["gain_high"]),
        }
        for row in scorer["searches"]["prm"]
        if row["metric"] == "weighted_vote"
    ]


def as_markdown(gains: Sequence[Mapping[str, Any]], votes: Sequence[Mapping[str, Any]]) -> str:
    """Return both tables, in percent and percentage points with 95 % intervals."""
    lines = ["| measure | model | items | % | gain over the first |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['measure']} | {MODELS[row['model']]} | {row['items']} | "
        f"{shown(row['value'], row['interval'])} | "
        f"{'' if row['gain'] is None else shown(row['gain'], row['gain_interval'], '+')} |"
        for row in gains
    ]
    lines += ["", "| vote weighted by the score | samples | items | % | gain over majority |"]
    lines += ["|---|---|---|---|---|"]
    lines += [
        f"| {row['aggregation']} of the steps | {row['samples']} | {row['items']} | "
        f"{shown(row['value'], row['interval'])} | "
        f"{shown(row['gain'], row['gain_interval'], '+')} |"
        for row in votes
    ]
    return "\n".join(lines) + "\n"


def shown(value: float | None, interval: Sequence[float | None] | None, sign: str = "") -> str:
    """Return a share as a percentage with its interval."""
    if value is None:
        return "no result"
    low, high = interval or (None, None)
    if low is None or high is None:
        return f"{100 * value:{sign}.1f}"
    return f"{100 * value:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


if __name__ == "__main__":
    main()
