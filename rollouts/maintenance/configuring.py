"""Change the settings of a seeded forest that do not affect samples."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from experiment_configs.interfaces import SAMPLE_FREE_SETTINGS, ConfigError, RolloutWorkerConfig
from forests.models import Forest
from forests.storage.trees import Document, collection
from rollouts.maintenance.larger_settings import settings_that_add, why_not_extended


def changeable_settings(forest: Forest) -> dict[str, Any]:
    """Return the current values of the settings that may be changed."""
    values = RolloutWorkerConfig.from_dict(forest.worker_config).as_dict()
    return {name: values[name] for name in SAMPLE_FREE_SETTINGS}


def configure_forest(forest: Forest, assignments: Sequence[str]) -> dict[str, Any]:
    """Apply assignments such as `concurrency=32`, all or none. Jobs that start later use them.

    Returns the new values of all settings that may be changed.

    Raises:
        ConfigError: a setting is unknown, affects samples, or has an invalid value.
    """
    wanted = dict(_read(assignment, forest) for assignment in assignments)
    old = RolloutWorkerConfig.from_dict(forest.worker_config)
    new = replace(old, **wanted)
    if problems := new.problems():
        raise ConfigError("; ".join(problems))
    values = new.as_dict()
    set_settings(forest, {name: values[name] for name in wanted})
    return changeable_settings(forest)


def set_settings(
    forest: Forest, values: Mapping[str, Any], others: Mapping[str, Any] | None = None
) -> None:
    """Set settings of a forest, and keep the seeded values of those that now differ.

    Does not keep addresses of servers, as they do not affect samples. `others` holds fields of the
    forest to set in the same update.
    """
    seeded = RolloutWorkerConfig.from_dict(forest.worker_config).as_dict()
    seeded |= forest.replaced_settings or {}
    replaced = {
        **(forest.replaced_settings or {}),
        **{name: seeded[name] for name in values if name != "base_urls"},
    }
    replaced = {name: old for name, old in replaced.items() if values.get(name, ...) != old}
    changed: Document = {f"worker_config.{name}": value for name, value in values.items()}
    changed |= {"replaced_settings": replaced, **(others or {})}
    collection(Forest).update_one({"_id": forest.name}, {"$set": changed})
    forest.worker_config = {**forest.worker_config, **values}
    forest.replaced_settings = replaced


def _read(assignment: str, forest: Forest) -> tuple[str, Any]:
    name, sign, text = assignment.partition("=")
    if not sign:
        raise ConfigError(f"{assignment!r} sets nothing: write name=value, such as concurrency=32")
    if name not in {field.name for field in fields(RolloutWorkerConfig)}:
        raise ConfigError(f"there is no setting {name!r}: {_MAY_BE_CHANGED}")
    if name in settings_that_add(forest.strategy):
        raise ConfigError(
            f"{name} decides how many samples are drawn: extend_forest --forest_name "
            f"{forest.name} --{name} makes it larger. {_MAY_BE_CHANGED}"
        )
    if name == "refinement":
        raise ConfigError(f"{why_not_extended(forest.strategy, name)}. {_MAY_BE_CHANGED}")
    if name not in SAMPLE_FREE_SETTINGS:
        raise ConfigError(
            f"{name} decides which samples are drawn, and all samples of a forest must be of one "
            f"kind: seed a new forest for another value. {_MAY_BE_CHANGED}"
        )
    if name == "base_urls":
        return name, tuple(filter(None, map(str.strip, text.split(","))))
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


_MAY_BE_CHANGED = f"{', '.join(SAMPLE_FREE_SETTINGS)} may be changed"


def as_lines(values: Mapping[str, Any]) -> list[str]:
    """Return the settings in the form that `configure_forest` reads, one a line."""
    return [
        f"{name}={','.join(value) if isinstance(value, list) else json.dumps(value)}"
        for name, value in values.items()
    ]
