"""Observe which rows a trainer of transformers is given, and which tokens it learns.

Runs in the environments of trainers, without this project, so it imports nothing from the project.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from transformers import Trainer, set_seed

STEPS = 2
IGNORED = -100


def training(run: Callable[[], object], *, of_pairs: bool = True) -> dict[str, Any]:
    """Start a trainer by `run`; return the rows that it reads, and its optimisation steps."""
    seen: list[dict[str, Any]] = []
    original = Trainer.train

    def train(self: Trainer, *args: Any, **more: Any) -> Any:
        rows = list(_rows(self, of_pairs=of_pairs))
        before = _weights(self.model)
        done = original(self, *args, **more)
        losses = [entry["loss"] for entry in self.state.log_history if "loss" in entry]
        changed = any(
            not torch.equal(old, new) for old, new in zip(before, _weights(self.model), strict=True)
        )
        seen.append({"read": rows, **trained(losses, self.state.global_step, changed=changed)})
        return done

    Trainer.train = train
    try:
        set_seed(0)
        run()
    finally:
        Trainer.train = original
    (one,) = seen
    return one


def trained(losses: list[float], steps: int, *, changed: bool) -> dict[str, Any]:
    finite = bool(losses) and all(math.isfinite(loss) for loss in losses)
    return {"losses": losses, "steps": steps, "finite": finite, "changed": changed}


def tell(found: Mapping[str, Any]) -> None:
    """Print what a reader found as the last line, which the test reads."""
    sys.stdout.flush()
    print("\n" + json.dumps(found), flush=True)


def parts(tokenizer: Any, ids: Any, learnt: Any) -> list[list[Any]]:
    """Return the text of the tokens as parts, each with whether the trainer learns it."""
    found: list[tuple[list[int], bool]] = []
    for token, is_learnt in zip(_listed(ids), map(bool, _listed(learnt)), strict=True):
        if not found or found[-1][1] != is_learnt:
            found.append(([], is_learnt))
        found[-1][0].append(token)
    return [[tokenizer.decode(tokens), is_learnt] for tokens, is_learnt in found]


def _rows(trainer: Trainer, *, of_pairs: bool) -> Iterator[dict[str, Any]]:
    """Yield each row of the trainer's batches, as the trainer reads it."""
    tokenizer = trainer.processing_class
    for batch in trainer.get_train_dataloader():
        ids, attended = batch["input_ids"], batch["attention_mask"].bool()
        learnt = _learnt(batch, ids)
        read = [
            parts(tokenizer, row[mask], learns[mask])
            for row, mask, learns in zip(ids, attended, learnt, strict=True)
        ]
        if of_pairs:  # first all chosen sides, then all rejected ones
            half = len(read) // 2
            margins = _listed(batch["margin"].float()) if "margin" in batch else [None] * half
            for chosen, rejected, margin in zip(read[:half], read[half:], margins, strict=True):
                yield {"chosen": chosen, "rejected": rejected, "margin": margin}
        else:
            labels = batch["label"] if "label" in batch else batch["labels"]
            for number, row in enumerate(read):
                label = labels[number]
                label = label[learnt[number]] if label.shape == ids[number].shape else label
                yield {"text": row, "labels": _listed(label)}


def _learnt(batch: Mapping[str, Any], ids: torch.Tensor) -> torch.Tensor:
    if "completion_mask" in batch:
        return batch["completion_mask"].bool()
    if "labels" in batch and batch["labels"].shape == ids.shape:
        return batch["labels"] != IGNORED
    return torch.ones_like(ids, dtype=torch.bool)


def _weights(model: Any) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def _listed(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)
