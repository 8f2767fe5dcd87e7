"""Cost of growing step by step: `branching` against `sampled` growth, in wall time per token.

Both draw from the same server in the same run with the same number of requests in flight. The
servers are a simulated one with a limited batch, and llama.cpp with a real model.

usage: python benchmarks/stepwise.py [--quick] [--json]
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.servers import empty_database, llama_cpp, simulator

GOAL = 1.5
STRATEGIES = ("sampled", "branching")


@dataclass(frozen=True)
class Case:
    """A server, and the number of samples that it serves at once. This many are in flight."""

    server: str
    slots: int
    trees: int
    seconds_per_token: float = 0.0


@dataclass(frozen=True)
class Growth:
    """The cost of growing a forest."""

    strategy: str
    seconds: float
    tokens: int
    requests: int


@dataclass(frozen=True)
class Result:
    """The ratio is branching to sampled, in seconds per token."""

    case: Case
    sampled: Growth
    branching: Growth
    ratio: float


def main() -> None:
    options = argument_parser(__doc__, quick="one simulated server").parse_args()
    cases = (
        [Case("simulated", 64, 150, 0.02)]
        if options.quick
        else [
            Case("simulated", 64, 400, 0.02),
            Case("simulated", 256, 800, 0.05),
            Case("llama.cpp", 8, 12),
        ]
    )
    with empty_database():
        results = [measure(case) for case in cases]
    if options.json:
        print_json("stepwise", measures(results), results=[asdict(result) for result in results])
        return
    print("server     at once  tokens sampled  s/1000  tokens branching  s/1000  ratio")
    for r in results:
        print(
            f"{r.case.server:9}  {r.case.slots:7}  {r.sampled.tokens:14}  {_rate(r.sampled):6.2f}"
            f"  {r.branching.tokens:16}  {_rate(r.branching):6.2f}  {r.ratio:5.2f}"
        )


def measures(results: Sequence[Result]) -> list[Measure]:
    return [
        Measure(
            case=f"branching, {r.case.server}, {r.case.slots} samples at once",
            baseline="sampled, same server",
            unit="s for 1,000 tokens",
            figure=round(_rate(r.branching), 3),
            baseline_figure=round(_rate(r.sampled), 3),
            at_most=GOAL,
        )
        for r in results
    ]


def measure(case: Case) -> Result:
    """Return the costs of both strategies on one server."""
    print(f"{case} …", file=sys.stderr)
    with server(case) as url:
        sampled, branching = (grow(url, case, strategy) for strategy in STRATEGIES)
    ratio = _rate(branching) / _rate(sampled)
    return Result(case, sampled, branching, round(ratio, 3))


def grow(url: str, case: Case, strategy: str) -> Growth:
    """Grow a forest in a separate process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_grow, url, case, strategy).result()


def _grow(url: str, case: Case, strategy: str) -> Growth:
    os.environ["OPENAI_BASE_URL"] = url
    import django  # noqa: PLC0415  the settings read the environment

    django.setup()
    from benchmarks.populating import grow_share, seed_share  # noqa: PLC0415

    forest = seed_share(
        strategy, case.trees, concurrency=case.slots, strategy=strategy, num_rollouts=8
    )
    began = time.monotonic()
    forest = grow_share(forest)
    seconds = time.monotonic() - began
    return Growth(strategy, round(seconds, 2), forest.completion_tokens, forest.requests)


@contextlib.contextmanager
def server(case: Case) -> Iterator[str]:
    """Start the server of a case, and yield its address for clients."""
    if case.server == "simulated":
        options = ("--slots", str(case.slots), "--seconds_per_token", str(case.seconds_per_token))
        with simulator(0.02, *options) as url:
            yield f"{url}/v1"
        return
    with llama_cpp(case.slots) as url:
        yield url


def _rate(growth: Growth) -> float:
    """Return the seconds for a thousand sampled tokens."""
    return 1000 * growth.seconds / growth.tokens


if __name__ == "__main__":
    main()
