"""Read an exported dataset, as it is, with verl's dataset of prompts or with FAPO's reward.

verl trains on a GPU only. VERL_RECIPE names a checkout of verl-recipe, which has the reward.

usage: python read_verl.py prompts|rewards DIRECTORY CONTAINER
"""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import tiny
from observing import tell
from omegaconf import OmegaConf
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

REWARD = "fapo/reward_fn_genrm.py"


def main() -> None:
    kind, directory, container = sys.argv[1:]
    config = OmegaConf.create({"max_prompt_length": 4096, "filter_overlong_prompts_workers": 1})
    dataset = RLHFDataset(
        f"{directory}/{container}/train.{container}", tiny.tokenizer(), config=config
    )
    items = [dataset[number] for number in range(len(dataset))]
    collate_fn(items)
    reward = _reward(Path(os.environ["VERL_RECIPE"])) if kind == "rewards" else None
    tell({"read": [_read(item, reward) for item in items]})


def _read(item: dict[str, Any], reward: Any) -> dict[str, Any]:
    truth, more = item["reward_model"]["ground_truth"], item["extra_info"]
    found = {
        "data_source": item["data_source"],
        "prompt": [dict(message) for message in item["raw_prompt"]],
        "ground_truth": truth,
        "total_steps": more["total_steps"],
    }
    if reward:
        found["rewards"] = {
            answer: reward(f"\\boxed{{{answer}}}", truth, more)["score"]
            for answer in (-1, *range(more["total_steps"]))
        }
    return found


def _reward(recipe: Path) -> Any:
    spec = importlib.util.spec_from_file_location("reward", recipe / REWARD)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{recipe} has no {REWARD}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.compute_score_fapo_genrm


if __name__ == "__main__":
    main()
