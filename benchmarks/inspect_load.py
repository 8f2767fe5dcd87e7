"""Draw completions with Inspect, in the environment of `make peers`: see `peers.py`.

Uses a task with a data set, `generate` and a scorer as in Inspect's documentation. The limits of
samples and connections are both the number of requests in flight.

usage: python benchmarks/inspect_load.py URL PROMPTS SAMPLES CONCURRENCY FOLDER
"""

import sys

from inspect_ai import Task, eval  # noqa: A004  its own name
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate


def main() -> None:
    _, url, *numbers, folder = sys.argv
    prompts, samples, concurrency = map(int, numbers)
    questions = [Sample(f"Question {number}: 2 + 3?", target="3") for number in range(prompts)]
    (log,) = eval(
        Task(dataset=MemoryDataset(questions), solver=generate(), scorer=match(numeric=True)),
        model=get_model(
            "openai-api/simulator/simulated",
            base_url=url,
            api_key="x",
            config=GenerateConfig(
                num_choices=samples, max_tokens=96, temperature=0.8, max_connections=concurrency
            ),
        ),
        max_samples=concurrency,
        display="none",
        log_dir=folder,
    )
    drawn = sum(len(sample.output.choices) for sample in log.samples or [])
    if drawn != prompts * samples:
        sys.exit(f"Inspect gave {drawn} completions of {prompts * samples}: {log.error}")


if __name__ == "__main__":
    main()
