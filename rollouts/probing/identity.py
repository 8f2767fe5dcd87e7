"""Record which model grows a forest when growth begins, and compare it from then on.

A model is identified by the name that requests use. Responses may name it differently ("gpt-4o"
answers as "gpt-4o-2024-08-06"), so names from responses are recorded too, but on their own they
never cause a refusal. The rules are in docs/backends.md.
"""

import asyncio
import hashlib
import shlex
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import structlog

from common.text import one_line
from experiment_configs.chat_templates.chat_template import ChatTemplate
from experiment_configs.interfaces import ConfigError, RolloutConfig
from forests.core.model_counts import from_fields
from forests.models import Forest, Node, Tree
from forests.progress.grown_by import answers_of, entries_of, grown_models
from forests.storage.trees import Document, collection, is_held, tree_ids
from rollouts.client.failures import BackendRefusedError, NotForThisWorkerError
from rollouts.client.servers_of_settings import policy_server
from rollouts.protocol.model_names import is_listed, is_same_model, may_have, shown_names

log = structlog.stdlib.get_logger(__name__)

MAX_NAMES = 100
"""Maximum names that responses may give one model: the forest's document counts each of them."""
MAX_ENTRIES = 100
"""Maximum pairs of model and server that a forest records; further servers still work."""
_MAX_SHOWN = 5
_TREES_LOOKED_AT = 32
"""How many trees to check for nodes, in a forest of an older version."""
_TREES_READ = 4
"""How many of these trees to read the nodes of."""
_FIELDS = ("grown_by", "allowed_models", "nodes_by_model", "num_nodes", "growth_started_at")


class OtherModelError(NotForThisWorkerError, ConfigError):
    """The server has a different model than the forest, and no sample was drawn.

    This worker cannot do the job; a worker with the right server can.
    """


class ModelChangedError(BackendRefusedError):
    """A server changed its model during the growth of a forest."""


class ForestModels:
    """Compares the models of the servers of one job with the models of its forest."""

    def __init__(
        self, forest: Forest, config: RolloutConfig | None = None, allowed: Sequence[str] = ()
    ) -> None:
        """`config`: the config that made the prompts. `allowed`: further names to accept."""
        self.forest = forest
        self.known = list(
            dict.fromkeys(
                [*grown_models(entries_of(forest)), *(forest.allowed_models or []), *allowed]
            )
        )
        """Names to request if the settings name no model, or one that the server lacks."""
        self._named = forest.worker_config.get("model")
        self._allowed = allowed
        self._template = chat_template_sha256(config)
        self._listing: set[str] = set()
        """Servers that have listed the model."""
        self._recorded: dict[tuple[str, str], str] = {}
        """Hashes of the chat templates, by model and server."""
        self._answers: dict[str, set[str]] = {}
        for entry in entries_of(forest):
            self._answers.setdefault(entry["model"], set()).update(answers_of(entry))
        self._lock = asyncio.Lock()

    async def check(self, model: str, server: str, listed: Sequence[str] | None) -> None:
        """Compare a model to be requested from a server with the forest's; write nothing.

        `listed`: the server's models; None if it does not list them. A name from the settings may
        be missing from the list, because servers may accept further names. But a name that was
        listed once must stay listed.

        Raises:
            OtherModelError: the server does not have the model, or the forest has other models.
            ModelChangedError: the same, after this job has recorded a model.
        """
        may_serve = not listed
        if listed and is_listed(model, listed):
            may_serve = True
            self._listing.add(server)
        elif listed and model == self._named and server not in self._listing:
            may_serve = may_have(model, listed)
        known = await asyncio.to_thread(self._names_now, model)
        if not may_serve or (known and model not in known):
            self._refuse(server, listed or [model], known, model)

    def has_met(self, model: str, server: str) -> bool:
        """Return whether this job has recorded this model of this server."""
        return (model, server) in self._recorded

    async def record(self, model: str, server: str, served_template: str = "") -> None:
        """Record that a model grows the forest; the first model recorded becomes the forest's.

        `served_template`: the server's chat template; empty if it does not report one.

        Raises:
            OtherModelError, ModelChangedError: another worker recorded a different model first.
        """
        if not self.has_met(model, server):
            template = sha256_of(served_template) if served_template else self._template
            await self._record(model, server, template)

    async def answered(
        self, model: str, names: Collection[str], look: Callable[[], Awaitable[None]]
    ) -> None:
        """Record the names that responses give a model, before their samples are used.

        A new name may be an alias or another model, so `look` checks the servers' lists again.

        Raises:
            ModelChangedError: a server no longer lists the model, responses gave too many names, or
                another worker began the forest with another model meanwhile.
        """
        known = self._answers.setdefault(model, set())
        if known.issuperset(names):
            return
        async with self._lock:
            new = sorted(set(names) - known - {""})
            if not new:
                return
            if known and new != [model]:
                await look()
                log.warning("answers name another model", asked=model, named=new, before=[*known])
            if len(known) + len(new) > MAX_NAMES:
                raise ModelChangedError(
                    f"the server answered requests for {one_line(model)!r} under more than "
                    f"{MAX_NAMES} models' names: use a server that names the model that it runs"
                )
            if not await asyncio.to_thread(_record_answers, self.forest, model, new):
                await self._record_again(model)
                await asyncio.to_thread(_record_answers, self.forest, model, new)
            known.update(new)

    async def _record(self, model: str, server: str, template: str) -> None:
        known = await asyncio.to_thread(_record, self.forest, model, server, template)
        if known:
            self._refuse(server, [model], known, model)
        self._recorded[model, server] = template

    async def _record_again(self, model: str) -> None:
        """Record a model again after `forget_unused_models` removed it."""
        for (recorded, server), template in list(self._recorded.items()):
            if recorded == model:
                await self._record(model, server, template)

    def _names_now(self, model: str) -> list[str]:
        """Return the models that may grow the forest; empty if no model has grown it yet."""
        document = _read(self.forest)
        entries = document["grown_by"] or _entries_of_nodes(self.forest, document, model)
        if not entries:
            return []
        return [*grown_models(entries), *document["allowed_models"], *self._allowed]

    def _refuse(
        self, server: str, listed: Sequence[str], known: Sequence[str], model: str
    ) -> NoReturn:
        kind = ModelChangedError if self._recorded else OtherModelError
        name, has = self.forest.name, one_line(shown_names(model, listed))
        if not known:
            source = policy_server(self.forest.worker_config.get("base_urls") or ()).source
            raise kind(
                f"{server} has no model {one_line(model)!r}: it has {has} (set {source} to a "
                "server that has it)"
            )
        grown = one_line(", ".join(dict.fromkeys(known[:_MAX_SHOWN])))
        raise kind(
            f"{server} has {has}, and forest {name!r} is grown by {grown}: use a server that has "
            "that model, seed another forest, or allow the other model with "
            f"--allow_model {shlex.quote(one_line(listed[0]))}"
        )


def forget_unused_models(forest: Forest) -> bool:
    """Forget the models of a forest without nodes and workers; return whether it had any.

    The first server may have been a wrong one that refused before it drew a sample.
    """
    if not forest.grown_by or forest.num_nodes or is_held(forest):
        return False
    return _replace(forest, forest.grown_by, [])


def chat_template_sha256(config: RolloutConfig | None) -> str:
    """Return the hash of the local chat template with which a config makes prompts.

    Empty if the config has none, or one from the Hugging Face hub, which may need the network.
    """
    found = {**vars(type(config)), **vars(config)} if config else {}
    for value in found.values():
        if isinstance(value, ChatTemplate) and Path(value.place).exists():
            try:
                return sha256_of(value.source)
            except ConfigError:  # seeding reports an unusable template
                return ""
    return ""


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _read(forest: Forest) -> Document:
    """Return the current record of a forest's models; an empty record if it was deleted."""
    found = collection(Forest).find_one({"_id": forest.name}, dict.fromkeys(_FIELDS, 1)) or {}
    empty = {"grown_by": [], "allowed_models": [], "nodes_by_model": {}, "num_nodes": 0}
    return {**empty, **found}


def _record(forest: Forest, model: str, server: str, template: str) -> list[str]:
    """Add an entry unless it exists; return the forest's models if they do not allow this one.

    The update succeeds only if the list has not changed meanwhile: if two workers begin a forest at
    once, the first one records its model and the second compares.
    """
    while Forest.objects.filter(pk=forest.name).exists():
        document = _read(forest)
        before: list[Document] = document["grown_by"]
        entries = before or _entries_of_nodes(forest, document, model)
        names = grown_models(entries)
        allowed = document["allowed_models"]
        if names and model not in names and model not in allowed:
            return [*names, *allowed]
        entry = {
            "model": model,
            "server": server,
            "chat_template_sha256": template,
            "first_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "answered_as": [],
        }
        if len(entries) < MAX_ENTRIES and not any(_is_same(entry, one) for one in entries):
            entries = [*entries, entry]
        if entries == before or _replace(forest, before, entries):
            break
    return []


def _record_answers(forest: Forest, model: str, names: Sequence[str]) -> bool:
    """Add the names from responses to a model's first entry; return whether it has an entry."""
    while True:
        before: list[Document] = _read(forest)["grown_by"]
        entry = next((one for one in before if one["model"] == model), None)
        if entry is None:
            return False
        told = list(dict.fromkeys([*answers_of(entry), *names]))
        after = [{**one, "answered_as": told} if one is entry else one for one in before]
        if after == before or _replace(forest, before, after):
            return True


def _replace(forest: Forest, before: Sequence[Document], after: Sequence[Document]) -> bool:
    """Replace the list of models; False if it changed meanwhile, or the forest was deleted."""
    as_before: Any = before or {"$in": [[], None]}
    changed = collection(Forest).update_one(
        {"_id": forest.name, "grown_by": as_before}, {"$set": {"grown_by": after}}
    )
    return bool(changed.matched_count)


def _is_same(one: Document, other: Document) -> bool:
    return all(one[key] == other.get(key) for key in ("model", "server", "chat_template_sha256"))


def _entries_of_nodes(forest: Forest, document: Document, model: str) -> list[Document]:
    """Return entries for the models that wrote the nodes of a forest of an older version.

    Nodes contain the names from responses. If the settings name a model, all requests asked for it,
    whatever those names are. Otherwise the names must match the model requested now.
    """
    if not document["num_nodes"]:
        return []
    names = [name for name in _models_of_nodes(forest, document) if name]
    started = document.get("growth_started_at")
    unknown = {
        "server": "",
        "chat_template_sha256": "",
        "first_at": "" if started is None else started.replace(tzinfo=UTC).isoformat(),
    }
    if named := forest.worker_config.get("model"):
        return [{"model": named, **unknown, "answered_as": names}] if names else []
    return [
        {
            "model": model if is_same_model(model, name) else name,
            **unknown,
            "answered_as": [name],
        }
        for name in names[:MAX_ENTRIES]
    ]


def _models_of_nodes(forest: Forest, document: Document) -> Iterable[str]:
    """Return the models in the nodes: from the stored counts, else from a sample of trees."""
    if counted := from_fields(document["nodes_by_model"]):
        return counted
    step = max(1, forest.num_trees // _TREES_LOOKED_AT)
    ids = tree_ids(forest, range(0, forest.num_trees, step)[:_TREES_LOOKED_AT])
    trees = collection(Tree).find({"_id": {"$in": ids}}, {"num_nodes": 1})
    grown = [tree["_id"] for tree in trees if tree["num_nodes"]][:_TREES_READ]
    nodes = collection(Node).find({"tree_id": {"$in": grown}}, {"model": 1, "_id": 0})
    return [name for name, _ in Counter(node["model"] for node in nodes).most_common()]
