"""Fetch the next answer while the last one is used."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def one_ahead(calls: Sequence[Callable[[], Result]]) -> Iterator[Result]:
    """Yield the results of calls in order; a thread makes the next call while one is used.

    Raises:
        Exception: the exception of a call, raised in place of the result of this call.
    """
    if len(calls) < 2:  # noqa: PLR2004  nothing to wait for meanwhile
        yield from (call() for call in calls)
        return
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(calls[0])
        for call in calls[1:]:
            result = running.result()
            running = pool.submit(call)
            yield result
        yield running.result()
