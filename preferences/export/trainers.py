"""Which trainer reads which format, and the code that loads it: for cards and manifests.

The code was read in TRL 1.16, axolotl 0.19, ms-swift 4.6, LLaMA-Factory 0.9.5, OpenRLHF 0.11 (0.9.5
for process reward models, which later versions do not train), NeMo-RL 7ea279a, verl-recipe 48ea0a7,
verifiers 0.4, OpenR and Step-DPO. `docs/interop.md` says which of them were run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Literal, TypeAlias

from preferences.export.formats.base import Format

Language: TypeAlias = Literal["python", "yaml", "sh"]

FOLDER = "path/to/this/folder"
"""Stands for the folder of a dataset that is not on the hub."""
MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
_TEXT_PAIRS = ("trl",)
_CHAT_PAIRS = ("trl_conversational", "critique_pairs")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one trainer loads some formats."""

    trainer: str
    """The trainer that reads the formats; for code without a trainer, what the code shows."""
    formats: Sequence[str]
    language: Language
    code: str
    """With `$data`, the name on the hub or the folder; `$folder`; `$model`; `$name`."""
    container: str = ""
    """The container whose files it names; empty if any will do."""
    note: str = ""
    is_trainer: bool = True


def _trl(trainer: str, formats: Sequence[str], model: str = '"$model"', note: str = "") -> Recipe:
    """Return the recipe of a TRL trainer. The class of its settings has a matching name."""
    settings = trainer.replace("Trainer", "Config")
    code = (
        "from datasets import load_dataset\n"
        f"from trl import {settings}, {trainer}\n\n"
        'data = load_dataset("$data")\n'
        f'{trainer}({model}, args={settings}("out"), train_dataset=data["train"]).train()'
    )
    return Recipe(f"TRL {trainer}", formats, "python", code, note=note)


RECIPES: Sequence[Recipe] = (
    _trl("DPOTrainer", (*_TEXT_PAIRS, *_CHAT_PAIRS)),
    _trl(
        "RewardTrainer",
        ("trl", "trl_conversational"),
        note="It reads `margin`, if there is such a column.",
    ),
    _trl("KTOTrainer", ("trl_unpaired",)),
    _trl(
        "SFTTrainer",
        ("critique_sft",),
        note="It learns the question too, unless `assistant_only_loss=True` is in its config.",
    ),
    Recipe(
        "TRL PRMTrainer",
        ("trl_stepwise",),
        "python",
        """from datasets import load_dataset
from transformers import AutoModelForTokenClassification, AutoTokenizer
from trl.experimental.prm import PRMConfig, PRMTrainer

data = load_dataset("$data")
PRMTrainer(
    AutoModelForTokenClassification.from_pretrained("$model", num_labels=2),
    args=PRMConfig("out", step_separator="\\n"),
    processing_class=AutoTokenizer.from_pretrained("$model"),
    train_dataset=data["train"],
).train()""",
        note="TRL 1.13.0 is the last version that has it: `pip install trl==1.13.0`.",
    ),
    Recipe(
        "axolotl PRM",
        ("trl_stepwise",),
        "yaml",
        """base_model: $model
model_type: AutoModelForTokenClassification
num_labels: 2
process_reward_model: true
datasets:
  - path: $data
    split: train
    type: stepwise_supervised
    step_separator: "\\n"
""",
        note="With TRL up to 1.13.",
    ),
    Recipe(
        "axolotl DPO",
        _TEXT_PAIRS,
        "yaml",
        """base_model: $model
rl: dpo
datasets:
  - path: $data
    split: train
    type:
      field_prompt: prompt
      field_chosen: chosen
      field_rejected: rejected
      prompt_format: "{prompt}"
      chosen_format: "{chosen}"
      rejected_format: "{rejected}"
""",
    ),
    Recipe(
        "axolotl KTO",
        ("trl_unpaired",),
        "yaml",
        """base_model: $model
rl: kto
remove_unused_columns: false
datasets:
  - path: $data
    split: train
    type:
      field_prompt: prompt
      field_completion: completion
      field_label: label
      prompt_format: "{prompt}"
      completion_format: "{completion}"
""",
        note="For prompts that are texts.",
    ),
    Recipe(
        "axolotl SFT",
        ("rlhflow", "critique_sft"),
        "yaml",
        """base_model: $model
datasets:
  - path: $data
    split: train
    type: chat_template
    field_messages: $messages
""",
    ),
    Recipe(
        "ms-swift DPO and RM",
        ("ms_swift",),
        "sh",
        "swift rlhf --rlhf_type dpo --model $model --dataset $folder/jsonl/train.jsonl",
        container="jsonl",
        note="`--rlhf_type rm` trains a reward model from the same file.",
    ),
    Recipe(
        "ms-swift SFT",
        ("critique_sft",),
        "sh",
        "swift sft --model $model --dataset $folder/jsonl/train.jsonl",
        container="jsonl",
    ),
    Recipe(
        "LLaMA-Factory DPO and RM",
        ("llama_factory",),
        "sh",
        "llamafactory-cli train --stage dpo --do_train true --finetuning_type lora \\\n"
        "    --model_name_or_path $model --template qwen --output_dir out \\\n"
        "    --dataset_dir $folder --dataset train",
        container="jsonl",
        note="`dataset_info.json` in the folder describes its files.",
    ),
    Recipe(
        "OpenRLHF DPO and RM",
        ("trl",),
        "sh",
        "deepspeed --module openrlhf.cli.train_rm --model.model_name_or_path $model \\\n"
        "    --data.dataset $data --data.prompt_key prompt \\\n"
        "    --data.chosen_key chosen --data.rejected_key rejected",
        note="`openrlhf.cli.train_dpo` takes the same options.",
    ),
    Recipe(
        "OpenRLHF DPO and RM",
        _CHAT_PAIRS,
        "sh",
        "deepspeed --module openrlhf.cli.train_dpo --model.model_name_or_path $model \\\n"
        "    --data.dataset $data --data.prompt_key prompt --data.apply_chat_template \\\n"
        "    --data.chosen_key chosen --data.rejected_key rejected",
    ),
    Recipe(
        "OpenRLHF PRM",
        ("openrlhf_prm",),
        "sh",
        "deepspeed --module openrlhf.cli.train_prm --pretrain $model --dataset $data \\\n"
        "    --input_key input --label_key label --placeholder_token ки --reward_tokens + -",
        note="OpenRLHF 0.9.5 is the last version that has it.",
    ),
    Recipe(
        "NeMo-RL DPO and RM",
        ("nemo_rl",),
        "yaml",
        """data:
  train:
    data_path: $folder/jsonl/train.jsonl
  default:
    dataset_name: PreferenceDataset
""",
        container="jsonl",
        note="`examples/run_dpo.py` and `examples/run_rm.py` read it with `--config`.",
    ),
    Recipe(
        "NeMo-RL DPO and RM",
        ("trl",),
        "yaml",
        """data:
  train:
    data_path: $folder/jsonl/train.jsonl
  default:
    dataset_name: BinaryPreferenceDataset
    prompt_key: prompt
    chosen_key: chosen
    rejected_key: rejected
""",
        container="jsonl",
    ),
    Recipe(
        "NeMo-RL SFT",
        ("critique_sft",),
        "yaml",
        """data:
  train:
    data_path: $folder/jsonl/train.jsonl
  default:
    dataset_name: openai_format
""",
        container="jsonl",
        note="`examples/run_sft.py` reads it with `--config`.",
    ),
    Recipe(
        "verl with verl-recipe's FAPO",
        ("fapo",),
        "sh",
        "TRAIN_FILE=$folder/parquet/train.parquet bash recipe/fapo/run_fapo_genrm_train.sh",
        container="parquet",
    ),
    Recipe(
        "verifiers",
        ("verifiers",),
        "python",
        """import json
from pathlib import Path

from verifiers.v1.trace import Trace

with Path("$folder/jsonl/train.jsonl").open(encoding="utf-8") as lines:
    traces = [Trace.model_validate(json.loads(line)) for line in lines]""",
        container="jsonl",
    ),
    Recipe(
        "OpenR",
        ("math_shepherd", "prm800k"),
        "sh",
        "python prm/code/finetune_qwen_single_gpu.py --model_path $model \\\n"
        "    --train_data_path $folder/jsonl/train.jsonl",
        container="jsonl",
    ),
    Recipe(
        "Step-DPO",
        ("step_dpo",),
        "sh",
        "accelerate launch train.py configs/config_full.yaml \\\n"
        "    --model_name_or_path=$model --data_path=$folder/jsonl/train.jsonl",
        container="jsonl",
    ),
    Recipe(
        "Python: the first wrong step of each solution",
        ("processbench",),
        "python",
        """from datasets import load_dataset

for row in load_dataset("$data", split="train"):
    wrong = row["label"]  # -1: no step is wrong
    print(row["id"], "no error" if wrong < 0 else row["steps"][wrong])""",
        is_trainer=False,
    ),
    Recipe(
        "Python: the mark of each step",
        ("math_shepherd",),
        "python",
        """from datasets import load_dataset

for row in load_dataset("$data", split="train"):
    # The tag of the input is replaced by a mark in the label, so both have the same parts.
    steps = row["input"].split("ки")[:-1]
    marks, rest = [], row["label"]
    for step in steps:
        marks.append(rest[len(step)])
        rest = rest[len(step) + 1 :]
    print(len(steps), marks)""",
        is_trainer=False,
    ),
    Recipe(
        "Python: the ratings of each step",
        ("prm800k",),
        "python",
        """from datasets import load_dataset

for row in load_dataset("$data", split="train"):
    for step in row["label"]["steps"]:
        print([one["rating"] for one in step["completions"]], step["chosen_completion"])""",
        is_trainer=False,
    ),
)
"""All recipes. A plugin's format has no recipe: its card shows how `datasets` loads it."""

_MESSAGES: Mapping[str, str] = {"rlhflow": "conversations"}
"""The column of messages of a format, unless it is `messages`."""


def recipes_of(name: str) -> list[Recipe]:
    """Return the recipes of a format."""
    return [one for one in RECIPES if name in one.formats]


def trainers_of(used: Format) -> list[str]:
    """Return the trainers that read the rows of a format unchanged."""
    known = [one.trainer for one in recipes_of(used.name) if one.is_trainer]
    return list(dict.fromkeys([*known, *used.trainers]))


def loading_sections(name: str, containers: Sequence[str], repository: str) -> list[str]:
    """Return the part of a card that says how to load the dataset, as Markdown.

    `repository`: the name of the dataset on the hub; empty if it is a folder.
    """
    folder = repository.rpartition("/")[2] if repository else FOLDER
    words = {
        "data": repository or FOLDER,
        "folder": folder,
        "model": MODEL,
        "messages": _MESSAGES.get(name, "messages"),
    }
    if containers == ["dataset"] and not repository:
        load = f'from datasets import load_from_disk\n\ndata = load_from_disk("{folder}/dataset")'
    else:
        load = f'from datasets import load_dataset\n\ndata = load_dataset("{words["data"]}")'
    found = recipes_of(name)
    shown = [one for one in found if not one.container or one.container in containers]
    sections = ["## Load it", _fenced("python", load)]
    if repository and any(one.container for one in shown):
        command = f"hf download {repository} --repo-type dataset --local-dir {folder}"
        sections += ["Programs that read files need a copy of them:", _fenced("sh", command)]
    for one in shown:
        sections += [
            f"### {one.trainer}",
            _fenced(one.language, Template(one.code).substitute(words)),
        ]
        sections += [one.note] if one.note else []
    missing: dict[str, list[str]] = {}
    for one in found:
        if one not in shown:
            missing.setdefault(one.container, []).append(one.trainer)
    sections += [
        f"{', '.join(dict.fromkeys(trainers))} can read it too if it is exported with "
        f"`--container {container}`."
        for container, trainers in missing.items()
    ]
    return sections


def _fenced(language: str, code: str) -> str:
    return f"```{language}\n{code.rstrip()}\n```"
