"""The commands that recreate a dataset, from its manifest."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from preferences.core.confidence import has_confidence
from preferences.core.pairing import PairingOptions
from preferences.core.value_sources import ValueSource

_SOURCE = ("estimator", "ungraded", "scorer", "agree", "is_progress")
"""Parameters of the source of values."""
_SPELLED = {"split_seed": "seed"}
"""Options by the names of their parameters, if the names differ."""


def commands_of(manifest: Mapping[str, Any]) -> list[str]:
    """Return the commands of the whole flow, each on one line.

    No command seeds a forest that was imported or renamed. The commands leave out limits, and
    rollouts that a later command added: the settings on the card say what was drawn.
    """
    forest, chosen = manifest["forest"], manifest["preference_set"]
    name = ("forest_name", forest["name"])
    of_config = f"{forest['config_name']}-{forest['dataset_split']}-"
    commands = []
    if forest["name"].startswith(of_config):
        seeded = {
            "dataset_config_name": forest["config_name"],
            "dataset_split": forest["dataset_split"],
            "forest_name_suffix": forest["name"].removeprefix(of_config),
        }
        commands.append(_line("seed_forest", seeded.items()))
    commands.append(_line("rollout_worker", [name]))
    if chosen:
        options = [name, ("set_name", chosen["name"]), *_options_of_set(chosen["parameters"])]
        commands.append(_line("create_preferences", options))
    rows = manifest["parameters"]
    given = [name, ("set", chosen["name"] if chosen else None), ("format", manifest["format"])]
    if not chosen:
        given += _options_of_source(rows)
    given += [(_SPELLED.get(key, key), value) for key, value in rows.items() if key not in _SOURCE]
    given += [("container", manifest["containers"]), ("output", manifest["format"])]
    commands.append(_line("export_preferences", given))
    return commands


def _options_of_set(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from _options_of_source(parameters)
    if has_confidence(ValueSource.from_dict(parameters)):
        yield "min_confidence", parameters.get("min_confidence", 0)
    usual = PairingOptions().as_dict()
    for key, value in parameters.items():
        if key not in (*_SOURCE, "min_confidence") and (
            key == "pairing" or value != usual.get(key)
        ):
            yield key, value


def _options_of_source(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    source = ValueSource.from_dict(parameters)
    yield "values", source.kind
    if "estimator" in parameters and not source.scorer:
        yield "estimator", source.estimator
        yield "ungraded", source.ungraded
    if source.agree:
        yield "agree", list(source.agree)


def _line(command: str, options: Any) -> str:
    return " ".join(["prm", command, *filter(None, (_option(*one) for one in options))])


def _option(name: str, value: Any) -> str:
    """Return an option as typed; empty if the command does not need it."""
    if value is None or value is False:
        return ""
    if value is True:
        return f"--{name}"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return f"--{name} {shlex.quote(str(value))}"
