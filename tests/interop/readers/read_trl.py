"""Train with one of TRL's trainers on an exported dataset, as it is.

usage: python read_trl.py dpo|reward|kto|prm|sft DIRECTORY CONTAINER
"""

import sys
import tempfile
from collections.abc import Callable
from typing import Any

import tiny
from datasets import load_dataset, load_from_disk
from observing import STEPS, tell, training


def main() -> None:
    trainer, directory, container = sys.argv[1:]
    rows = (
        load_from_disk(f"{directory}/dataset")["train"]
        if container == "dataset"
        else load_dataset(directory)["train"]  # by the card
    )
    with tempfile.TemporaryDirectory() as scratch:
        of_pairs = trainer in {"dpo", "reward"}
        tell(training(lambda: TRAINERS[trainer](rows, scratch).train(), of_pairs=of_pairs))


def dpo(rows: Any, scratch: str) -> Any:
    from trl import DPOConfig, DPOTrainer

    # Without a reference, the trainer would load one from the hub, by the name of the model.
    reference = tiny.causal_model()
    return _trainer(DPOTrainer, DPOConfig, tiny.causal_model(), rows, scratch, ref_model=reference)


def kto(rows: Any, scratch: str) -> Any:
    from trl import KTOConfig, KTOTrainer

    reference = tiny.causal_model()
    return _trainer(KTOTrainer, KTOConfig, tiny.causal_model(), rows, scratch, ref_model=reference)


def sft(rows: Any, scratch: str) -> Any:
    from trl import SFTConfig, SFTTrainer

    return _trainer(SFTTrainer, SFTConfig, tiny.causal_model(), rows, scratch)


def reward(rows: Any, scratch: str) -> Any:
    from trl import RewardConfig, RewardTrainer

    return _trainer(RewardTrainer, RewardConfig, tiny.reward_model(), rows, scratch)


def prm(rows: Any, scratch: str) -> Any:
    from trl.experimental.prm import PRMConfig, PRMTrainer

    return _trainer(PRMTrainer, PRMConfig, tiny.step_model(), rows, scratch)


def _trainer(kind: Any, settings: Any, model: Any, rows: Any, scratch: str, **more: Any) -> Any:
    arguments = settings(
        output_dir=scratch,
        max_steps=STEPS,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        max_length=4096,
        bf16=False,
    )
    return kind(
        model=model,
        args=arguments,
        train_dataset=rows,
        processing_class=tiny.tokenizer(),
        **more,
    )


TRAINERS: dict[str, Callable[[Any, str], Any]] = {
    "dpo": dpo,
    "reward": reward,
    "kto": kto,
    "prm": prm,
    "sft": sft,
}

if __name__ == "__main__":
    main()
