"""Word problems of two calculations, made by the config: trees to learn from.

SmolLM2-135M solves about one in six, so trees have right and wrong steps. No
question is in both splits.
"""

import random
from collections.abc import Iterator
from itertools import product
from typing import Any

from experiment_configs.interfaces import RolloutConfig, RolloutWorkerConfig

NAMES = ("Tom", "Ana", "Ben", "Mia", "Sam", "Eva", "Lia", "Max")
THINGS = ("apples", "pens", "books", "coins", "shells", "stamps", "marbles", "cards")
EXAMPLES = """\
Question: Leo has 2 cards. He gets 7 more cards. Then he loses 5 cards. How many cards has he?
Answer: He has 2 + 7 = 9 cards.
Then he has 9 - 5 = 4 cards.
The answer is 4.

Question: Zoe has 5 balls. She gets 3 more balls. Then she loses 2 balls. How many balls has she?
Answer: She has 5 + 3 = 8 balls.
Then she has 8 - 2 = 6 balls.
The answer is 6.

"""
Item = dict[str, Any]


def items_of(split: str) -> list[Item]:
    """Return the items of a split. A triple of numbers belongs to one split only."""
    triples = [
        (has, gets, loses)
        for has, gets in product(range(1, 10), range(1, 7))
        for loses in range(1, has + gets)
    ]
    order = random.Random("two steps")
    order.shuffle(triples)
    half = len(triples) // 2
    chosen = triples[:half] if split == "train" else triples[half:]
    words = random.Random(split)
    return [
        {"name": words.choice(NAMES), "thing": words.choice(THINGS),
         "has": has, "gets": gets, "loses": loses}
        for has, gets, loses in chosen
    ]  # fmt: skip


class Config(RolloutConfig):
    """The trees from which pairs are made."""

    source = "made by the config"
    licence = "cc0-1.0"
    rollout_worker_config = RolloutWorkerConfig(
        api="completions",
        strategy="branching",
        step_delimiter="\n",
        stop=("\nQuestion:", "\n\n"),
        temperature=0.7,
        branching=(6, 3, 1),
        max_depth=5,
        max_tokens_per_step=28,
        max_tokens_per_rollout=64,
        concurrency=96,
        request_timeout_seconds=1800,
    )

    def get_dataset_iterator(self, dataset_split: str) -> Iterator[Item]:
        yield from items_of(dataset_split)

    def get_root_prompt(self, item: Item) -> str:
        return f"{EXAMPLES}Question: {self.get_question(item)}\nAnswer:"

    def get_question(self, item: Item) -> str:
        name, thing = item["name"], item["thing"]
        return (
            f"{name} has {item['has']} {thing}. {name} gets {item['gets']} more {thing}. Then "
            f"{name} loses {item['loses']} {thing}. How many {thing} has {name}?"
        )

    def get_label(self, item: Item) -> str:
        return str(item["has"] + item["gets"] - item["loses"])
