"""Drawing N completions for each of M prompts: a bare loop, a `sampled` forest, and two peers.

All send the same requests (chat API, N completions each) to the same simulated server, with the
same limit of requests in flight. The server measures from the first request to the last answer, so
start times do not count. A forest is graded and written to the embedded MongoDB, distilabel writes
a data set and Inspect a log with scores to disk, and a bare loop writes nothing. The peers run in
the environment of `make peers`. If it is missing, only the others are measured.

On few cores the processor time of a request says what limits a forest: that of growing, and that of
the servers (the database above all) while it grows.

usage: python benchmarks/peers.py [--quick] [--json]
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.measures import Measure, argument_parser, print_json
from benchmarks.populate import bare_load, run
from benchmarks.servers import PROJECT, ask, cpu_of_servers, empty_database, simulator, stats

if TYPE_CHECKING:
    import openai

Loaded = TypeVar("Loaded")

PYTHON = PROJECT / ".backends" / "peers" / "bin" / "python"
PEERS = {"distilabel": "distilabel_load.py", "Inspect": "inspect_load.py"}
"""The script that runs each peer."""
NOT_INSTALLED = "not installed: make peers"
SAMPLES = 4
MAX_PROBES = 5
"""Most requests that a worker sends before growth to find out what its server can do."""
SECONDS_OF_LOAD = 12.0
MAX_REQUESTS_PER_SECOND = 350.0


@dataclass(frozen=True)
class Case:
    concurrency: int
    latency: float

    def __str__(self) -> str:
        return f"{self.latency} s latency, {self.concurrency} in flight"


@dataclass(frozen=True)
class Result:
    """Requests per second, measured by the server."""

    case: Case
    prompts: int
    bare: float
    forest: float
    peers: dict[str, float | None]
    """None: not installed."""
    cpu_ms: dict[str, float]
    """Milliseconds of processor time for a request: in the bare loop, in growing, and in each
    server while a forest grows."""


def main() -> None:
    options = argument_parser(__doc__, quick="one latency, two concurrencies").parse_args()
    cases = (
        [Case(16, 0.1), Case(64, 0.1)]
        if options.quick
        else [Case(16, 0.1), Case(64, 0.1), Case(256, 0.1), Case(64, 1.0)]
    )
    with empty_database():
        results = [measure(case, 6.0 if options.quick else SECONDS_OF_LOAD) for case in cases]
    if options.json:
        print_json("peers", measures(results), results=[asdict(result) for result in results])
        return
    print(
        "latency  in flight  prompts  bare/s  forest/s",
        *(f"{name}/s" for name in PEERS),
        "CPU ms",
        sep="  ",
    )
    for r in results:
        peers = [NOT_INSTALLED if rate is None else f"{rate:.0f}" for rate in r.peers.values()]
        print(
            f"{r.case.latency:7}  {r.case.concurrency:9}  {r.prompts:7}  {r.bare:6.0f}"
            f"  {r.forest:8.0f}",
            *(f"{rate:>{len(name) + 2}}" for name, rate in zip(PEERS, peers, strict=True)),
            ", ".join(f"{name} {cpu}" for name, cpu in r.cpu_ms.items()),
            sep="  ",
        )


def measures(results: Sequence[Result]) -> list[Measure]:
    return [
        Measure(
            case=f"{name}: {r.case}, {SAMPLES} completions for each of {r.prompts:,} prompts",
            baseline="bare AsyncOpenAI loop",
            unit="requests/s",
            figure=rate,
            baseline_figure=r.bare,
            note=NOT_INSTALLED if rate is None else "",
        )
        for r in results
        for name, rate in {"sampled forest": r.forest, **r.peers}.items()
    ]


def measure(case: Case, seconds: float) -> Result:
    """Return the speeds of all against one server."""
    print(f"{case} …", file=sys.stderr)
    most = case.concurrency / case.latency
    prompts = int(min(most, MAX_REQUESTS_PER_SECOND) * seconds)
    with simulator(case.latency) as url:
        arguments = (url, case.concurrency, prompts)
        bare, [bare_cpu] = rate_of(url, prompts, lambda: run(bare_load, 1, *arguments, chat))
        forest, [(own, servers)] = rate_of(url, prompts, lambda: run(grow_load, 1, *arguments))
        cpu_seconds = {"bare loop": bare_cpu, "growing": own, **servers}
        peers = {
            name: (
                rate_of(url, prompts, partial(peer_load, script, *arguments))[0]
                if PYTHON.exists()
                else None
            )
            for name, script in PEERS.items()
        }
    cpu_ms = {name: round(1000 * cpu / prompts, 2) for name, cpu in cpu_seconds.items()}
    return Result(case, prompts, bare, forest, peers, cpu_ms)


def rate_of(url: str, prompts: int, load: Callable[[], Loaded]) -> tuple[float, Loaded]:
    """Return the requests per second of a load, and what it returned.

    Raises:
        RuntimeError: it made more or fewer requests than it should.
    """
    ask(url, "/reset")
    returned = load()
    seen = stats(url)
    if not 0 <= seen["requests"] - prompts <= MAX_PROBES or seen["samples"] < prompts * SAMPLES:
        raise RuntimeError(f"not the same work: {prompts} prompts, but {seen}")
    return round(seen["requests"] / seen["seconds"], 1), returned


async def chat(client: "openai.AsyncOpenAI", number: int) -> None:
    await client.chat.completions.create(
        model="simulated",
        messages=[{"role": "user", "content": f"Question {number}: 2 + 3?"}],
        n=SAMPLES,
        max_tokens=96,
        temperature=0.8,
        top_p=1.0,
    )


def grow_load(
    _: int, __: int, url: str, concurrency: int, prompts: int
) -> tuple[float, Counter[str]]:
    """Grow a forest with one tree for each prompt; return its CPU seconds and the servers'."""
    os.environ["OPENAI_BASE_URL"] = f"{url}/v1"
    import django  # noqa: PLC0415  the settings read the environment

    django.setup()
    from benchmarks.populating import grow_share, seed_share  # noqa: PLC0415

    forest = seed_share(
        "peers",
        prompts,
        concurrency=concurrency,
        strategy="sampled",
        api="chat",
        num_rollouts=SAMPLES,
        logprobs=False,
    )
    import_module("rollouts.client.backend")  # loads the library, which a bare loop has loaded
    began, servers = time.process_time(), cpu_of_servers()
    grow_share(forest)
    return time.process_time() - began, cpu_of_servers() - servers


def peer_load(script: str, url: str, concurrency: int, prompts: int) -> None:
    """Run a peer, without logs of single requests, in a temporary folder."""
    path = Path(__file__).with_name(script)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [str(PYTHON), str(path), f"{url}/v1", str(prompts), str(SAMPLES), str(concurrency),
             folder],
            env=os.environ | {"DISTILABEL_LOG_LEVEL": "WARNING", "HF_HUB_OFFLINE": "1",
                              "HF_HOME": folder},
            stdout=sys.stderr,
            check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main()
