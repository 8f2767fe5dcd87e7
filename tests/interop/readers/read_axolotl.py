"""Train with axolotl on an exported dataset, as it is, by a config file as its users write it.

usage: python read_axolotl.py dpo|dpo_chat|sft|sft_conversations|stepwise DIRECTORY CONTAINER
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"

import tiny
from axolotl.cli.train import do_cli
from observing import STEPS, tell, training

KINDS = {
    "dpo": {"type": {"field_prompt": "prompt"}},
    "dpo_chat": {"type": "chat_template.default", "field_messages": "prompt"},
    "sft": {"type": "chat_template", "field_messages": "messages"},
    "sft_conversations": {"type": "chat_template", "field_messages": "conversations"},
    "stepwise": {"type": "stepwise_supervised", "step_separator": "\n"},
}


def main() -> None:
    kind, directory, container = sys.argv[1:]
    of_pairs = kind.startswith("dpo")
    with tempfile.TemporaryDirectory() as scratch:
        model = tiny.step_model() if kind == "stepwise" else tiny.causal_model()
        settings: dict[str, Any] = {
            "base_model": tiny.saved(Path(scratch) / "model", model),
            "datasets": [{**_files(directory, container), **KINDS[kind], "split": "train"}],
            "output_dir": f"{scratch}/out",
            "dataset_prepared_path": f"{scratch}/prepared",
            "sequence_len": 4096,
            "micro_batch_size": 2,
            "gradient_accumulation_steps": 1,
            "max_steps": STEPS,
            "learning_rate": 1e-2,
            "optimizer": "adamw_torch",
            "lr_scheduler": "constant",
            "logging_steps": 1,
            "save_strategy": "no",
            "bf16": False,
            "tf32": False,
            "chat_template": "tokenizer_default",
        }
        if of_pairs:
            settings["rl"] = "dpo"
        elif kind == "stepwise":
            settings |= {"process_reward_model": True, "num_labels": 2}
        config = Path(scratch) / "config.yml"
        config.write_text(json.dumps(settings))  # JSON is YAML
        tell(training(lambda: do_cli(str(config)), of_pairs=of_pairs))


def _files(directory: str, container: str) -> dict[str, str]:
    if container == "dataset":
        return {"path": f"{directory}/dataset/train"}
    kind = "json" if container == "jsonl" else container
    return {"path": f"{directory}/{container}/train.{container}", "ds_type": kind}


if __name__ == "__main__":
    main()
