"""Show the progress of a growing forest in a terminal or a log."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TextIO, cast

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common.text import counted
from forests.costs.money import money
from forests.models import Forest
from forests.progress.reading import read_standing_of
from forests.progress.states import ENDS_WATCHING, ForestState, Standing

SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_PLAIN_LINES = 10.0


@dataclass(frozen=True, slots=True)
class GrowthSummary:
    """A forest's progress at one moment, and its speed since the command started watching."""

    forest_name: str
    state: str
    reason: str
    """Why it is in this state; empty if the state needs no reason."""
    num_trees: int
    num_complete: int
    num_failed: int
    num_hit_max_nodes: int
    """Trees that lack samples because they reached `max_nodes`."""
    num_nodes: int
    num_leaves: int
    num_uncompared: int
    """Finished samples without a result, not in `num_leaves`: see `forests.core.counting`."""
    requests: int
    retries: int
    failures: Mapping[str, int]
    """Failed attempts by kind."""
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    """In the currency of the forest's prices; None if these are unknown."""
    max_requests: int | None
    max_tokens_total: int | None
    max_cost: float | None
    spent_limit: str
    """The spent limit, in words; empty if none is spent."""
    seconds: float
    leaves_per_second: float
    tokens_per_second: float


def node_limit_note(summary: GrowthSummary) -> str:
    """Return a note on the trees that reached `max_nodes`; empty if none did."""
    number = summary.num_hit_max_nodes
    if not number:
        return ""
    return f"{counted(number, 'tree')} reached max_nodes and lack samples that the strategy wanted"


def spending_note(summary: GrowthSummary) -> str:
    """Return the usage and cost of growing, in words."""
    return (
        f"{summary.requests:,} requests, {summary.prompt_tokens:,} prompt and "
        f"{summary.completion_tokens:,} completion tokens, {money(summary.cost)}"
    )


def watch_growth(
    forest_name: str,
    stderr: OutputWrapper,
    *,
    goes_on: Callable[[Forest], bool],
    at_end: Callable[[], None] = lambda: None,
) -> GrowthSummary:
    """Show progress until no tree is unfinished or `goes_on` returns False; return the last state.

    Shows a progress bar in a terminal, and a line every 10 seconds in a log. Calls `at_end` before
    it reads the forest for the last time.
    """
    began = time.monotonic()
    first = last = Forest.objects.get(pk=forest_name)
    console = Console(file=cast("TextIO", stderr._out))  # noqa: SLF001
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("trees, {task.fields[told]}"), TimeRemainingColumn(),
    )  # fmt: skip
    next_line = 0.0
    shown = ""
    with Progress(*columns, console=console, disable=not stderr.isatty(), transient=True) as bar:
        task = bar.add_task(forest_name, total=first.num_trees, told="")
        while True:
            standing = read_standing_of(last)
            summary = _summary(first, last, standing, time.monotonic() - began)
            told = _told(summary, standing)
            bar.update(task, completed=last.num_complete + last.num_failed, told=told)
            if bar.disable and time.monotonic() >= next_line:
                next_line = time.monotonic() + _SECONDS_BETWEEN_PLAIN_LINES
                done = last.num_complete + last.num_failed
                stderr.write(f"{done}/{last.num_trees} trees, {told}", style_func=str)
            if last.worker_message not in (shown, standing.reason):
                shown = last.worker_message
                console.out(shown, highlight=False)
            if not last.num_pending or not goes_on(last):
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
            last = Forest.objects.get(pk=forest_name)
    at_end()
    last = Forest.objects.get(pk=forest_name)
    return _summary(first, last, read_standing_of(last), time.monotonic() - began)


def _summary(first: Forest, last: Forest, standing: Standing, seconds: float) -> GrowthSummary:
    leaves = _num_ended(last) - _num_ended(first)
    tokens = last.completion_tokens - first.completion_tokens
    return GrowthSummary(
        forest_name=last.name,
        state=str(standing.state),
        reason=standing.reason,
        num_trees=last.num_trees,
        num_complete=last.num_complete,
        num_failed=last.num_failed,
        num_hit_max_nodes=last.num_hit_max_nodes,
        num_nodes=last.num_nodes,
        num_leaves=last.num_leaves,
        num_uncompared=last.num_uncompared or 0,
        **last.used.as_dict(),
        retries=last.retries,
        failures=last.failures,
        cost=last.cost,
        max_requests=last.max_requests,
        max_tokens_total=last.max_tokens_total,
        max_cost=last.max_cost,
        spent_limit=last.spent_limit,
        seconds=round(seconds, 2),
        leaves_per_second=round(leaves / seconds, 2) if seconds else 0.0,
        tokens_per_second=round(tokens / seconds, 1) if seconds else 0.0,
    )


def _num_ended(forest: Forest) -> int:
    return forest.num_leaves + (forest.num_uncompared or 0)


def _told(summary: GrowthSummary, standing: Standing) -> str:
    """Return the state, with speed and counts unless the forest waits or has ended."""
    if standing.state is ForestState.WAITING or standing.state in ENDS_WATCHING:
        return str(standing)
    facts = [
        str(standing),
        f"{summary.leaves_per_second} rollouts/s",
        f"{summary.tokens_per_second} tokens/s",
        f"{summary.requests} requests",
    ]
    if summary.num_uncompared:
        facts.append(f"{summary.num_uncompared} rollouts uncompared")
    if summary.retries:
        facts.append(f"{summary.retries} retries")
    if summary.failures:
        kinds = (f"{kind} {number}" for kind, number in sorted(summary.failures.items()))
        facts.append(f"failed attempts: {', '.join(kinds)}")
    return ", ".join(facts)
