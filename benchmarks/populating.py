"""Seed and grow forests as jobs do, but without files and a queue. Django must be set up."""

import random
import string
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from experiment_configs.interfaces import Prompt, RolloutConfig, RolloutWorkerConfig
from experiment_configs.loading import load_config
from forests.models import Forest
from forests.seeding import seed_forest
from forests.storage.trees import delete_forest
from rollouts.growing import growing_process
from rollouts.workers.jobs import grow_slice

WORDS_OF_A_LONG_QUESTION = 200


class Questions(RolloutConfig):
    """A config with any number of similar items."""

    def __init__(self, size: int, **settings: Any) -> None:
        self.size = size
        usual = {
            "branching": (4, 2, 1), "max_depth": 4,
            "max_tokens_per_step": 32, "max_tokens_per_rollout": 96,
        }  # fmt: skip
        self.rollout_worker_config = RolloutWorkerConfig(**{**usual, **settings})

    def get_dataset_iterator(self, dataset_split: str) -> Iterator[int]:
        yield from range(self.size)

    def get_root_prompt(self, item: Any) -> Prompt:
        if self.rollout_worker_config.api == "chat":
            return [{"role": "user", "content": f"Question {item}: 2 + 3?"}]
        return "Question: 2 + 3?\nAnswer:"

    def get_label(self, item: Any) -> str:
        return "3"


class LongQuestions(Questions):
    """Items whose prompts share no prefix."""

    def get_root_prompt(self, item: Any) -> Prompt:
        words = random.Random(item).choices(string.ascii_lowercase, k=WORDS_OF_A_LONG_QUESTION)
        return f"Question: {' '.join(words)}?\nAnswer:"


def seed_share(
    suffix: str, size: int, kind: type[Questions] = Questions, **settings: Any
) -> Forest:
    """Seed and return a new forest for one process, with these worker settings."""
    config = kind(size, **settings)
    loaded = replace(load_config("demo_arithmetic"), name="benchmark", config=config)
    if old := Forest.objects.filter(pk=f"benchmark-test-{suffix}").first():
        delete_forest(old)
    return seed_forest(loaded, "test", suffix)


def grow_share(forest: Forest) -> Forest:
    """Grow the forest like a job, and return the updated forest."""
    loaded = replace(load_config("demo_arithmetic"), name="benchmark", config=Questions(0))
    growing_process.load_frozen_config = lambda forest: loaded  # noqa: ARG005  no file of its own
    done = grow_slice(forest.name, 0, forest.num_trees)
    if done != {"complete": forest.num_trees, "failed": 0}:
        raise RuntimeError(f"the forest did not grow: {done}")
    return Forest.objects.get(pk=forest.name)
