"""Draw completions with distilabel, in the environment of `make peers`: see `peers.py`.

Uses a `TextGeneration` task as in distilabel's documentation. It keeps one request in flight for
each row of a batch, and waits for all of them before it sends the next batch.

usage: python benchmarks/distilabel_load.py URL PROMPTS SAMPLES CONCURRENCY FOLDER
"""

import sys

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration


def main() -> None:
    _, url, *numbers, folder = sys.argv
    prompts, samples, concurrency = map(int, numbers)
    with Pipeline(name="benchmark", cache_dir=folder) as pipeline:
        load = LoadDataFromDicts(
            data=[{"instruction": f"Question {number}: 2 + 3?"} for number in range(prompts)],
            batch_size=concurrency,
        )
        llm = OpenAILLM(
            model="simulated",
            base_url=url,
            api_key="x",
            generation_kwargs={"max_new_tokens": 96, "temperature": 0.8},
        )
        draw = TextGeneration(llm=llm, num_generations=samples, input_batch_size=concurrency)
        load >> draw
    rows = pipeline.run(use_cache=False)["default"]["train"]
    drawn = sum(row["generation"] is not None for row in rows)
    if drawn != prompts * samples:
        sys.exit(f"distilabel gave {drawn} completions of {prompts * samples}")


if __name__ == "__main__":
    main()
