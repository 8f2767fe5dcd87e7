"""Train with LLaMA-Factory on an exported dataset, as it is: it finds the files itself.

usage: python read_llama_factory.py dpo|rm DIRECTORY CONTAINER
"""

import sys
import tempfile
from pathlib import Path

import tiny
from llamafactory.train.tuner import run_exp
from observing import STEPS, tell, training


def main() -> None:
    kind, directory, _ = sys.argv[1:]  # its dataset_info.json names the file
    with tempfile.TemporaryDirectory() as scratch:
        settings = {
            "stage": kind,
            "do_train": True,
            "model_name_or_path": tiny.saved(Path(scratch) / "model", tiny.causal_model()),
            "dataset_dir": directory,
            "dataset": "train",
            "template": "chatml",
            "cutoff_len": 2048,
            "finetuning_type": "full",
            "output_dir": f"{scratch}/out",
            "max_steps": STEPS,
            "per_device_train_batch_size": 2,
            "learning_rate": 1e-2,
            "logging_steps": 1,
            "report_to": "none",
            "save_strategy": "no",
            "use_cpu": True,
            "overwrite_cache": True,
            "dataloader_num_workers": 0,
        }
        tell(training(lambda: run_exp(settings)))


if __name__ == "__main__":
    main()
