"""Train with ms-swift on an exported dataset, as it is.

usage: python read_ms_swift.py dpo|rm|sft DIRECTORY CONTAINER
"""

import sys
import tempfile
from pathlib import Path

import tiny
from observing import STEPS, tell, training
from swift import RLHFArguments, SftArguments, rlhf_main, sft_main


def main() -> None:
    kind, directory, container = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        model = tiny.reward_model() if kind == "rm" else tiny.causal_model()
        is_sft = kind == "sft"
        more = {} if is_sft else {"rlhf_type": kind}
        arguments = (SftArguments if is_sft else RLHFArguments)(
            **more,
            model=tiny.saved(Path(scratch) / "model", model),
            model_type="qwen2",
            template="chatml",
            dataset=[f"{directory}/{container}/train.{container}"],
            split_dataset_ratio=0,
            tuner_type="full",
            torch_dtype="float32",
            output_dir=f"{scratch}/out",
            max_steps=STEPS,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=1,
            learning_rate=1e-2,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            gradient_checkpointing=False,
            dataloader_num_workers=0,
            dataset_num_proc=1,
        )
        run = sft_main if is_sft else rlhf_main
        tell(training(lambda: run(arguments), of_pairs=not is_sft))


if __name__ == "__main__":
    main()
