"""Divide an exported dataset so that no prompt is in two splits."""

import hashlib
import json
from typing import Any

TRAIN, TEST = "train", "test"


def split_of(prompt: Any, test_fraction: float, seed: int) -> str:
    """Return the split to which everything under a prompt belongs.

    It hangs on the prompt and not on the tree: datasets repeat questions, and two trees with one
    prompt must not be divided.
    """
    text = json.dumps([seed, prompt], sort_keys=True, ensure_ascii=True)
    digest = hashlib.sha256(text.encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return TEST if share < test_fraction else TRAIN
