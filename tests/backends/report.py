"""Reports of backends: kept in files, and printed as two Markdown tables or one JSON object."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.backends.growing import GrownForest
from tests.backends.probing import PROBES

_MAX_CELL = 90


@dataclass
class Report:
    """What one backend did."""

    name: str
    version: str = ""
    seconds_to_install: float = 0.0
    seconds_to_start: float = 0.0
    """Of its last start."""
    behaviour: dict[str, dict[str, str]] = field(default_factory=dict)
    """Answers to the probes by API and probe."""
    forests: list[GrownForest] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """By name of a forest: why the backend can never grow it."""
    problems: dict[str, str] = field(default_factory=dict)
    """By part of the trial: what went wrong; empty if nothing did."""

    def has(self, forest: str) -> bool:
        """Return whether a forest was grown, or refused as it must be."""
        return forest in self.refused or any(one.name == forest for one in self.forests)

    def forget(self, forests: Sequence[str], apis: Sequence[str]) -> None:
        """Drop the results of these forests and APIs, because they are tried again."""
        self.forests = [one for one in self.forests if one.name not in forests]
        self.refused = {name: why for name, why in self.refused.items() if name not in forests}
        self.behaviour = {api: seen for api, seen in self.behaviour.items() if api not in apis}


def keep(report: Report, path: Path, key: str) -> None:
    """Write a report to a file, for a later run with the same `key`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps({"key": key, "report": asdict(report)}, indent=2), encoding="utf-8")
    aside.replace(path)


def kept(path: Path, key: str) -> Report | None:
    """Return the report of an earlier run with the same `key`, without its problems, or None."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["key"] != key:
            return None
        forests = [GrownForest(**one) for one in found["report"]["forests"]]
        return Report(**{**found["report"], "forests": forests, "problems": {}})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def as_json(reports: Sequence[Report]) -> str:
    backends = [asdict(report) for report in reports]
    return json.dumps({"benchmark": "backends", "backends": backends}, indent=2)


def as_markdown(reports: Sequence[Report]) -> str:
    problems = [
        f"FAILED {report.name}, {part}: {problem}"
        for report in reports
        for part, problem in report.problems.items()
    ]
    return "\n\n".join([_behaviour_table(reports), _forest_table(reports), *problems])


def _behaviour_table(reports: Sequence[Report]) -> str:
    rows = [
        [probe.name, *(_answer(report.behaviour, probe.name) for report in reports)]
        for probe in PROBES
    ]
    return _table(["", *(f"{report.name} {report.version}" for report in reports)], rows)


def _answer(behaviour: Mapping[str, Mapping[str, str]], probe: str) -> str:
    """Return one text for both APIs if they do the same."""
    texts = {api: _short(found[probe]) for api, found in behaviour.items() if probe in found}
    if len(set(texts.values())) > 1:
        return "; ".join(f"{api}: {text}" for api, text in texts.items())
    return next(iter(texts.values()), "-")


def _forest_table(reports: Sequence[Report]) -> str:
    columns = (
        "backend", "forest", "install, s", "start, s", "trees", "nodes", "thoughts", "rollouts",
        "wall, s", "rollouts/s", "requests", "retries", "failures", "tokens in", "tokens out",
        "tokens/s", "top beam",
    )  # fmt: skip
    rows: list[list[object]] = []
    for report in reports:
        start = [f"{report.seconds_to_install:.0f}", f"{report.seconds_to_start:.0f}"]
        rows += [[report.name, one.name, *start, *_figures(one)] for one in report.forests]
        rows += [
            [report.name, name, *start, f"refused: {why}"] for name, why in report.refused.items()
        ]
    return _table(columns, rows)


def _figures(forest: GrownForest) -> list[object]:
    failures = ", ".join(f"{kind}: {number}" for kind, number in forest.failures.items())
    share = forest.beam_search.get("accuracy")
    return [
        f"{forest.complete} of {forest.trees}", forest.nodes, forest.thoughts, forest.rollouts,
        forest.seconds,
        forest.rollouts_per_second, forest.requests, forest.retries, failures or "none",
        forest.prompt_tokens, forest.completion_tokens, forest.tokens_per_second,
        "-" if share is None else f"{share:.0%}",
    ]  # fmt: skip


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"
