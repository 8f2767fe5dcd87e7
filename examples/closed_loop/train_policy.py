"""Train a model on exported pairs, unchanged, with TRL's DPOTrainer.

usage: train_policy.py MODEL DATASET OUTPUT [--swap_at_random]
"""

import argparse
import random

import torch
from datasets import Dataset, load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("output")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument(
        "--swap_at_random",
        action="store_true",
        help="the control: exchange chosen and rejected of each pair with probability 1/2",
    )
    options = parser.parse_args()
    pairs = load_dataset(options.dataset)["train"].shuffle(seed=SEED)
    if options.swap_at_random:
        pairs = swapped_at_random(pairs)
    has_gpu = torch.cuda.is_available()
    settings = DPOConfig(
        options.output,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        learning_rate=2e-4,
        lr_scheduler_type="cosine",
        warmup_steps=5,
        num_train_epochs=options.epochs,
        beta=0.1,
        max_length=320,
        bf16=has_gpu,
        gradient_checkpointing=False,
        logging_steps=5,
        save_strategy="no",
        report_to=[],
        seed=SEED,
    )
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    trainer = DPOTrainer(
        AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32),
        args=settings,
        train_dataset=pairs,
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    print(trainer.train())
    trainer.model.merge_and_unload().save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)


def swapped_at_random(pairs: Dataset) -> Dataset:
    """Return the same pairs, each turned round with probability 1/2."""
    coin = random.Random(SEED)

    def swap(row: dict[str, str]) -> dict[str, str]:
        if coin.random() < 1 / 2:
            return row
        return {**row, "chosen": row["rejected"], "rejected": row["chosen"]}

    turned: Dataset = pairs.map(swap, load_from_cache_file=False)
    return turned


if __name__ == "__main__":
    main()
