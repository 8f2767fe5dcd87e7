"""Watch a forest grow from a terminal or a log."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TextIO, cast

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from forests.models import Forest

SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_PLAIN_LINES = 10.0


@dataclass(frozen=True, slots=True)
class GrowthSummary:
    """A forest's progress at one moment, and its speed since watching began."""

    forest_name: str
    num_trees: int
    num_complete: int
    num_failed: int
    num_hit_max_nodes: int
    """Trees that lack samples, as `max_nodes` left no room for them."""
    num_nodes: int
    num_leaves: int
    num_uncompared: int
    """Samples that ended too, but have no result: see `forests.core.counting`."""
    requests: int
    retries: int
    failures: Mapping[str, int]
    """Failed attempts by kind."""
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    leaves_per_second: float
    tokens_per_second: float


def node_limit_note(summary: GrowthSummary) -> str:
    """Return what to tell of trees that reached `max_nodes`; empty where none did."""
    number = summary.num_hit_max_nodes
    if not number:
        return ""
    trees = "1 tree" if number == 1 else f"{number} trees"
    return f"{trees} reached max_nodes and lack samples that the strategy wanted"


def watch_growth(
    forest_name: str, stderr: OutputWrapper, *, goes_on: Callable[[Forest], bool]
) -> GrowthSummary:
    """Show progress until no tree is unfinished or `goes_on` says no; return the last state.

    A terminal gets a moving bar, a log a line now and then.
    """
    began = time.monotonic()
    first = last = Forest.objects.get(pk=forest_name)
    console = Console(file=cast("TextIO", stderr._out))  # noqa: SLF001
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("trees, {task.fields[speed]}"), TimeRemainingColumn(),
    )  # fmt: skip
    next_line = 0.0
    told = ""
    with Progress(*columns, console=console, disable=not stderr.isatty(), transient=True) as bar:
        task = bar.add_task(forest_name, total=first.num_trees, speed="")
        while True:
            summary = _summary(first, last, time.monotonic() - began)
            bar.update(
                task, completed=last.num_complete + last.num_failed, speed=_speed(summary, last)
            )
            if bar.disable and time.monotonic() >= next_line:
                next_line = time.monotonic() + _SECONDS_BETWEEN_PLAIN_LINES
                stderr.write(_line(summary, last), style_func=str)
            if last.worker_message != told and (told := last.worker_message):
                console.out(told, highlight=False)
            if not last.num_pending or not goes_on(last):
                return summary
            time.sleep(SECONDS_BETWEEN_LOOKS)
            last = Forest.objects.get(pk=forest_name)


def _summary(first: Forest, last: Forest, seconds: float) -> GrowthSummary:
    leaves = _num_ended(last) - _num_ended(first)
    tokens = last.completion_tokens - first.completion_tokens
    return GrowthSummary(
        forest_name=last.name,
        num_trees=last.num_trees,
        num_complete=last.num_complete,
        num_failed=last.num_failed,
        num_hit_max_nodes=last.num_hit_max_nodes,
        num_nodes=last.num_nodes,
        num_leaves=last.num_leaves,
        num_uncompared=last.num_uncompared or 0,
        requests=last.requests,
        retries=last.retries,
        failures=last.failures,
        prompt_tokens=last.prompt_tokens,
        completion_tokens=last.completion_tokens,
        seconds=round(seconds, 2),
        leaves_per_second=round(leaves / seconds, 2) if seconds else 0.0,
        tokens_per_second=round(tokens / seconds, 1) if seconds else 0.0,
    )


def _num_ended(forest: Forest) -> int:
    return forest.num_leaves + (forest.num_uncompared or 0)


def _speed(summary: GrowthSummary, forest: Forest) -> str:
    if forest.backend_message:
        return forest.backend_message
    facts = [
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


def _line(summary: GrowthSummary, forest: Forest) -> str:
    done = summary.num_complete + summary.num_failed
    return f"{done}/{summary.num_trees} trees, {_speed(summary, forest)}"
