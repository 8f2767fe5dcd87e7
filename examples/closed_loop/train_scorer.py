"""Train a step scorer on a `trl_stepwise` export with values, with plain transformers.

At the tag after each step, the scorer says how likely the step leads to a right answer. The loss is
the cross entropy with the Monte Carlo value, a soft label.

usage: train_scorer.py MODEL DATASET OUTPUT
"""

import argparse
import random

import torch
from datasets import load_dataset
from serve import DEVICE, STEP_TAG, padded
from transformers import AutoModelForTokenClassification, AutoTokenizer

SEED = 0
ROWS_OF_A_BATCH = 16
LEARNING_RATE = 3e-5
WARM_UP = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("dataset")
    parser.add_argument("output")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--most_rows", type=int, default=400)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    tag = tokenizer.convert_tokens_to_ids(STEP_TAG)
    rows = []
    dataset = load_dataset(options.dataset)["train"].shuffle(seed=SEED)
    for row in dataset.select(range(min(options.most_rows, len(dataset)))):
        tokens, labels = list(tokenizer(row["prompt"])["input_ids"]), []
        for step, value in zip(row["completions"], row["values"], strict=True):
            tokens += [*tokenizer(step)["input_ids"], tag]
            labels.append((len(tokens) - 1, value))
        rows.append((tokens, labels))
    print(f"{len(rows)} solutions, {sum(len(labels) for _, labels in rows)} steps", flush=True)
    model = AutoModelForTokenClassification.from_pretrained(
        options.model, num_labels=2, dtype=torch.float32
    )
    train(model.to(DEVICE).train(), rows, options.epochs)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)


def train(
    model: torch.nn.Module, rows: list[tuple[list[int], list[tuple[int, float]]]], epochs: int
) -> None:
    """Train on rows: the tokens of a solution, and the place and value of each step tag."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    order = random.Random(SEED)
    number, total = 0, epochs * len(rows) // ROWS_OF_A_BATCH
    for _ in range(epochs):
        order.shuffle(rows)
        for at in range(0, len(rows) - ROWS_OF_A_BATCH + 1, ROWS_OF_A_BATCH):
            batch = rows[at : at + ROWS_OF_A_BATCH]
            tokens, mask = padded([row for row, _ in batch], left=False)
            where = [(place, tag) for place, (_, labels) in enumerate(batch) for tag, _ in labels]
            wanted = torch.tensor([value for _, labels in batch for _, value in labels]).to(DEVICE)
            logits = model(tokens, attention_mask=mask).logits
            places = torch.tensor(where).to(DEVICE)
            logprobs = torch.log_softmax(logits[places[:, 0], places[:, 1]].float(), -1)
            loss = -(wanted * logprobs[:, 1] + (1 - wanted) * logprobs[:, 0]).mean()
            for group in optimizer.param_groups:
                warm, left = min(1, (number + 1) / WARM_UP), max(0.05, 1 - number / max(1, total))
                group["lr"] = LEARNING_RATE * warm * left
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            number += 1
            if number % 10 == 0:
                print(f"{number} of {total}: loss {loss.item():.3f}", flush=True)


if __name__ == "__main__":
    main()
