"""A small model with random weights, and a tokenizer that loses nothing of a text.

Runs in the environments of trainers, without this project, so it imports nothing from the project.
"""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

END = "</s>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tokenizer(*more: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of one token for each byte, so that it knows all texts, and of `more`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<pad>", END, *alphabet])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, normalized=False) for text in more])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token=END,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def config(**more: Any) -> Qwen2Config:
    torch.manual_seed(0)
    return Qwen2Config(
        vocab_size=320,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        **more,
    )


def causal_model() -> Any:
    return AutoModelForCausalLM.from_config(config())


def reward_model() -> Any:
    return AutoModelForSequenceClassification.from_config(config(num_labels=1))


def step_model() -> Any:
    return AutoModelForTokenClassification.from_config(config(num_labels=2))


def saved(folder: Path, model: Any, *more: str) -> str:
    """Write a model and its tokenizer for trainers that load them by a path; return the path."""
    model.save_pretrained(folder)
    tokenizer(*more).save_pretrained(folder)
    return str(folder)
