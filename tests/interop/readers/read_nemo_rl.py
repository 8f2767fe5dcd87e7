"""Read an exported dataset, as it is, with the preference loader of NeMo-RL.

The package of this name is a placeholder: NEMO_RL names a checkout of NVIDIA-NeMo/RL.

usage: python read_nemo_rl.py pairs DIRECTORY CONTAINER
"""

import os
import sys

sys.path.insert(0, os.environ["NEMO_RL"])

import tiny
from nemo_rl.data.collate_fn import preference_collate_fn
from nemo_rl.data.datasets import AllTaskProcessedDataset, load_preference_dataset
from nemo_rl.data.processors import preference_preprocessor
from observing import parts, tell


def main() -> None:
    _, directory, container = sys.argv[1:]
    tokenizer = tiny.tokenizer()
    data = load_preference_dataset(
        {
            "dataset_name": "PreferenceDataset",
            "data_path": f"{directory}/{container}/train.{container}",
        }
    )
    dataset = AllTaskProcessedDataset(
        data.dataset,
        tokenizer,
        None,
        {data.task_name: (data.task_spec, preference_preprocessor)},
        max_seq_length=2048,
    )
    batch = preference_collate_fn(
        [dataset[number] for number in range(len(dataset))],
        tokenizer,
        make_sequence_length_divisible_by=1,
        add_loss_mask=True,
    )
    read = [
        parts(tokenizer, ids[:length], mask[:length])
        for ids, mask, length in zip(
            batch["input_ids"], batch["token_mask"], batch["input_lengths"], strict=True
        )
    ]
    sides = zip(read[::2], read[1::2], strict=True)  # of each pair, one after the other
    tell(
        {
            "read": [{"chosen": one, "rejected": other, "margin": None} for one, other in sides],
            "is_used": bool(batch["sample_mask"].all()),
        }
    )


if __name__ == "__main__":
    main()
