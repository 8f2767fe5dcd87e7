"""Word problems made from a seed: no download, and easy enough for a very small model."""

import random
from collections.abc import Iterator
from typing import Any

from experiment_configs.interfaces import (
    ConfigError,
    Prompt,
    RolloutConfig,
    RolloutWorkerConfig,
)

SPLITS = {"train": 200, "test": 50}
NAMES = ("Tom", "Ana", "Ben", "Mia", "Sam", "Eva")
THINGS = ("apples", "pens", "books", "coins", "shells", "stamps")

EXAMPLES = """\
Question: Leo has 2 cards. He gets 3 more cards. Then he loses 1 card. How many cards has he?
Answer: He has 2 + 3 = 5 cards.
Then he has 5 - 1 = 4 cards.
#### 4

Question: Zoe has 5 balls. She gets 2 more balls. Then she loses 4 balls. How many balls has she?
Answer: She has 5 + 2 = 7 balls.
Then she has 7 - 4 = 3 balls.
#### 3

"""


class Config(RolloutConfig):
    """Two calculations below ten, one per line."""

    source = "made by the config"
    licence = "cc0-1.0"
    rollout_worker_config = RolloutWorkerConfig(
        api="completions",
        strategy="branching",
        step_delimiter="\n",
        stop=("\nQuestion:",),
        temperature=0.7,
        branching=(4, 2, 1),
        max_depth=5,
        max_tokens_per_step=24,
        max_tokens_per_rollout=72,
        concurrency=8,
    )

    def get_dataset_iterator(self, dataset_split: str) -> Iterator[dict[str, Any]]:
        if dataset_split not in SPLITS:
            raise ConfigError(f"no split {dataset_split!r}: there are {', '.join(SPLITS)}")
        numbers = random.Random(dataset_split)
        for _ in range(SPLITS[dataset_split]):
            has, gets = numbers.randint(1, 5), numbers.randint(1, 4)
            yield {
                "name": numbers.choice(NAMES),
                "thing": numbers.choice(THINGS),
                "has": has,
                "gets": gets,
                "loses": numbers.randint(1, has + gets - 1),
            }

    def get_root_prompt(self, item: dict[str, Any]) -> Prompt:
        return f"{EXAMPLES}Question: {self._question(item)}\nAnswer:"

    def get_question(self, item: dict[str, Any]) -> str:
        return self._question(item)

    def get_label(self, item: dict[str, Any]) -> str:
        return str(item["has"] + item["gets"] - item["loses"])

    def serialize_dataset_item(self, item: dict[str, Any]) -> str:
        return self._question(item)

    def _question(self, item: dict[str, Any]) -> str:
        name, thing = item["name"], item["thing"]
        return (
            f"{name} has {item['has']} {thing}. {name} gets {item['gets']} more {thing}. "
            f"Then {name} loses {item['loses']} {thing}. How many {thing} has {name}?"
        )
