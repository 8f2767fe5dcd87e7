"""Worker processes for the evaluation of a large forest.

This module must not import models: a new process imports it before it sets up Django.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import django

Task = TypeVar("Task")
Result = TypeVar("Result")


def map_in_processes(
    work: Callable[[Task], Result], tasks: Iterable[Task], processes: int
) -> Iterator[Result]:
    """Yield the result of each task, in order."""
    # Forked children would share this process's connection to the database.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_start)
    try:
        yield from pool.map(work, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its children
    django.setup()
