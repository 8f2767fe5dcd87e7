"""Read a split with `datasets`, from the Hugging Face hub or from local JSON lines."""

import os
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from common.text import describe
from experiment_configs.interfaces import ConfigError


def iter_split(
    repository: str, split: str, *, subset: str | None = None, directory_setting: str
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a split.

    If the environment variable `directory_setting` names a directory, rows come from its file
    `<split>.jsonl` instead of the hub.

    Raises:
        ConfigError: the split or its file does not exist, or the hub cannot be reached.
    """
    if directory := os.environ.get(directory_setting):
        source = _local(Path(directory).expanduser(), split, directory_setting)
    else:
        source = _from_hub(repository, subset, split, directory_setting)
    for row in source:
        yield dict(row)


def text_of(item: Mapping[str, Any], key: str) -> str:
    """Return a field of an item as a text; a number is converted.

    Raises:
        ConfigError: the field is missing, null or NaN, or neither a text nor a number.
    """
    value = item.get(key)
    is_none = isinstance(value, bool) or (isinstance(value, float) and not isfinite(value))
    if is_none or not isinstance(value, str | int | float):
        raise ConfigError(f"`{key}` is {value!r:.40}: it must be a text or a number")
    return str(value)


def _local(directory: Path, split: str, setting: str) -> Any:
    path = directory / f"{split}.jsonl"
    if not path.is_file():
        found = ", ".join(sorted(file.stem for file in directory.glob("*.jsonl"))) or "none"
        raise ConfigError(f"no split {split!r} in {setting}={directory}: it has {found}")
    return _load_dataset("json", data_files={split: str(path)}, split=split, streaming=True)


def _from_hub(repository: str, subset: str | None, split: str, setting: str) -> Any:
    try:
        return _load_dataset(repository, subset, split=split)
    except ValueError as error:  # the message of `datasets` lists the splits
        raise ConfigError(f"{repository}: {' '.join(str(error).split())}") from error
    except Exception as error:
        import httpx  # noqa: PLC0415  what the library asks the hub with: see below

        is_network = isinstance(error, OSError | httpx.HTTPError)
        check = "check the network, or set" if is_network else "set"
        raise ConfigError(
            f"{repository} cannot be loaded ({describe(error)}): {check} {setting} to a directory "
            f"with {split}.jsonl"
        ) from error


def _load_dataset(*args: Any, **options: Any) -> Any:
    # Every worker imports the configs, but only seeding reads a dataset: this import takes 0.7 s.
    from datasets import load_dataset  # noqa: PLC0415

    return load_dataset(*args, **options)
