"""Division of an exported dataset into splits that share no prompts."""

import hashlib
import json
from typing import Any

TRAIN, TEST = "train", "test"


def split_of(prompt: Any, test_fraction: float, seed: int) -> str:
    """Return the split of all rows with this prompt.

    It depends on the prompt, not on the tree: datasets repeat questions, and two trees with the
    same prompt must be in the same split.
    """
    text = json.dumps([seed, prompt], sort_keys=True, ensure_ascii=True)
    digest = hashlib.sha256(text.encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return TEST if share < test_fraction else TRAIN
