"""Throughput of growing a forest, as a ratio to a bare `AsyncOpenAI` loop in the same run.

Both send requests of the same size to the same simulated server (real HTTP, in its own process)
with the same number of requests in flight, and the server measures. Growing uses an embedded
MongoDB, which shares the machine's cores. A bare loop writes nothing. Where more processes bring no
more requests, the processor time of a request says why: that of the load, and that of the servers.

usage: python benchmarks/populate.py [--quick] [--json]
"""

import asyncio
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.servers import (
    DATABASE,
    MODEL_SERVER,
    ask,
    cpu_of_servers,
    empty_database,
    simulator,
    stats,
)

if TYPE_CHECKING:
    import openai

SECONDS_OF_LOAD = 12.0
MIN_ROUNDS = 30
"""Requests one after another in each slot of the server; with fewer, the last ones dominate."""
GOAL = 0.9
GOAL_OF_CPU = 0.5
"""Largest share of the bare loop's processor time for a request, if the cores are the limit."""
MOST_IN_FLIGHT = 256


@dataclass(frozen=True)
class Case:
    """One setting of the load."""

    concurrency: int
    processes: int
    latency: float
    strategy: str = "branching"

    def __str__(self) -> str:
        processes = "1 process" if self.processes == 1 else f"{self.processes} processes"
        return f"{self.latency} s latency, {self.concurrency} in flight, {processes}"


@dataclass(frozen=True)
class Result:
    """Requests per second of both loads, and the CPU cost of one request."""

    case: Case
    bare: float
    grown: float
    ratio: float
    bare_milliseconds_cpu: float
    grown_milliseconds_cpu: float
    servers_milliseconds_cpu: dict[str, float]
    """CPU cost in the database and in the model server while forests grow."""
    most_in_flight: float


def main() -> None:
    options = argument_parser(__doc__, quick="one latency, two concurrencies").parse_args()
    cases = (
        [Case(16, 1, 0.1), Case(64, 1, 0.1)]
        if options.quick
        else [
            Case(concurrency, processes, 0.1)
            for concurrency in (16, 64, MOST_IN_FLIGHT)
            for processes in (1, 2)
        ]
        + [Case(MOST_IN_FLIGHT, processes, 0.1) for processes in (4, 8, 12)]
        + [Case(64, 1, 1.0), Case(MOST_IN_FLIGHT, 1, 1.0)]
    )
    with empty_database():
        results = [measure(case, 6.0 if options.quick else SECONDS_OF_LOAD) for case in cases]
    report(results, as_json=options.json)


def measure(case: Case, seconds: float) -> Result:
    """Return the speeds of both loads against one server."""
    print(f"{case} …", file=sys.stderr)
    with simulator(case.latency) as url:
        most = case.concurrency / case.latency
        seconds = max(seconds, MIN_ROUNDS * case.latency)
        num_requests = int(min(most, 350.0 * case.processes) * seconds)
        each = max(1, case.concurrency // case.processes)
        bare_cpu = sum(run(bare_load, case.processes, url, each, num_requests // case.processes))
        bare = stats(url)
        ask(url, "/reset")
        loads = run(grow_load, case.processes, url, each, num_requests, case)
        grown = stats(url)
    bare_rate = bare["requests"] / bare["seconds"]
    grown_rate = grown["requests"] / grown["seconds"]
    return Result(
        case=case,
        bare=round(bare_rate, 1),
        grown=round(grown_rate, 1),
        ratio=round(grown_rate / bare_rate, 3),
        bare_milliseconds_cpu=round(1000 * bare_cpu / bare["requests"], 2),
        grown_milliseconds_cpu=round(1000 * sum(own for own, _ in loads) / grown["requests"], 2),
        servers_milliseconds_cpu={
            name: round(1000 * max(servers[name] for _, servers in loads) / grown["requests"], 2)
            for name in (DATABASE, MODEL_SERVER)
        },
        most_in_flight=grown["most_in_flight"],
    )


def run(load: Any, processes: int, *arguments: Any) -> list[Any]:
    """Run a load in separate processes; return what each returned."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        calls = [
            pool.apply_async(load, (number, processes, *arguments)) for number in range(processes)
        ]
        return [call.get() for call in calls]


async def complete(client: "openai.AsyncOpenAI", number: int) -> None:
    await client.completions.create(
        model="simulated", prompt="Question: 2 + 3?\nAnswer:", n=2,
        max_tokens=64, temperature=0.8, top_p=1.0, seed=number, stop=["\n"],
        logprobs=1,
    )  # fmt: skip


def bare_load(
    _: int, __: int, url: str, concurrency: int, num_requests: int, ask: Any = complete
) -> float:
    """Send the same requests in a bare loop; return the CPU seconds."""
    import openai  # noqa: PLC0415  in the load's own process, and nothing of Django

    async def load() -> float:
        left = iter(range(num_requests))
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:

            async def ask_on() -> None:
                for number in left:
                    await ask(client, number)

            began = time.process_time()
            await asyncio.gather(*(ask_on() for _ in range(concurrency)))
            return time.process_time() - began

    return asyncio.run(load())


def grow_load(
    number: int, processes: int, url: str, concurrency: int, num_requests: int, case: Case
) -> tuple[float, Counter[str]]:
    """Grow a forest with about this many requests; return its and the servers' CPU seconds."""
    os.environ["OPENAI_BASE_URL"] = f"{url}/v1"
    import django  # noqa: PLC0415  the settings read the environment

    django.setup()
    from benchmarks.populating import grow_share, seed_share  # noqa: PLC0415

    requests_per_tree = 11  # 1 + 4 + ~6 of three steps with branching 4, 2, 1
    trees = max(processes, num_requests // requests_per_tree // processes)
    forest = seed_share(f"p{number}", trees, concurrency=concurrency, strategy=case.strategy)
    import_module("rollouts.client.backend")  # loads the library, which a bare loop has loaded
    began, servers = time.process_time(), cpu_of_servers()
    grow_share(forest)
    return time.process_time() - began, cpu_of_servers() - servers


def measures(results: Sequence[Result]) -> list[Measure]:
    return [
        Measure(
            case=str(r.case),
            baseline="bare AsyncOpenAI loop",
            unit="requests/s",
            figure=r.grown,
            baseline_figure=r.bare,
            at_least=GOAL,
        )
        for r in results
    ] + [
        Measure(
            case=f"processor time: {r.case}",
            baseline="bare AsyncOpenAI loop",
            unit="ms a request",
            figure=r.grown_milliseconds_cpu,
            baseline_figure=r.bare_milliseconds_cpu,
            at_most=GOAL_OF_CPU,
        )
        for r in results
        if r.case.concurrency == MOST_IN_FLIGHT and r.case.latency < 1
    ]


def report(results: list[Result], *, as_json: bool) -> None:
    if as_json:
        print_json("populate", measures(results), results=[asdict(result) for result in results])
        return
    print(
        "latency  concurrency  processes  bare/s  grown/s  ratio"
        "  CPU ms: bare  grown  database  model"
    )
    for r in results:
        print(
            f"{r.case.latency:7}  {r.case.concurrency:11}  {r.case.processes:9}  {r.bare:6.0f}"
            f"  {r.grown:7.0f}  {r.ratio:5.2f}  {r.bare_milliseconds_cpu:12.2f}"
            f"  {r.grown_milliseconds_cpu:5.2f}  {r.servers_milliseconds_cpu[DATABASE]:8.2f}"
            f"  {r.servers_milliseconds_cpu[MODEL_SERVER]:5.2f}"
        )


if __name__ == "__main__":
    main()
