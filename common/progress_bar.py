"""A progress bar on a terminal; nothing if stderr is a file."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def shown_progress(words: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the number done; `total` is None if it is unknown."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    columns = (TextColumn(words), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(words, total=total)
        yield lambda done: progress.update(task, completed=done)
