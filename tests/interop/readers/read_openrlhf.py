"""Read an exported dataset, as it is, with OpenRLHF, and take steps with its loss.

Its trainers run on DeepSpeed with a GPU only, so the optimiser here is PyTorch's own.

usage: python read_openrlhf.py dpo|dpo_messages|rm_messages|prm|prm_soft DIRECTORY CONTAINER
"""

import sys
from argparse import Namespace
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import tiny
import torch
from observing import STEPS, parts, tell, trained
from openrlhf.datasets.utils import blending_datasets
from torch.utils.data import DataLoader

LENGTH = 4096
TAG = "ки"
MARKS = ("+", "-")


def main() -> None:
    kind, directory, container = sys.argv[1:]
    file = f"{directory}/{container}/train.{container}"
    tell(process_rewards(kind, file) if kind.startswith("prm") else pairs(kind, file))


def pairs(kind: str, file: str) -> dict[str, Any]:
    from openrlhf.datasets import RewardDataset

    data = Namespace(
        prompt_key="prompt",
        chosen_key="chosen",
        rejected_key="rejected",
        apply_chat_template=kind.endswith("_messages"),
    )
    strategy = _strategy(data=data, use_ms=False)
    rows = blending_datasets(file, None, strategy, dataset_split="train")
    tokenizer = tiny.tokenizer()
    is_dpo = kind.startswith("dpo")
    dataset = RewardDataset(rows, tokenizer, LENGTH, strategy, is_dpo=is_dpo, num_processors=1)
    model, loss = (tiny.causal_model(), _dpo_loss) if is_dpo else (tiny.reward_model(), _pair_loss)
    read = [_pair(tokenizer, dataset[n], is_dpo) for n in range(len(dataset))]
    return {"read": read, **_trained(model, dataset, loss)}


def process_rewards(kind: str, file: str) -> dict[str, Any]:
    from openrlhf.datasets import ProcessRewardDataset
    from openrlhf.models import PRMLoss

    strategy = _strategy(
        input_key="input",
        label_key="values" if kind == "prm_soft" else "label",
        placeholder_token=TAG,
        reward_tokens=list(MARKS),
    )
    rows = blending_datasets(file, None, strategy, dataset_split="train")
    tokenizer = tiny.tokenizer(TAG)
    dataset = ProcessRewardDataset(rows, tokenizer, LENGTH, strategy)
    (tag,), *marks = (tokenizer.encode(text) for text in (TAG, *MARKS))
    loss = PRMLoss(tag, [mark for (mark,) in marks])

    def step_loss(model: Any, batch: Any) -> Any:
        ids, mask, labels = (one.squeeze(1) for one in batch)
        return loss(ids, model(input_ids=ids, attention_mask=mask).logits, labels)

    read = [_labelled(tokenizer, *dataset[n]) for n in range(len(dataset))]
    return {"read": read, **_trained(tiny.causal_model(), dataset, step_loss)}


def _strategy(**arguments: Any) -> Any:
    return SimpleNamespace(args=Namespace(**arguments), print=print, is_rank_0=lambda: False)


def _pair(tokenizer: Any, item: Any, is_dpo: bool) -> dict[str, Any]:
    chosen, _, rejected, _, extra = item

    def side(ids: Any) -> Any:
        (tokens,) = ids
        learnt = [not is_dpo or place >= extra for place in range(len(tokens))]
        return parts(tokenizer, tokens, learnt)

    return {
        "chosen": side(chosen),
        "rejected": side(rejected),
        "margin": None if is_dpo else float(extra),
    }


def _labelled(tokenizer: Any, ids: Any, _mask: Any, labels: Any) -> dict[str, Any]:
    """Return the text, in which labelled tokens are parts of their own, and their labels."""
    (tokens,), (labels,) = ids, labels
    is_labelled = labels != -100
    told = labels[is_labelled].tolist()
    if not labels.is_floating_point():
        told = [tokenizer.decode([token]) for token in told]
    return {"text": parts(tokenizer, tokens, is_labelled), "labels": told}


def _dpo_loss(model: Any, batch: Any) -> Any:
    from openrlhf.models import DPOLoss

    chosen, chosen_mask, rejected, rejected_mask, prompts = batch
    logprobs = [
        _sums_of_logprobs(one, ids.squeeze(1), mask.squeeze(1), prompts)
        for one in (model, tiny.causal_model())  # the reference has the weights of the start
        for ids, mask in ((chosen, chosen_mask), (rejected, rejected_mask))
    ]
    loss, _, _ = DPOLoss(beta=0.1)(*logprobs)
    return loss


def _sums_of_logprobs(model: Any, ids: Any, mask: Any, prompts: Any) -> Any:
    """Return the log-probability of each answer, as OpenRLHF's trainer of DPO sums it."""
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    logprobs = logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    places = torch.arange(1, ids.shape[1])
    learnt = (places >= torch.tensor(prompts)[:, None]) & mask[:, 1:].bool()
    return (logprobs * learnt).sum(-1)


def _pair_loss(model: Any, batch: Any) -> Any:
    from openrlhf.models import PairWiseLoss

    chosen, chosen_mask, rejected, rejected_mask, margins = batch
    rewards = [
        model(input_ids=ids.squeeze(1), attention_mask=mask.squeeze(1)).logits.squeeze(-1)
        for ids, mask in ((chosen, chosen_mask), (rejected, rejected_mask))
    ]
    return PairWiseLoss()(*rewards, torch.tensor(margins))


def _trained(model: Any, dataset: Any, loss_of: Callable[[Any, Any], Any]) -> dict[str, Any]:
    before = [one.detach().clone() for one in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    batches = iter(DataLoader(dataset, batch_size=2, collate_fn=dataset.collate_fn))
    for _ in range(STEPS):
        loss = loss_of(model, next(batches))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    changed = any(
        not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)
    )
    return trained(losses, STEPS, changed=changed)


if __name__ == "__main__":
    main()
