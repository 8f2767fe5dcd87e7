"""The models of a forest: which wrote its nodes, and on which servers they ran.

`Forest.grown_by` has one entry for each model and server, in order of first use: `model` (the
requested name), `server` (its address, "" if unknown), `chat_template_sha256` ("" if unknown),
`first_at` (ISO time) and `answered_as` (the model's name in answers).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forests.core.model_counts import from_fields
from forests.models import Forest

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelOfForest:
    """One model, by its name in the nodes."""

    name: str
    """"" if answers name no model."""
    nodes: int
    asked_as: tuple[str, ...] = ()
    """The requested names, if answers use another one."""
    servers: tuple[str, ...] = ()
    chat_templates: tuple[str, ...] = ()
    """SHA-256 of each template, if known."""


def entries_of(forest: Forest) -> Sequence[Entry]:
    """Return the entries of a forest; none if an older version wrote its document."""
    return forest.grown_by or []


def grown_models(entries: Iterable[Entry]) -> list[str]:
    """Return the requested model names without duplicates, in order of first use."""
    return list(dict.fromkeys(entry["model"] for entry in entries))


def answers_of(entry: Entry) -> list[str]:
    """Return the model names in the answers of an entry; older entries have none."""
    return list(entry.get("answered_as", ()))


def models_of(forest: Forest) -> list[ModelOfForest]:
    """Return the models of a forest: busiest first, then those without nodes.

    Everything is in the forest's document, so the cost does not depend on the number of nodes.
    """
    numbers, entries = from_fields(forest.nodes_by_model), entries_of(forest)
    asked: dict[str, list[str]] = {}
    for model in grown_models(entries):
        names = [name for one in entries if one["model"] == model for name in answers_of(one)]
        for name in names or [model]:
            asked.setdefault(name, []).append(model)
    if "" in numbers:
        # Nobody knows which of them left out their names.
        asked[""] = grown_models(entries)
    elsewhere = [name for name in asked if name not in numbers]
    if set(asked.get("", ())) == set(elsewhere):
        elsewhere = []
    return [
        _model(name, numbers.get(name, 0), asked.get(name, []), entries)
        for name in [*numbers, *elsewhere]
    ]


def num_uncounted(forest: Forest) -> int:
    """Return the number of nodes without a model count: an older version drew them."""
    return max(0, forest.num_nodes - sum(from_fields(forest.nodes_by_model).values()))


def _model(name: str, nodes: int, asked: Sequence[str], entries: Sequence[Entry]) -> ModelOfForest:
    of_it = [entry for entry in entries if entry["model"] in asked]
    return ModelOfForest(
        name=name,
        nodes=nodes,
        asked_as=tuple(model for model in asked if model != name),
        servers=_each_once(of_it, "server"),
        chat_templates=_each_once(of_it, "chat_template_sha256"),
    )


def _each_once(entries: Iterable[Entry], key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry[key] for entry in entries if entry.get(key)))
