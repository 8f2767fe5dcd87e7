"""Prefix caches of 1, 2 and 4 model servers: a tree on one server against the least busy server.

A simulated server keeps the prefixes of its latest texts, up to a number of tokens, and computes
the rest. The best possible order has the hits of one server that keeps everything. The
baseline sends each request to the least busy server, in the order in which requests arise.

usage: python benchmarks/prefix_cache.py [--quick] [--json]
"""

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.populate import run
from benchmarks.servers import ask, empty_database, simulator, stats
from rollouts.growing.turns import Turns

CONCURRENCY = 32
LATENCY = 0.05
SECONDS_PER_PROMPT_TOKEN = 0.001
CACHE_TOKENS = 8_000
"""Of each server: a tree has some 500 distinct tokens."""
TREES = 300
GOAL_OF_HITS = 0.9
GOAL_OF_COMPUTED = 1.2


@dataclass(frozen=True)
class Result:
    """What the servers counted."""

    servers: int
    is_affine: bool
    requests_per_second: float
    prompt_tokens: int
    cached_tokens: int
    most_cached_tokens: int
    """Cached tokens with the best possible order."""
    distinct_tokens: int
    """Of all trees: a prefix that several nodes share counts once."""

    @property
    def computed(self) -> int:
        return self.prompt_tokens - self.cached_tokens


def main() -> None:
    options = argument_parser(__doc__, quick="fewer trees").parse_args()
    trees = TREES // 4 if options.quick else TREES
    with empty_database():
        results = [
            measure(servers, trees, is_affine=is_affine)
            for servers in (1, 2, 4)
            for is_affine in (False, True)
        ]
    report(results, as_json=options.json)


def measure(servers: int, trees: int, *, is_affine: bool) -> Result:
    """Grow a forest with this many servers, and return what they counted."""
    print(f"{servers} servers, affinity: {is_affine} …", file=sys.stderr)
    settings = {
        "servers": servers, "cache_tokens": CACHE_TOKENS,
        "seconds_per_prompt_token": SECONDS_PER_PROMPT_TOKEN,
    }  # fmt: skip
    arguments = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    with simulator(LATENCY, *arguments) as url:
        base, _, port = url.rpartition(":")
        urls = [f"{base}:{int(port) + number}/v1" for number in range(servers)]
        ask(url, "/reset")
        run(grow_load, 1, urls, trees, is_affine)
        told = stats(url)
    return Result(
        servers=servers,
        is_affine=is_affine,
        requests_per_second=round(told["requests"] / told["seconds"], 1),
        prompt_tokens=int(told["prompt_tokens"]),
        cached_tokens=int(told["cached_tokens"]),
        most_cached_tokens=int(told["most_cached_tokens"]),
        distinct_tokens=int(told["distinct_tokens"]),
    )


class FirstCome(Turns):
    """Serves requests in the order in which they arise."""

    @asynccontextmanager
    async def turn(self, rank: int) -> AsyncIterator[None]:
        async with super().turn(0):
            yield


def ignore_trees() -> None:
    """Make this process choose servers and order requests without regard to trees."""
    from rollouts.growing import grower  # noqa: PLC0415  Django must be set up

    grower.session_of = lambda _: ""  # type: ignore[assignment]
    grower.Turns = FirstCome  # type: ignore[misc]


def grow_load(_: int, __: int, urls: list[str], trees: int, is_affine: bool) -> float:
    """Grow a forest with these servers, in a process of its own."""
    os.environ["OPENAI_BASE_URLS"] = ",".join(urls)
    import django  # noqa: PLC0415  the settings read the environment

    django.setup()
    from benchmarks.populating import LongQuestions, grow_share, seed_share  # noqa: PLC0415

    if not is_affine:
        ignore_trees()
    forest = seed_share("cache", trees, LongQuestions, concurrency=CONCURRENCY)
    grow_share(forest)
    return 0.0


def measures(results: Sequence[Result]) -> list[Measure]:
    """Return hits, computed tokens and speed for each number of servers."""
    found = []
    for plain, affine in zip(results[::2], results[1::2], strict=True):
        servers = f"{affine.servers} server{'s' if affine.servers > 1 else ''}"
        found += [
            Measure(
                case=f"cache hits, {servers}",
                baseline="best possible order",
                unit="tokens",
                figure=affine.cached_tokens,
                baseline_figure=affine.most_cached_tokens,
                at_least=GOAL_OF_HITS,
            ),
            Measure(
                case=f"computed prompt tokens, {servers}",
                baseline="distinct tokens of the trees",
                unit="tokens",
                figure=affine.computed,
                baseline_figure=affine.distinct_tokens,
                at_most=GOAL_OF_COMPUTED,
            ),
            Measure(
                case=f"speed, {servers}",
                baseline="least busy server",
                unit="requests/s",
                figure=affine.requests_per_second,
                baseline_figure=plain.requests_per_second,
            ),
        ]
    return found


def report(results: list[Result], *, as_json: bool) -> None:
    if as_json:
        found = [asdict(result) for result in results]
        print_json("prefix_cache", measures(results), results=found)
        return
    print("servers  affinity  requests/s  hits  best hits  computed / distinct tokens")
    for r in results:
        print(
            f"{r.servers:7}  {'yes' if r.is_affine else 'no':>8}  {r.requests_per_second:10.0f}"
            f"  {r.cached_tokens / r.prompt_tokens:4.2f}"
            f"  {r.most_cached_tokens / r.prompt_tokens:9.2f}"
            f"  {r.computed / r.distinct_tokens:26.2f}"
        )


if __name__ == "__main__":
    main()
