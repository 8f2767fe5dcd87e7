"""Read an exported dataset, as it is, with OpenRLHF, and take steps with its loss.

Its trainers run on DeepSpeed with a GPU only, so the optimiser here is PyTorch's own.

usage: python read_openrlhf.py dpo|rm DIRECTORY CONTAINER
"""

import sys
from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import tiny
import torch
from observing import STEPS, parts, tell, trained
from openrlhf.datasets import RewardDataset
from openrlhf.datasets.utils import blending_datasets
from openrlhf.models import PairWiseLoss
from torch.utils.data import DataLoader


def main() -> None:
    kind, directory, container = sys.argv[1:]
    is_chat = "messages" in kind
    data = Namespace(
        prompt_key="prompt",
        chosen_key="chosen",
        rejected_key="rejected",
        apply_chat_template=is_chat,
    )
    strategy = SimpleNamespace(
        args=Namespace(data=data, use_ms=False), print=print, is_rank_0=lambda: False
    )
    rows = blending_datasets(
        f"{directory}/{container}/train.{container}", None, strategy, dataset_split="train"
    )
    tokenizer = tiny.tokenizer()
    is_dpo = kind.startswith("dpo")
    dataset = RewardDataset(rows, tokenizer, 2048, strategy, is_dpo=is_dpo, num_processors=1)
    found: dict[str, Any] = {
        "read": [_pair(tokenizer, dataset[n], is_dpo) for n in range(len(dataset))]
    }
    if not is_dpo:
        found |= _trained(dataset)
    tell(found)


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


def _trained(dataset: Any) -> dict[str, Any]:
    model = tiny.reward_model()
    before = [one.detach().clone() for one in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    batches = iter(DataLoader(dataset, batch_size=2, collate_fn=dataset.collate_fn))
    for _ in range(STEPS):
        chosen, chosen_mask, rejected, rejected_mask, margins = next(batches)
        rewards = [
            model(input_ids=ids.squeeze(1), attention_mask=mask.squeeze(1)).logits.squeeze(-1)
            for ids, mask in ((chosen, chosen_mask), (rejected, rejected_mask))
        ]
        loss = PairWiseLoss()(*rewards, torch.tensor(margins))
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
