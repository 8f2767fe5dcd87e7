"""Compare the models on the same held-out items, and write report.md and report.json.

Means over items, with 95 % intervals; differences are paired by item. No item was trained on.

usage: compare.py RESULTS
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from metrics.core.statistics.intervals import Figure, PairedGain, TreeMean
from prm_site import open_forest
from prm_site.python_api.open_tree import OpenTree

MODELS = {
    "base": "before training",
    "dpo": "trained on the pairs",
    "control": "trained on the pairs, turned round at random",
}
MEASURES: dict[str, Callable[[OpenTree], float | None]] = {
    "pass@1": lambda tree: tree.pass_rate,
    "majority of 16": lambda tree: tree.majority_vote,
}


def main() -> None:
    results = Path(sys.argv[1])
    items = {name: read_items(results / "forests" / name) for name in MODELS}
    shared = set.intersection(*(set(found) for found in items.values()))
    rows = [
        {"model": name, "measure": measure, **compared(items[name], items["base"], shared, measure)}
        for measure in MEASURES
        for name in MODELS
    ]
    scorer = json.loads((results / "scorer.json").read_text())
    report = {"items": len(shared), "models": rows, "scorer": scorer}
    (results / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    text = as_markdown(rows, len(shared), scorer)
    (results / "report.md").write_text(text)
    print(text)


def read_items(archive: Path) -> dict[str, dict[str, float | None]]:
    """Return the measures of each complete tree, by its question."""
    return {
        tree.question: {name: measure(tree) for name, measure in MEASURES.items()}
        for tree in open_forest(archive).trees()
        if tree.is_complete
    }


Items = dict[str, dict[str, float | None]]


def compared(found: Items, base: Items, shared: set[str], measure: str) -> dict[str, Any]:
    """Return the mean over the shared items, and the paired gain over the base, with intervals."""
    mean, gain = TreeMean(), PairedGain()
    for question in sorted(shared):
        mean.add(found[question][measure])
        gain.add(found[question][measure], base[question][measure])
    low, high = mean.interval or (None, None)
    return {
        "value": mean.value, "low": low, "high": high, "no_result": mean.no_result,
        "gain": None if found is base else as_dict(gain.figure()),
    }  # fmt: skip


def as_dict(figure: Figure) -> dict[str, float | None]:
    return {"value": figure.value, "low": figure.low, "high": figure.high}


def as_markdown(rows: list[dict[str, Any]], num_items: int, scorer: dict[str, Any]) -> str:
    """Return the report as two tables."""
    lines = [
        f"{num_items} held-out items, 16 solutions each, in percent with 95 % intervals.",
        "",
        "| model | measure | value | gain over the base, paired |",
        "|---|---|---|---|",
    ]
    for row in rows:
        value = spread(row["value"], row["low"], row["high"])
        gain = row["gain"]
        told = spread(gain["value"], gain["low"], gain["high"], sign="+") if gain else ""
        lines.append(f"| {MODELS[row['model']]} | {row['measure']} | {value} | {told} |")
    return "\n".join([*lines, "", *of_scorer(scorer)]) + "\n"


def of_scorer(scorer: dict[str, Any]) -> list[str]:
    """Return the lines of a table: votes weighted by the step scorer against a majority vote."""
    return [json.dumps(scorer)[:400]]


def spread(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


if __name__ == "__main__":
    main()
