"""The models of a forest, for pages and commands: who wrote its nodes, and where they were asked.

`Forest.grown_by` has an entry for each model and server, the first one first: `model` (the name
that was asked for), `server` (its address, "" where nobody noted it), `chat_template_sha256` (""
where it is not known), `first_at` (ISO time) and `answered_as` (what answers called the model).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forests.core.model_counts import from_fields
from forests.models import Forest

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelOfForest:
    """One model, by the name that stands in the nodes."""

    name: str
    """"" where answers name no model."""
    nodes: int
    asked_as: tuple[str, ...] = ()
    """What was asked for, where answers name it otherwise."""
    servers: tuple[str, ...] = ()
    chat_templates: tuple[str, ...] = ()
    """SHA-256 of each, as far as they are known."""


def entries_of(forest: Forest) -> Sequence[Entry]:
    """Return the entries of a forest; none where an older version wrote its document."""
    return forest.grown_by or []


def grown_models(entries: Iterable[Entry]) -> list[str]:
    """Return the names under which models were asked for, each once, the first one first."""
    return list(dict.fromkeys(entry["model"] for entry in entries))


def answers_of(entry: Entry) -> list[str]:
    """Return what answers called the model of an entry; older entries do not say."""
    return list(entry.get("answered_as", ()))


def models_of(forest: Forest) -> list[ModelOfForest]:
    """Return the models of a forest, the busiest first, then those that have written nothing yet.

    All of it is in the forest's document, so this costs the same for any number of nodes.
    """
    numbers, entries = from_fields(forest.nodes_by_model), entries_of(forest)
    asked: dict[str, list[str]] = {}
    for model in grown_models(entries):
        names = [name for one in entries if one["model"] == model for name in answers_of(one)]
        for name in names or [model]:
            asked.setdefault(name, []).append(model)
    if "" in numbers:
        # Which of them left their names out, nobody knows.
        asked[""] = grown_models(entries)
    elsewhere = [name for name in asked if name not in numbers]
    if set(asked.get("", ())) == set(elsewhere):
        elsewhere = []
    return [
        _model(name, numbers.get(name, 0), asked.get(name, []), entries)
        for name in [*numbers, *elsewhere]
    ]


def num_uncounted(forest: Forest) -> int:
    """Return the nodes that are not counted by model: an older version drew them."""
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
