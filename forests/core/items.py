"""Checks of a config for seeding and verification: the forest's name, and items to store."""

from collections.abc import Iterator, Mapping
from typing import Any

from common.storable import storing_problem
from common.text import describe
from experiment_configs.calling import call_method
from experiment_configs.interfaces import CHAT_ROLES, ConfigError, Prompt, RolloutConfig
from experiment_configs.loading import LoadedConfig
from forests.core.naming import ForestNameError, forest_name


def name_of_forest(config_name: str, dataset_split: str, suffix: str) -> str:
    """Return the name of the forest of a config, split and suffix.

    Raises:
        ConfigError: the name cannot be part of an address.
    """
    try:
        return forest_name(config_name, dataset_split, suffix)
    except ForestNameError as error:
        slice_ = dataset_split.rpartition("[")[0]
        remedy = f"; for the first items of a split, give {slice_!r} and --limit" if slice_ else ""
        raise ConfigError(f"{error}{remedy}") from error


def check_storable(loaded: LoadedConfig) -> None:
    """Refuse a config that cannot be stored with a forest.

    Raises:
        ConfigError: one of its texts cannot be stored.
    """
    for name, part in (
        ("rollout_worker_config", loaded.config.rollout_worker_config.as_dict()),
        ("source of the dataset", loaded.config.source),
        ("licence of the dataset", loaded.config.licence),
        ("file of the config", loaded.source),
    ):
        if problem := storing_problem(part):
            raise ConfigError(f"the {name} {problem}")


def check_item(config: RolloutConfig, item: Any) -> tuple[Prompt, str, str]:
    """Return the root prompt, label and serialised form of an item.

    Raises:
        ConfigError: a method of the config fails or returns the wrong type.
    """
    prompt = call_method(config.get_root_prompt, item)
    label = call_method(config.get_label, item)
    serialized = call_method(config.serialize_dataset_item, item)
    if problem := prompt_problem(prompt, config.rollout_worker_config.api):
        raise ConfigError(f"get_root_prompt {problem}")
    for method, text in (("get_label", label), ("serialize_dataset_item", serialized)):
        if not isinstance(text, str):
            raise ConfigError(f"{method} must return a str, not {type(text).__name__}")
    if not label.strip():
        raise ConfigError("get_label returned an empty label")
    for method, value in (
        ("get_root_prompt", prompt),
        ("get_label", label),
        ("serialize_dataset_item", serialized),
    ):
        if problem := storing_problem(value):
            raise ConfigError(f"what {method} returned {problem}")
    return prompt, label, serialized


def check_whole_item(config: RolloutConfig, item: Any) -> tuple[Prompt, str, str, str]:
    """Return everything that a tree stores of an item: prompt, label, serialised form, question.

    Raises:
        ConfigError: a method of the config fails, or its result cannot be used or stored.
    """
    whole = (*check_item(config, item), item_question(config, item))
    if problem := storing_problem(list(whole)):
        raise ConfigError(
            "what get_root_prompt, get_label, serialize_dataset_item and get_question returned "
            f"together {problem}"
        )
    return whole


def item_question(config: RolloutConfig, item: Any) -> str:
    """Return what an item asks, stripped of surrounding whitespace.

    Raises:
        ConfigError: `get_question` fails, or does not return a text with visible characters.
    """
    question = call_method(config.get_question, item)
    if not isinstance(question, str):
        raise ConfigError(f"get_question must return a str, not {type(question).__name__}")
    if not question.strip():
        raise ConfigError("get_question returned an empty question")
    if problem := storing_problem(question):
        raise ConfigError(f"what get_question returned {problem}")
    return question.strip()


def prompt_problem(prompt: object, api: str) -> str | None:
    """Return why a prompt cannot be sent; None if it can."""
    if isinstance(prompt, str):
        return None if prompt.strip() else "returned an empty prompt"
    if not isinstance(prompt, list) or not prompt:
        return f"must return a str or a list of messages, not {type(prompt).__name__}"
    if api != "chat":
        return 'returned chat messages, but api is "completions": return a str, or set api="chat"'
    for message in prompt:
        if not (
            isinstance(message, Mapping)
            and message.get("role") in CHAT_ROLES
            and isinstance(message.get("content"), str)
        ):
            return (
                f"returned the message {message!r:.80}: it needs a role ({', '.join(CHAT_ROLES)}) "
                "and a content text"
            )
    return None


def iterate_items(config: RolloutConfig, split: str) -> Iterator[Any]:
    """Yield the items of a split.

    Raises:
        ConfigError: the config's iterator raised any error.
    """
    try:
        yield from config.get_dataset_iterator(split)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"get_dataset_iterator({split!r}) failed: {describe(error)}") from error
