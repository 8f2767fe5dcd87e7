"""LIAR-New: political statements, true or false (2305.14928), with short reasons as steps."""

import re
from collections.abc import Iterator
from typing import Any

from experiment_configs.dataset_files import iter_split, text_of
from experiment_configs.interfaces import Prompt, RolloutConfig, RolloutWorkerConfig

INSTRUCTION = (
    "You check statements for truthfulness. Give a few short reasons, one a line. Then write one "
    'last line: "Verdict: true" or "Verdict: false".'
)
# PolitiFact's six labels; the upper three are mostly true.
TRUE_LABELS = frozenset({"true", "mostly-true", "half-true"})
_VERDICT = re.compile(r"verdict:\W*(true|false)\b", re.IGNORECASE)


class Config(RolloutConfig):
    """Chat prompts, one reason per line, and a verdict in words instead of a number."""

    source = "LIAR-New"
    licence = "mit"
    rollout_worker_config = RolloutWorkerConfig(
        api="chat",
        strategy="branching",
        step_delimiter="\n",
        stop_at_answer=True,
        branching=(4, 2, 1),
        max_depth=8,
        max_tokens_per_step=96,
        max_tokens_per_rollout=384,
    )

    def get_dataset_iterator(self, dataset_split: str) -> Iterator[dict[str, Any]]:
        return iter_split(
            "ComplexDataLab/LIAR-New", dataset_split, directory_setting="LIAR_NEW_DATA_DIR"
        )

    def get_root_prompt(self, item: dict[str, Any]) -> Prompt:
        return [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": self.get_question(item)},
        ]

    def get_question(self, item: dict[str, Any]) -> str:
        return f"Statement ({item['date']}): {item['statement']}"

    def get_label(self, item: dict[str, Any]) -> str:
        return "true" if text_of(item, "label").strip().lower() in TRUE_LABELS else "false"

    def serialize_dataset_item(self, item: dict[str, Any]) -> str:
        return f"> {item['statement']}\n\n{item['date']}, rated **{item['label']}**"

    def extract_answer(self, completion: str) -> str | None:
        found = _VERDICT.findall(completion)
        return found[-1].lower() if found else None

    def is_correct(self, answer: str, label: str) -> bool:
        return answer.strip().lower() == label
