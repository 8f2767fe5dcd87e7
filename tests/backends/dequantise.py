"""Turn a GGUF file into the folder of weights that vLLM and FastChat read.

Tokens that the model does not use are called `<think>` and `</think>`, as parsers of thoughts look
for them by name. Runs in a backend's own environment, so that its own transformers writes what it
will read.

usage: python dequantise.py MODEL.gguf FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch  # type: ignore[import-not-found, unused-ignore]
import transformers  # type: ignore[import-not-found, unused-ignore]
from tokenizers import processors  # type: ignore[import-not-found, unused-ignore]

TOKENS_OF_THOUGHTS = {"<reponame>": "<think>", "<file_sep>": "</think>"}


def main() -> None:
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    options: dict[str, Any] = {"gguf_file": source.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(source.parent, **options)
    if hasattr(transformers, "GgufConfig"):  # since version 5 weights stay packed unless told
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source.parent, dtype=torch.bfloat16, **options
    )
    model.save_pretrained(folder)
    plain_tokenizer(tokenizer, model.config).save_pretrained(folder)
    rename_tokens(folder / "tokenizer.json")


def plain_tokenizer(tokenizer: Any, config: Any) -> Any:
    """Return the tokenizer as every version reads it.

    Version 4 takes the wrong end token from a GGUF file, and puts a token before each prompt.
    """
    words = tokenizer.backend_tokenizer
    words.post_processor = processors.ByteLevel(trim_offsets=False)
    end = words.id_to_token(config.eos_token_id)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        bos_token=words.id_to_token(config.bos_token_id),
        eos_token=end,
        pad_token=end,
        chat_template=tokenizer.chat_template,
        clean_up_tokenization_spaces=False,
    )


def rename_tokens(file: Path) -> None:
    """Give unused tokens the names that mark a thought, as texts that are not cut from answers."""
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    for token in tokenizer["added_tokens"]:
        if name := TOKENS_OF_THOUGHTS.get(token["content"]):
            token |= {"content": name, "special": False}
    words = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {
        TOKENS_OF_THOUGHTS.get(word, word): number for word, number in words.items()
    }
    file.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
