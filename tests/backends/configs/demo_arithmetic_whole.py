"""The demo's word problems over the chat API, in whole solutions; the examples show thoughts.

Also for servers that can neither continue a message nor force a text into a form. The model may
think, or not.
"""

from dataclasses import replace
from typing import Any

from experiment_configs.interfaces import Prompt
from experiment_configs.rollout import demo_arithmetic

_EXAMPLES = """\
Question: Leo has 2 cards. He gets 3 more cards. Then he loses 1 card. How many cards has he?
Answer: <think>2 + 3 = 5, 5 - 1 = 4</think>
He has 2 + 3 = 5 cards.
Then he has 5 - 1 = 4 cards.
#### 4

Question: Zoe has 5 balls. She gets 2 more balls. Then she loses 4 balls. How many balls has she?
Answer: <think>5 + 2 = 7, 7 - 4 = 3</think>
She has 5 + 2 = 7 balls.
Then she has 7 - 4 = 3 balls.
#### 3

"""


class Config(demo_arithmetic.Config):
    """Whole solutions."""

    rollout_worker_config = replace(
        demo_arithmetic.Config.rollout_worker_config,
        api="chat",
        strategy="sampled",
        num_rollouts=6,
        max_tokens_per_rollout=96,
        max_depth=40,
        reasoning="fold",
    )

    def get_root_prompt(self, item: dict[str, Any]) -> Prompt:
        return f"{_EXAMPLES}Question: {self.get_question(item)}\nAnswer:"
