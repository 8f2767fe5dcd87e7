"""The commands with their short names, in the order of the work: `prm --help` shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One command in the table."""

    name: str
    summary: str
    verb: str = ""
    """A short name of the command; empty if it has none."""


COMMANDS: Mapping[str, Sequence[Entry]] = {
    "Try it": [
        Entry("demo", "run the whole flow with a small model, then serve the pages"),
        Entry("services", "run an embedded MongoDB, queue and model server"),
        Entry("view", "serve the pages on this machine and print their address"),
    ],
    "Make a forest": [
        Entry("verify_config", "check a config, its dataset and its model server", "verify"),
        Entry("seed_forest", "make a forest: one tree for each item of a dataset", "seed"),
        Entry("import_trees", "make a forest of trees that another program grew"),
        Entry("import_forest", "read a forest that export_forest wrote"),
    ],
    "Grow it": [
        Entry("rollout_worker", "grow a forest with processes of this machine", "grow"),
        Entry("populate_forest", "queue a forest, for workers on any machine to grow"),
        Entry("rqworker", "grow what is queued: prm rqworker rollouts"),
        Entry("rqworker-pool", "the same with several processes"),
        Entry("retry_failed", "make failed trees pending again"),
        Entry("extend_forest", "let a grown forest grow further"),
        Entry("refine_forest", "draw more rollouts where a step is undecided"),
        Entry("configure_forest", "change settings that change no sample"),
    ],
    "Measure it": [
        Entry("beam_search", "search the trees by the values of their steps", "measure"),
        Entry("compare_runs", "show measured runs side by side"),
        Entry("score_nodes", "score every step with a reward model or a judge"),
        Entry("import_scores", "keep scores or labels of steps from a file"),
        Entry("evaluate_scorer", "compare scores with Monte Carlo values or labels"),
        Entry("evaluate_samples", "measure samples from a file"),
    ],
    "Take data home": [
        Entry("create_preferences", "pair better and worse continuations", "pair"),
        Entry("export_preferences", "write pairs or steps for a trainer", "export"),
        Entry("bundle_forest", "write a forest as HTML pages that need no server", "bundle"),
        Entry("export_forest", "write a whole forest, to read or import it elsewhere"),
    ],
    "Look after forests": [
        Entry("regrade_forest", "grade all answers again with the current config"),
        Entry("resegment_forest", "cut the solutions into other steps, in a new forest"),
        Entry("recount_forest", "rebuild a forest's counters from its nodes"),
        Entry("delete_forest", "delete a forest with its trees and nodes"),
    ],
    "Run the site": [
        Entry("migrate", "prepare the database"),
        Entry("runserver", "serve the pages and reload changed code"),
        Entry("add_user", "make a user with a role"),
        Entry("demo_user", "make the demo's user and print its password"),
    ],
}

VERBS: Mapping[str, str] = {
    entry.verb: entry.name for group in COMMANDS.values() for entry in group if entry.verb
}
"""The command that each short name means."""


def overview(program: str) -> str:
    """Return the table as text, for a person."""
    lines = [
        f"usage: {program} COMMAND [options]",
        "",
        "Grow forests of reasoning steps with LLM rollouts, value every step, export preferences.",
    ]
    for title, entries in COMMANDS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {_names(entry):30} {entry.summary}" for entry in entries]
    return "\n".join([
        *lines,
        "",
        f"`{program} COMMAND --help` explains one. A short name in brackets means the same.",
        "Options take - and _ alike: --forest-name is --forest_name.",
        f"`{program} help --commands` lists Django's own commands too.",
    ])  # fmt: skip


def _names(entry: Entry) -> str:
    return f"{entry.name} [{entry.verb}]" if entry.verb else entry.name
