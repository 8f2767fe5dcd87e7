"""The few reads and writes that must be fast, directly through pymongo.

Everything else uses the ORM. Queries are flat equality filters or short `$in` lists, which every
MongoDB server answers from an index. Trees are found by their computed ids.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Any, TypeAlias, TypeVar, cast

from django.db import connection, models
from django_mongodb_backend.base import DatabaseWrapper
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from common.ahead import one_ahead
from experiment_configs.questions import question_of_prompt
from forests.core.model_counts import busiest_first, from_fields
from forests.core.naming import child_id, node_id, path_of_node, tree_id, tree_scores_id
from forests.core.tokens.kept import KeptTokens, unpack
from forests.core.tree import Grade, NodePath, ReasoningTree, TreeNode, connected
from forests.models import (
    COUNTERS,
    SPENT_COUNTERS,
    Activity,
    Forest,
    Node,
    Scorer,
    Tree,
    TreeLabels,
    TreeScores,
    TreeStatus,
)
from forests.signals import forest_deleted

Document: TypeAlias = dict[str, Any]
AnyTree = TypeVar("AnyTree", int, str)

TREES_PER_READ = 32
"""Trees that are read at once: bounded memory and short `$in` lists."""

DOCUMENTS_PER_QUERY = 256
"""Nodes or pairs that one query fetches, unless one tree has more. The embedded database takes
longer for each document of a longer answer: see docs/embedded.md."""

IN_ONE_ANSWER = 100_000
"""A `batch_size` above any answer, because each further batch is another request."""

TREES_PER_WRITE = 500
"""Trees that seeding inserts at once before it counts them."""

MAX_NODES_OF_A_REQUEST = 100_000
"""Most nodes of a forest that one web request may read or delete. Larger ones need a command."""

_DUPLICATE_KEY = 11000
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True, slots=True)
class StoredTree:
    """One tree from the database, with all its nodes."""

    id: str
    index: int
    item: str
    label: str
    prompt: Any
    """A text, or a list of chat messages."""
    question: str
    """What the item asks, without the examples and instructions of the prompt."""
    status: str
    tree: ReasoningTree
    spent: Mapping[str, int]
    """Current `SPENT_COUNTERS`, which a recount of the nodes cannot restore."""
    failures: Mapping[str, int]
    orphans: list[str]
    """Ids of nodes that are not part of the tree.

    They are torn writes (without a parent or behind a gap), or writes that came after another
    worker had claimed the tree.
    """
    generation: int = 0
    """The number of its last claim: see `rollouts.growing.fencing`."""
    error: str = ""
    """Why the tree failed; empty if it did not."""
    hit_max_nodes: bool = False
    """Whether growth ended at `max_nodes`, before the tree had all requested samples."""
    lease_expires_at: datetime | None = None
    refined_steps: Sequence[str] | None = None
    """Paths of the steps that a refinement decides; None: its strategy grows the tree."""
    growth_mark: str = ""
    """A short text that changes with each write of growth."""

    @property
    def is_held(self) -> bool:
        """Whether a worker currently holds it."""
        return has_live_lease({"lease_expires_at": self.lease_expires_at}, server_time())

    @property
    def is_unfinished(self) -> bool:
        return self.status in (TreeStatus.PENDING, TreeStatus.GROWING)


def collection(model: type[models.Model]) -> Collection[Document]:
    database = cast(DatabaseWrapper, connection)
    found: Collection[Document] = database.get_collection(model._meta.db_table)  # noqa: SLF001
    return found


def insert_new(model: type[models.Model], documents: Sequence[Document]) -> int:
    """Insert documents in order and return how many were new. Existing documents stay.

    The order matters: a killed writer leaves a prefix of the list and never a gap, such as a node
    without its parent, or sibling 2 without sibling 1.
    """
    inserted, rest = 0, list(documents)
    while rest:
        number = insert_up_to_known(model, rest)
        inserted += number
        rest = rest[number + 1 :]
    return inserted


def insert_trees(documents: Sequence[Document], *, roots_only: bool = False) -> dict[str, int]:
    """Insert new trees and return their generations, which their nodes must have.

    The first generation is above those of all deleted trees with these ids. So a late write for a
    deleted tree changes nothing (`rollouts.growing.fencing`). An existing tree stays, with its
    generation.

    Args:
        documents: the trees.
        roots_only: whether no nodes follow. Then the first claim has no nodes to move.
    """
    begun = int(server_time().timestamp() * 1000)
    fence = {"generation": begun, "oldest_generation": begun + 1 if roots_only else begun}
    number = insert_new(Tree, [{**document, **fence} for document in documents])
    ids = [document["_id"] for document in documents]
    if number == len(documents):
        return dict.fromkeys(ids, begun)
    found: dict[str, int] = {}
    for batch in in_batches(ids):
        trees = collection(Tree).find({"_id": {"$in": batch}}, {"generation": 1})
        found |= {tree["_id"]: tree["generation"] for tree in trees}
    return found


def insert_nodes(documents: Sequence[Document]) -> None:
    """Insert nodes of trees that nobody grows, in order. Existing nodes stay.

    A node that was written late for a deleted tree with the same id is overwritten.
    """
    rest = list(documents)
    while rest:
        number = insert_up_to_known(Node, rest)
        if number < len(rest):
            replace_late(rest[number])
        rest = rest[number + 1 :]


def replace_late(node: Document) -> bool:
    """Overwrite a node of an earlier generation; return whether there was one."""
    earlier = {"_id": node["_id"], "generation": {"$not": {"$gte": node["generation"]}}}
    return collection(Node).replace_one(earlier, node).matched_count == 1


def insert_up_to_known(model: type[models.Model], documents: Sequence[Document]) -> int:
    """Insert documents in order, up to the first one that exists; return how many."""
    if not documents:
        return 0
    try:
        collection(model).insert_many(documents, ordered=True)
    except BulkWriteError as error:
        first = error.details["writeErrors"][0]
        if first["code"] != _DUPLICATE_KEY:
            raise
        return int(first["index"])
    return len(documents)


def tree_ids(forest: Forest, indexes: Iterable[int]) -> list[str]:
    return [tree_id(forest.name, index) for index in indexes]


def read_tree(forest: Forest, index: int) -> StoredTree | None:
    """Return a tree with its nodes; None if the forest has no such tree."""
    return next(iter(read_trees(forest, [index])), None)


def iter_trees(forest: Forest, indexes: Sequence[int] | None = None) -> Iterator[StoredTree]:
    """Yield the trees of a forest in the order of the dataset, in bounded memory."""
    for batch in in_batches(range(forest.num_trees) if indexes is None else indexes):
        yield from few_trees(forest, batch)


def in_batches(trees: Sequence[AnyTree]) -> Iterator[Sequence[AnyTree]]:
    """Yield trees (indexes or ids) in groups of the size that one query may fetch."""
    for start in range(0, len(trees), TREES_PER_READ):
        yield trees[start : start + TREES_PER_READ]


def read_trees(forest: Forest, indexes: Iterable[int]) -> list[StoredTree]:
    """Return these trees with their nodes; all of them are in memory, so keep the list short."""
    return list(few_trees(forest, indexes))


def few_trees(forest: Forest, indexes: Iterable[int]) -> Iterator[StoredTree]:
    """Yield up to `TREES_PER_READ` trees with their nodes, in short queries."""
    ids = tree_ids(forest, indexes)
    found = {tree["_id"]: tree for tree in collection(Tree).find({"_id": {"$in": ids}})}
    trees = {id_: found[id_] for id_ in ids if id_ in found}
    for some, documents in _nodes_of(trees):
        nodes = defaultdict(list)
        for document in documents:
            nodes[document["tree_id"]].append(document)
        for id_ in some:
            yield _stored_tree(trees[id_], nodes[id_])


def node_documents(trees: Iterable[Document]) -> Iterator[Document]:
    """Yield the documents of the nodes of these trees, given as their documents."""
    for _, documents in _nodes_of({tree["_id"]: tree for tree in trees}):
        yield from documents


def _nodes_of(trees: Mapping[str, Document]) -> Iterator[tuple[list[str], list[Document]]]:
    """Yield the ids of some of these trees, in their order, with the documents of their nodes."""
    nodes = collection(Node)  # in this thread: another one would connect to the database again
    groups = list(short_queries({id_: tree.get("num_nodes", 0) for id_, tree in trees.items()}))

    def fetch(ids: list[str]) -> list[Document]:
        return list(nodes.find({"tree_id": {"$in": ids}}, batch_size=IN_ONE_ANSWER))

    yield from zip(groups, one_ahead([partial(fetch, ids) for ids in groups]), strict=True)


def short_queries(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield keys in groups for one query each, by the number of documents of each key."""
    keys, number = list[str](), 0
    for key, size in sizes.items():
        if keys and number + size > DOCUMENTS_PER_QUERY:
            yield keys
            keys, number = [], 0
        keys.append(key)
        number += size
    if keys:
        yield keys


def is_current(node: Document, tree: Document) -> bool:
    """Return whether a node belongs to its tree and was not written too late."""
    return bool((node.get("generation") or 0) >= (tree.get("oldest_generation") or 0))


def count_models(forest: Forest) -> dict[str, int]:
    """Return how many nodes of the complete trees each model wrote, busiest first.

    Models have the names in their servers' answers; "" is for answers without a model name.
    """
    numbers: Counter[str] = Counter()
    for batch in in_batches(range(forest.num_trees)):
        query = {"_id": {"$in": tree_ids(forest, batch)}}
        fields = ("status", "num_nodes", "nodes_by_model", "oldest_generation")
        uncounted: dict[str, Document] = {}
        for tree in collection(Tree).find(query, dict.fromkeys(fields, 1)):
            if tree["status"] == TreeStatus.COMPLETE:
                counted = from_fields(tree.get("nodes_by_model", {}))
                if counted and sum(counted.values()) == tree["num_nodes"]:
                    numbers.update(counted)
                else:  # an older version grew it
                    uncounted[tree["_id"]] = tree
        nodes = collection(Node).find(
            {"tree_id": {"$in": list(uncounted)}},
            {"model": 1, "tree_id": 1, "generation": 1, "_id": 0},
        )
        numbers.update(
            node["model"] for node in nodes if is_current(node, uncounted[node["tree_id"]])
        )
    return busiest_first(numbers)


def read_prompt(forest: Forest, index: int) -> Any:
    """Return the root prompt of a tree, a text or a list of chat messages; None without a tree."""
    found = collection(Tree).find_one({"_id": tree_id(forest.name, index)}, {"prompt": 1})
    return None if found is None else found["prompt"]


def read_growth(forest: Forest, index: int) -> tuple[str, bool] | None:
    """Return the growth mark of a tree, and whether a worker holds it; None without a tree.

    Reads none of its nodes.
    """
    fields = dict.fromkeys(("status", "lease_expires_at", *COUNTERS), 1)
    found = collection(Tree).find_one({"_id": tree_id(forest.name, index)}, fields)
    if found is None:
        return None
    return _growth_mark(found), has_live_lease(found, server_time())


def _growth_mark(tree: Document) -> str:
    counted = [tree["status"], *(tree.get(name, 0) for name in COUNTERS)]
    return sha256(json.dumps(counted).encode()).hexdigest()[:16]


def read_path(forest: Forest, index: int, path: NodePath) -> list[TreeNode] | None:
    """Return the nodes from the first step to the one at `path`; None if one is missing."""
    tree = tree_id(forest.name, index)
    ids = [node_id(tree, path[:depth]) for depth in range(1, len(path) + 1)]
    if not ids:
        return []
    stored = collection(Tree).find_one({"_id": tree}, {"oldest_generation": 1}) or {}
    nodes = collection(Node).find({"_id": {"$in": ids}})
    found = {one["_id"]: one for one in nodes if is_current(one, stored)}
    if len(found) < len(ids):
        return None
    return [tree_node(found[id_]) for id_ in ids]


def tree_document(
    forest: str, index: int, *, item: str, label: str, prompt: Any, now: datetime
) -> Document:
    """Return the document of a new tree, in the fields of `Tree`."""
    return {
        "_id": tree_id(forest, index),
        "forest_id": forest,
        "index": index,
        "item": item,
        "label": label,
        "prompt": prompt,
        "question": "",
        "status": str(TreeStatus.PENDING),
        "error": "",
        "hit_max_nodes": False,
        "refined_steps": None,
        "generation": 0,
        "oldest_generation": 0,
        "lease_holder": "",
        "lease_expires_at": None,
        **dict.fromkeys(COUNTERS, 0),
        "failures": {},
        "nodes_by_model": {},
        "root_value": None,
        "majority_value": None,
        "created_at": now,
        "completed_at": None,
    }


def question_of_document(document: Mapping[str, Any]) -> str:
    """Return the question of a tree document; earlier versions stored none."""
    return document.get("question") or question_of_prompt(document["prompt"])


def node_document(
    forest: str, tree: str, node: TreeNode, now: datetime, generation: int = 0
) -> Document:
    """Return the document of a node, in the fields of `Node`."""
    parent = node_id(tree, node.path[:-1])
    return {
        "_id": child_id(parent, node.position),
        "tree_id": tree,
        "forest_id": forest,
        "parent_id": parent,
        "depth": node.depth,
        "position": node.position,
        "text": node.text,
        "count": node.count,
        "drawn": {str(depth): number for depth, number in node.drawn.items()},
        "terminal": node.terminal,
        "truncated": node.truncated,
        "answer": node.answer,
        "grade": None if node.grade is None else str(node.grade),
        "voted_answer": node.voted_answer,
        "tokens": node.tokens,
        "logprob": node.logprob,
        "finish_reason": node.finish_reason,
        "model": node.model,
        "seed": node.seed,
        "numbered_to": node.numbered_to,
        "is_thought": node.is_thought,
        **({"kept_tokens": node.kept.pack()} if node.kept else {}),
        "generation": generation,
        "created_at": now,
    }


def add_to_forest(forest: str, deltas: Mapping[str, float]) -> None:
    """Add to the counters of a forest, for a worker that is growing it."""
    changes = {name: delta for name, delta in deltas.items() if delta}
    if changes:
        work = {"$inc": changes, "$set": {"worked_at": datetime.now(UTC)}}
        collection(Forest).update_one({"_id": forest}, work)


def leave_forest(forest: Forest) -> None:
    """Record that a worker left unfinished trees; leases show whether others are at work."""
    collection(Forest).update_one({"_id": forest.name}, {"$set": {"worked_at": None}})


def record_activity(forest: str, deltas: dict[str, float]) -> None:
    """Add to the activity of the current minute; deltas for trees, nodes, tokens, requests."""
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    collection(Activity).update_one(
        {"_id": f"{forest}/{minute:%Y%m%d%H%M}"},
        {"$inc": deltas, "$setOnInsert": {"forest_id": forest, "minute": minute}},
        upsert=True,
    )


def ids_below(parent: str) -> dict[str, str]:
    """Return the condition for ids that begin with `<parent>/`: one range of an index.

    Do not use it for `_id`: the embedded database scans all documents for a range of `_id`.
    """
    return {"$gte": f"{parent}/", "$lt": f"{parent}0"}  # 0 follows / in ASCII


def delete_orphans(tree: StoredTree) -> None:
    """Delete the nodes that are not part of a tree, except those written after it was read."""
    if tree.orphans:
        is_old = {"$not": {"$gt": tree.generation}}
        collection(Node).delete_many({"_id": {"$in": tree.orphans}, "generation": is_old})


def server_time() -> datetime:
    """Return the time of the database's clock. The clocks of its clients may differ."""
    answer = cast(DatabaseWrapper, connection).database.command("hello")
    moment: datetime = answer["localTime"]
    return moment.replace(tzinfo=UTC)


def retry_failed(forest: Forest) -> int:
    """Make the failed trees of a forest pending again, with their nodes; return how many."""
    changed = (
        collection(Tree)
        .update_many(
            {"forest_id": forest.name, "status": str(TreeStatus.FAILED)},
            {"$set": {"status": str(TreeStatus.PENDING), "error": "", "completed_at": None}},
        )
        .modified_count
    )
    collection(Forest).update_one(
        {"_id": forest.name},
        {
            "$inc": {"num_failed": -changed},
            "$set": {"growth_finished_at": None, "stop_reason": ""},
        },
    )
    return changed


def delete_forest(forest: Forest) -> dict[str, int]:
    """Delete a forest with its trees and nodes; return the number of deleted documents by kind.

    Workers that grow it are stopped first. The forest's own document goes last, so that an
    interrupted deletion can be repeated.
    """
    collection(Forest).update_one({"_id": forest.name}, {"$set": {"is_paused": True}})
    wait_for_workers(forest)
    forest_deleted.send(sender=Forest, forest_name=forest.name)
    gone = {"nodes": 0, "trees": 0, "forests": 0}
    scorers = [scorer["name"] for scorer in collection(Scorer).find({"forest_id": forest.name})]
    # Search for trees, because the forest's own number of trees may be wrong.
    trees = [tree["_id"] for tree in collection(Tree).find({"forest_id": forest.name}, {"_id": 1})]
    for ids in in_batches(trees):
        gone["nodes"] += collection(Node).delete_many({"tree_id": {"$in": ids}}).deleted_count
        for scorer in scorers:
            scores = [tree_scores_id(tree, scorer) for tree in ids]
            collection(TreeScores).delete_many({"_id": {"$in": scores}})
        gone["trees"] += collection(Tree).delete_many({"_id": {"$in": ids}}).deleted_count
    left = {"tree_id": ids_below(forest.name)}
    gone["nodes"] += collection(Node).delete_many(left).deleted_count
    collection(TreeLabels).delete_many({"forest_id": forest.name})
    collection(Scorer).delete_many({"forest_id": forest.name})
    collection(Activity).delete_many({"forest_id": forest.name})
    gone["forests"] = collection(Forest).delete_one({"_id": forest.name}).deleted_count
    return gone


def has_live_lease(tree: Document, now: datetime) -> bool:
    """Return whether a worker holds the tree at a `server_time`: see `rollouts.growing.leases`."""
    expires = tree["lease_expires_at"]
    return isinstance(expires, datetime) and expires.replace(tzinfo=UTC) > now


def is_held(forest: Forest) -> bool:
    """Return whether a worker currently holds a tree of this forest."""
    growing = {"forest_id": forest.name, "status": str(TreeStatus.GROWING)}
    now = server_time()
    trees = collection(Tree).find(growing, {"lease_expires_at": 1})
    return any(has_live_lease(tree, now) for tree in trees)


def wait_for_workers(forest: Forest) -> None:
    """Wait until no worker holds a tree. A killed worker holds trees until its leases expire."""
    while is_held(forest):
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def tree_node(document: Document, path: NodePath | None = None) -> TreeNode:
    """Return the node that a document holds. Passing its path saves parsing it from the id."""
    grade = document["grade"]
    return TreeNode(
        path=path_of_node(document["_id"]) if path is None else path,
        text=document["text"],
        count=document["count"],
        drawn={int(depth): number for depth, number in document["drawn"].items()},
        terminal=document["terminal"],
        truncated=document["truncated"],
        is_thought=document.get("is_thought", False),  # older versions wrote none
        kept=kept_of(document),
        answer=document["answer"],
        grade=None if grade is None else Grade(grade),
        voted_answer=document.get("voted_answer"),  # older versions wrote none
        tokens=document["tokens"],
        logprob=document["logprob"],
        finish_reason=document["finish_reason"],
        model=document["model"],
        seed=document["seed"],
        numbered_to=document.get("numbered_to") or 0,  # older versions wrote none
    )


def kept_of(document: Mapping[str, Any]) -> KeptTokens | None:
    """Return the tokens of a node or a tree, whose forest may keep none.

    Raises:
        ValueError: another version packed them.
    """
    packed = document.get("kept_tokens")
    return unpack(packed) if packed else None


def _stored_tree(document: Document, nodes: list[Document]) -> StoredTree:
    tree, orphans = connected([tree_node(one) for one in nodes if is_current(one, document)])
    tree.root.kept = kept_of(document)
    late = [one["_id"] for one in nodes if not is_current(one, document)]
    return StoredTree(
        id=document["_id"],
        index=document["index"],
        item=document["item"],
        label=document["label"],
        prompt=document["prompt"],
        question=question_of_document(document),
        status=document["status"],
        tree=tree,
        spent={name: document.get(name, 0) for name in SPENT_COUNTERS},
        failures=document["failures"],
        orphans=[*(node_id(document["_id"], node.path) for node in orphans), *late],
        generation=document.get("generation") or 0,
        error=document["error"],
        hit_max_nodes=document.get("hit_max_nodes", False),
        lease_expires_at=document["lease_expires_at"],
        refined_steps=document.get("refined_steps"),
        growth_mark=_growth_mark(document),
    )
