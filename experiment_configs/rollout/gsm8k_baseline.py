"""GSM8K: grade-school word problems with whole-number answers (2110.14168)."""

from collections.abc import Iterator
from typing import Any

from experiment_configs.dataset_files import iter_split, text_of
from experiment_configs.interfaces import Prompt, RolloutConfig, RolloutWorkerConfig

EXAMPLES = """\
Question: A baker has 12 eggs. She uses 5 eggs and then buys 6 more. How many eggs has she now?
Answer: She has 12 - 5 = 7 eggs left.
Then she has 7 + 6 = 13 eggs.
#### 13

Question: Pens cost $2 each. Max buys 4 pens and pays with $20. How much change does he get?
Answer: The pens cost 4 * 2 = 8 dollars.
His change is 20 - 8 = 12 dollars.
#### 12

"""


class Config(RolloutConfig):
    """Few-shot completions, one calculation per line, the answer after `####`."""

    source = "openai/gsm8k"
    licence = "mit"
    rollout_worker_config = RolloutWorkerConfig(
        api="completions",
        strategy="branching",
        step_delimiter="\n",
        stop=("\nQuestion:", "\n\n"),
        branching=(4, 2, 1),
        max_depth=10,
        max_tokens_per_step=96,
        max_tokens_per_rollout=384,
    )

    def get_dataset_iterator(self, dataset_split: str) -> Iterator[dict[str, Any]]:
        return iter_split(
            "openai/gsm8k", dataset_split, subset="main", directory_setting="GSM8K_DATA_DIR"
        )

    def get_root_prompt(self, item: dict[str, Any]) -> Prompt:
        return f"{EXAMPLES}Question: {item['question']}\nAnswer:"

    def get_question(self, item: dict[str, Any]) -> str:
        return str(item["question"])

    def get_label(self, item: dict[str, Any]) -> str:
        return text_of(item, "answer").rpartition("####")[2].strip()

    def serialize_dataset_item(self, item: dict[str, Any]) -> str:
        return f"{item['question']}\n\n**Solution**\n\n{item['answer']}"
