"""Prefix caches of two real llama.cpp servers: a tree on one server against the least busy server.

Hits and computed tokens are the servers' own counters, before and after growth. The best possible
order computes each distinct token of the forest's prompts once. llama.cpp keeps one text in each
slot, and a request for n samples takes n slots, so the number of requests in flight matters too.
The baseline sends each request to the least busy server, in the order in which requests arise.

usage: python benchmarks/slot_cache.py [--quick] [--json]
"""

import contextlib
import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.populate import run
from benchmarks.prefix_cache import GOAL_OF_COMPUTED, GOAL_OF_HITS, ignore_trees
from benchmarks.servers import empty_database, llama_cpp

if TYPE_CHECKING:
    from forests.models import Forest

SERVERS = 2
SLOTS = 4
"""Of each server."""
TREES = 10
BRANCHING = (2, 2, 1)
SHORT_STEPS = 'root ::= (" " word){3} "\\n"\nword ::= [a-z]{2,6}'
"""A grammar for llama.cpp. It gives all trees one shape, whatever the small model would write."""
_COUNTERS = {
    "computed": "llamacpp:prompt_tokens_total",
    "cached": "llamacpp:prompt_tokens_cached_total",
}


@dataclass(frozen=True)
class Case:
    """One way of sending the requests."""

    is_affine: bool
    in_flight: int


@dataclass(frozen=True)
class Growth:
    """The duration and counters of a forest's growth, and the distinct tokens of its prompts."""

    seconds: float
    requests: int
    prompt_tokens: int
    cached_tokens: int
    distinct_tokens: int
    """A prefix that several prompts share counts once."""


@dataclass(frozen=True)
class Result:
    """One forest, and what the servers counted during its growth."""

    case: Case
    forest: Growth
    computed_tokens: int
    cached_tokens: int

    @property
    def requests_per_second(self) -> float:
        return round(self.forest.requests / self.forest.seconds, 2)

    @property
    def most_cached_tokens(self) -> int:
        """Cached tokens with the best possible order."""
        return self.computed_tokens + self.cached_tokens - self.forest.distinct_tokens


def main() -> None:
    options = argument_parser(__doc__, quick="fewer trees and cases").parse_args()
    all_slots = SERVERS * SLOTS
    cases = [Case(is_affine=False, in_flight=all_slots), Case(is_affine=True, in_flight=all_slots)]
    if not options.quick:
        cases.append(Case(is_affine=True, in_flight=SERVERS))
    with empty_database():
        results = [measure(case, TREES // 2 if options.quick else TREES) for case in cases]
    report(results, as_json=options.json)


def measure(case: Case, trees: int) -> Result:
    """Grow a forest with fresh servers, and return what it and they counted."""
    print(f"{case} …", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(llama_cpp(SLOTS)) for _ in range(SERVERS)]
        before = counters(urls)
        (growth,) = run(grow_load, 1, urls, trees, case)
        after = counters(urls)
    return Result(
        case=case,
        forest=growth,
        computed_tokens=after["computed"] - before["computed"],
        cached_tokens=after["cached"] - before["cached"],
    )


def counters(urls: Iterable[str]) -> dict[str, int]:
    """Return the sums of what these servers have counted so far."""
    found = [counters_in(_ask(url, "/metrics").decode()) for url in urls]
    return {name: sum(one[name] for one in found) for name in _COUNTERS}


def counters_in(metrics: str) -> dict[str, int]:
    """Return the computed and the cached prompt tokens that `/metrics` of llama.cpp shows."""
    lines = (line.split() for line in metrics.splitlines() if not line.startswith("#"))
    values = {line[0]: line[-1] for line in lines if line}
    return {name: int(float(values[key])) for name, key in _COUNTERS.items()}


def grow_load(_: int, __: int, urls: list[str], trees: int, case: Case) -> Growth:
    """Grow a forest with these servers, in a process of its own."""
    os.environ["OPENAI_BASE_URLS"] = ",".join(urls)
    import django  # noqa: PLC0415  the settings read the environment

    django.setup()
    from benchmarks.populating import LongQuestions, grow_share, seed_share  # noqa: PLC0415

    if not case.is_affine:
        ignore_trees()
    settings = {
        "branching": BRANCHING, "concurrency": case.in_flight,
        "extra_body": {"grammar": SHORT_STEPS},
    }  # fmt: skip
    forest = seed_share("slots", trees, LongQuestions, **settings)
    began = time.monotonic()
    forest = grow_share(forest)
    seconds = time.monotonic() - began
    return Growth(
        seconds=round(seconds, 2),
        requests=forest.requests,
        prompt_tokens=forest.prompt_tokens,
        cached_tokens=forest.cached_tokens,
        distinct_tokens=num_distinct(_prompts_of(forest, urls[0])),
    )


def num_distinct(prompts: Iterable[Sequence[int]]) -> int:
    """Return how many tokens have to be computed for these prompts if none is computed twice."""
    return len({tuple(ids[: end + 1]) for ids in prompts for end in range(len(ids))})


def _prompts_of(forest: "Forest", url: str) -> Iterable[Sequence[int]]:
    """Yield the token ids of each prefix from which the forest drew samples."""
    from forests.storage.trees import iter_trees  # noqa: PLC0415  Django must be set up

    for stored in iter_trees(forest):
        for node in stored.tree:
            if stored.tree.children(node.path):
                text = f"{stored.prompt}{stored.tree.steps_text(node.path)}"
                told = _ask(url, "/tokenize", {"content": text, "add_special": True})
                yield json.loads(told)["tokens"]


def _ask(url: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
    """Return the answer of a server at a path outside `/v1`."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(  # noqa: S310  ours
        url.removesuffix("/v1") + path, data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        found: bytes = response.read()
    return found


def measures(results: Sequence[Result]) -> list[Measure]:
    """Return hits, computed tokens and speed of each way, and whether the forest's count is right.

    The first result is the baseline of the speed.
    """
    plain = results[0]
    found = []
    for result in results:
        way = "a tree on one server" if result.case.is_affine else "least busy server"
        case = f"2 llama.cpp servers, {way}, {result.case.in_flight} in flight"
        found += [
            Measure(
                case=f"cache hits, {case}",
                baseline="best possible order",
                unit="tokens",
                figure=result.cached_tokens,
                baseline_figure=result.most_cached_tokens,
                at_least=GOAL_OF_HITS if result.case.is_affine else None,
            ),
            Measure(
                case=f"computed prompt tokens, {case}",
                baseline="distinct tokens of the trees",
                unit="tokens",
                figure=result.computed_tokens,
                baseline_figure=result.forest.distinct_tokens,
                at_most=GOAL_OF_COMPUTED if result.case.is_affine else None,
            ),
            Measure(
                case=f"cached tokens that the forest counted, {case}",
                baseline="the servers' counters",
                unit="tokens",
                figure=result.forest.cached_tokens,
                baseline_figure=result.cached_tokens,
                at_least=1.0,
                at_most=1.0,
            ),
        ]
        if result is not plain:
            found.append(
                Measure(
                    case=f"speed, {case}",
                    baseline=f"least busy server, {plain.case.in_flight} in flight",
                    unit="requests/s",
                    figure=result.requests_per_second,
                    baseline_figure=plain.requests_per_second,
                )
            )
    return found


def report(results: list[Result], *, as_json: bool) -> None:
    if as_json:
        found = [asdict(result) for result in results]
        print_json("slot_cache", measures(results), results=found)
        return
    print("affinity  in flight  requests/s  hits  best hits  computed / distinct  counted / hits")
    for r in results:
        total = r.computed_tokens + r.cached_tokens
        print(
            f"{'yes' if r.case.is_affine else 'no':>8}  {r.case.in_flight:9}"
            f"  {r.requests_per_second:10.2f}  {r.cached_tokens / total:4.2f}"
            f"  {r.most_cached_tokens / total:9.2f}"
            f"  {r.computed_tokens / r.forest.distinct_tokens:19.2f}"
            f"  {r.forest.cached_tokens / max(1, r.cached_tokens):14.3f}"
        )


if __name__ == "__main__":
    main()
