"""Read an exported dataset, as it is, with the loaders of NeMo-RL.

The package of this name is only a placeholder, so NEMO_RL names a checkout of NVIDIA-NeMo/RL.

usage: python read_nemo_rl.py pairs|ranks|sft DIRECTORY CONTAINER
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

sys.path.insert(0, os.environ["NEMO_RL"])

import tiny
from nemo_rl.data.collate_fn import preference_collate_fn, rl_collate_fn
from nemo_rl.data.datasets import (
    AllTaskProcessedDataset,
    load_preference_dataset,
    load_response_dataset,
)
from nemo_rl.data.llm_message_utils import (
    add_loss_mask_to_message_log,
    batched_message_log_to_flat_message,
)
from nemo_rl.data.processors import preference_preprocessor, sft_processor
from observing import parts, tell


def main() -> None:
    kind, directory, container = sys.argv[1:]
    tell(KINDS[kind](f"{directory}/{container}/train.{container}"))


def pairs(file: str) -> dict[str, Any]:
    tokenizer = tiny.tokenizer()
    data = load_preference_dataset({"dataset_name": "PreferenceDataset", "data_path": file})
    batch = preference_collate_fn(
        _processed(data, tokenizer, preference_preprocessor),
        tokenizer,
        make_sequence_length_divisible_by=1,
        add_loss_mask=True,
    )
    read = _texts(tokenizer, batch["input_ids"], batch["token_mask"], batch["input_lengths"])
    sides = zip(read[::2], read[1::2], strict=True)  # of each pair, one after the other
    return {
        "read": [{"chosen": one, "rejected": other, "margin": None} for one, other in sides],
        "is_used": bool(batch["sample_mask"].all()),
    }


def ranks(file: str) -> dict[str, Any]:
    """Return what its dataset holds: its own trainers take two completions of a row, not more."""
    data = load_preference_dataset({"dataset_name": "PreferenceDataset", "data_path": file})
    return {
        "read": [
            [row["context"], [[one["rank"], one["completion"]] for one in row["completions"]]]
            for row in data.dataset
        ]
    }


def sft(file: str) -> dict[str, Any]:
    """Return what its SFT learns, with the masks and the batches of `nemo_rl.algorithms.sft`."""
    tokenizer = tiny.tokenizer()
    data = load_response_dataset({"dataset_name": "openai_format", "data_path": file})
    batch = rl_collate_fn(_processed(data, tokenizer, sft_processor))
    add_loss_mask_to_message_log(batch["message_log"], roles_to_train_on=["assistant"])
    flat, lengths = batched_message_log_to_flat_message(
        batch["message_log"], pad_value_dict={"token_ids": tokenizer.pad_token_id}
    )
    read = _texts(tokenizer, flat["token_ids"], flat["token_loss_mask"], lengths)
    return {
        "read": [{"text": text} for text in read],
        "is_used": bool(batch["loss_multiplier"].all()),
    }


def _processed(data: Any, tokenizer: Any, processor: Callable[..., Any]) -> list[Any]:
    processors = {data.task_name: (data.task_spec, processor)}
    dataset = AllTaskProcessedDataset(
        data.dataset, tokenizer, None, processors, max_seq_length=4096
    )
    return [dataset[number] for number in range(len(dataset))]


def _texts(tokenizer: Any, ids: Any, masks: Any, lengths: Any) -> Sequence[list[list[Any]]]:
    return [
        parts(tokenizer, row[:length], mask[:length])
        for row, mask, length in zip(ids, masks, lengths, strict=True)
    ]


KINDS: dict[str, Callable[[str], dict[str, Any]]] = {"pairs": pairs, "ranks": ranks, "sft": sft}

if __name__ == "__main__":
    main()
