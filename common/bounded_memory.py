"""A memory limit for reading untrusted files."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAGES = Path("/proc/self/statm")


@contextmanager
def bounded_memory(num_bytes: int) -> Iterator[None]:
    """Let this process take at most `num_bytes` more memory; beyond that it gets a `MemoryError`.

    Has no effect where the system does not report memory use: only Linux does.
    """
    if not _PAGES.is_file():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(_PAGES.read_text().split()[0]) * resource.getpagesize() + num_bytes
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
