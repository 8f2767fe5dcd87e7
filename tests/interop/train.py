"""Train two steps with one of TRL's trainers on an exported dataset, as it is.

Runs in an environment with TRL, without this project: nothing is imported from it.

usage: python train.py dpo|reward|kto|prm DIRECTORY jsonl|parquet|dataset
"""

import json
import math
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset, load_dataset, load_from_disk
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

STEPS = 2
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def main() -> None:
    trainer_name, directory, container = sys.argv[1:]
    rows = read(directory, container)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = TRAINERS[trainer_name](rows, scratch)
        before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
        trainer.train()
        changed = any(
            not torch.equal(old, new)
            for old, new in zip(before, trainer.model.parameters(), strict=True)
        )
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(
        json.dumps(
            {
                "rows": len(rows),
                "steps": trainer.state.global_step,
                "losses": losses,
                "finite": all(math.isfinite(loss) for loss in losses),
                "changed": changed,
            }
        )
    )


def read(directory: str, container: str) -> Any:
    if container == "dataset":
        return load_from_disk(f"{directory}/dataset")["train"]
    return load_dataset(directory)["train"]  # by the card


def tokenizer() -> PreTrainedTokenizerFast:
    """Return one token for each byte, so that no text is unknown."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<pad>", "</s>", *alphabet])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>")
    fast.chat_template = CHAT_TEMPLATE
    return fast


def config(**more: Any) -> Qwen2Config:
    torch.manual_seed(0)
    return Qwen2Config(
        vocab_size=258,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        **more,
    )


def arguments(scratch: str) -> dict[str, Any]:
    return {
        "output_dir": scratch,
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
    }


def dpo(rows: Dataset, scratch: str) -> Any:
    from trl import DPOConfig, DPOTrainer

    return with_reference(DPOTrainer, DPOConfig, rows, scratch)


def kto(rows: Dataset, scratch: str) -> Any:
    from trl import KTOConfig, KTOTrainer

    return with_reference(KTOTrainer, KTOConfig, rows, scratch)


def reward(rows: Dataset, scratch: str) -> Any:
    from trl import RewardConfig, RewardTrainer

    model = AutoModelForSequenceClassification.from_config(config(num_labels=1))
    return trainer_of(RewardTrainer, RewardConfig, model, rows, scratch)


def prm(rows: Dataset, scratch: str) -> Any:
    from trl.experimental.prm import PRMConfig, PRMTrainer

    model = AutoModelForTokenClassification.from_config(config(num_labels=2))
    return trainer_of(PRMTrainer, PRMConfig, model, rows, scratch)


def with_reference(kind: Any, settings: Any, rows: Dataset, scratch: str) -> Any:
    model, reference = (AutoModelForCausalLM.from_config(config()) for _ in range(2))
    # Without one the trainer would load it by the model's name, which leads to the hub.
    return trainer_of(kind, settings, model, rows, scratch, ref_model=reference)


def trainer_of(
    kind: Any, settings: Any, model: Any, rows: Dataset, scratch: str, **more: Any
) -> Any:
    return kind(
        model=model,
        args=settings(**arguments(scratch)),
        train_dataset=rows,
        processing_class=tokenizer(),
        **more,
    )


TRAINERS: dict[str, Callable[[Dataset, str], Any]] = {
    "dpo": dpo,
    "reward": reward,
    "kto": kto,
    "prm": prm,
}


if __name__ == "__main__":
    main()
