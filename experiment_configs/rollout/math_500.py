"""MATH-500: the 500 test problems of MATH that PRM800K held out (2305.20050)."""

from collections.abc import Iterator
from typing import Any

from experiment_configs.dataset_files import iter_split, text_of
from experiment_configs.interfaces import Prompt, RolloutConfig, RolloutWorkerConfig

INSTRUCTION = (
    "Solve the problem step by step. Leave a blank line between steps. "
    "Put the final answer in \\boxed{}."
)


class Config(RolloutConfig):
    """Chat prompts, a paragraph per step, the answer in a box."""

    source = "HuggingFaceH4/MATH-500"
    licence = "mit"
    rollout_worker_config = RolloutWorkerConfig(
        api="chat",
        strategy="branching",
        step_delimiter="\n\n",
        branching=(4, 2, 1),
        max_depth=20,
        max_tokens_per_step=512,
        max_tokens_per_rollout=2048,
    )

    def get_dataset_iterator(self, dataset_split: str) -> Iterator[dict[str, Any]]:
        return iter_split(
            "HuggingFaceH4/MATH-500", dataset_split, directory_setting="MATH_500_DATA_DIR"
        )

    def get_root_prompt(self, item: dict[str, Any]) -> Prompt:
        return [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": item["problem"]},
        ]

    def get_question(self, item: dict[str, Any]) -> str:
        return str(item["problem"])

    def get_label(self, item: dict[str, Any]) -> str:
        return text_of(item, "answer")

    def serialize_dataset_item(self, item: dict[str, Any]) -> str:
        facts = ", ".join(
            f"{name} {item[name]}" for name in ("subject", "level", "unique_id") if name in item
        )
        return f"{item['problem']}\n\n*{facts}*\n\n**Solution**\n\n{item.get('solution', '')}"
