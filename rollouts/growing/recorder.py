"""Write grown nodes in batches, off the request path, in an order that survives a kill."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock

from pymongo import UpdateOne

from forests.core.counting import count_tree
from forests.core.model_counts import as_fields, count_models
from forests.core.tokens.kept import KeptTokens
from forests.core.values import Estimator, root_value
from forests.core.voting import majority_value
from forests.models import SPENT_COUNTERS, Forest, Tree, TreeStatus
from forests.storage.counters import sum_of_trees, write_sums
from forests.storage.trees import (
    Document,
    StoredTree,
    add_to_forest,
    collection,
    node_document,
    record_activity,
)
from rollouts.client.spending import Spending
from rollouts.growing import fencing, leases
from rollouts.growing.leases import LEASE_SECONDS
from rollouts.growing.reservations import ForestBudget, free_dead
from rollouts.strategies.base import Changes

SECONDS_BETWEEN_WRITES = 0.25
MAX_NOTED = 4000
"""Backpressure: with this many unwritten nodes `make_room` waits for a write, so that a slow
database cannot exhaust memory."""


class LeaseLostError(Exception):
    """Another worker may be growing our trees, so we must not write them any more."""


@dataclass(slots=True, eq=False)
class Growth:
    """One tree while it grows."""

    stored: StoredTree
    spending: Spending
    reported: Mapping[str, float] = field(default_factory=dict)
    """This tree's part of the forest's sums so far, by field name."""
    status: TreeStatus = TreeStatus.GROWING
    error: str = ""
    hit_max_nodes: bool = False
    rank: int = 0
    """When it began in this process: earlier trees get their requests first."""
    has_prompt_ids: bool = False
    """Whether the ids of the prompt are stored."""
    lock: Lock = field(default_factory=Lock)
    """Held while nodes are added to the tree, and while another thread counts them."""

    @classmethod
    def of(cls, stored: StoredTree) -> "Growth":
        growth = cls(
            stored=stored,
            spending=Spending(
                requests=stored.spent["requests"],
                retries=stored.spent["retries"],
                prompt_tokens=stored.spent["prompt_tokens"],
                completion_tokens=stored.spent["completion_tokens"],
                cached_tokens=stored.spent["cached_tokens"],
                failures=Counter(stored.failures),
            ),
        )
        growth.has_prompt_ids = stored.tree.root.kept is not None
        growth.reported = _sums(growth.counters(), growth.models(), growth.spending)
        return growth

    def counters(self) -> dict[str, int]:
        """Return the current counters."""
        spent = {name: getattr(self.spending, name) for name in SPENT_COUNTERS}
        return {**count_tree(self.stored.tree), **spent}

    def new_prompt_ids(self) -> KeptTokens | None:
        """Return the ids of the prompt, unless they are stored or not known yet."""
        return None if self.has_prompt_ids else self.stored.tree.root.kept

    def models(self) -> dict[str, int]:
        """Return the current numbers of nodes by model, in the form of the stored document."""
        return as_fields(count_models(self.stored.tree))


@dataclass(slots=True)
class _Batch:
    """Noted documents that are not written yet."""

    inserts: dict[str, Document] = field(default_factory=dict)
    updates: dict[str, Document] = field(default_factory=dict)
    growths: set[Growth] = field(default_factory=set)


class Recorder:
    """Collects changes on the event loop and writes them in a thread, one batch at a time."""

    def __init__(self, forest: Forest, holder: str, budget: ForestBudget | None = None) -> None:
        self.forest_name = forest.name
        self.budget = budget
        self.estimator = forest.estimator
        self.holder = holder
        self.leases_renewed_at = time.time()
        self._batch = _Batch()
        self._lock = asyncio.Lock()
        self._failure: BaseException | None = None
        self._taken = _Batch()  # the batch that is being written

    def note(self, growth: Growth, changes: Changes) -> None:
        """Copy new and changed nodes into the next batch."""
        tree, generation, now = growth.stored.id, growth.stored.generation, datetime.now(UTC)
        for node in (*changes.added.values(), *changes.changed.values()):
            document = node_document(self.forest_name, tree, node, now, generation)
            is_new = node.path in changes.added or document["_id"] in self._batch.inserts
            (self._batch.inserts if is_new else self._batch.updates)[document["_id"]] = document
        self._batch.growths.add(growth)

    def finish(self, growth: Growth, status: TreeStatus, error: str = "") -> None:
        """Add to the next batch that a tree is complete or failed."""
        growth.status, growth.error = status, error
        self._batch.growths.add(growth)

    def unwritten(self) -> set[str]:
        """Return the trees with changes that may be unwritten. Thread-safe."""
        return self.waiting() | {growth.stored.id for growth in tuple(self._taken.growths)}

    def waiting(self) -> set[str]:
        """Return the trees with changes whose write has not started. Thread-safe."""
        return {growth.stored.id for growth in tuple(self._batch.growths)}

    async def run(self) -> None:
        """Write a batch every `SECONDS_BETWEEN_WRITES` until cancelled."""
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_WRITES)
            await self.write()

    async def make_room(self) -> None:
        """Wait for a write if `MAX_NOTED` nodes are unwritten; else return at once.

        Raises the same errors as `write`.
        """
        if self._is_full():
            async with self._lock:
                if self._is_full():  # the previous holder of the lock may have written
                    await self._write_noted()

    async def write(self) -> None:
        """Write all noted changes.

        After a failed write nothing more is written: later nodes build on the lost ones.

        Raises:
            LeaseLostError: another worker has, or may have, a tree: this process paused too long.
            pymongo.errors.PyMongoError: the database does not answer.
        """
        async with self._lock:
            await self._write_noted()

    def _is_full(self) -> bool:
        return len(self._batch.inserts) + len(self._batch.updates) >= MAX_NOTED

    async def _write_noted(self) -> None:
        if self._failure:
            raise self._failure
        batch = self._taken = self._batch
        self._batch = _Batch()
        if not batch.growths:
            return
        if time.time() - self.leases_renewed_at > LEASE_SECONDS:
            self._failure = LeaseLostError("the leases expired before they were renewed")
            raise self._failure
        states = [_TreeState.of(growth, self.estimator) for growth in batch.growths]
        used = self.budget.take() if self.budget else {}
        writing = asyncio.ensure_future(asyncio.to_thread(self._write, batch, states, used))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # A thread cannot be stopped, so wait for it.
            (self._failure,) = await asyncio.gather(writing, return_exceptions=True)
            raise
        except Exception as error:
            self._failure = error
            raise
        finally:
            if not self._failure:
                self._taken = _Batch()

    def _write(self, batch: _Batch, states: list["_TreeState"], used: Mapping[str, int]) -> None:
        """Write counts of existing nodes, then new nodes, then the forest's sums, then the trees.

        If tokens are kept, the ids of the prompts are written first, because the ids of the steps
        continue them.

        A writer may be killed in between. Then a tree lacks samples, which growth draws again, or
        the forest's sums are ahead of its trees, or its number of finished trees is behind them.
        `settle_counters` corrects the sums and that number. A finished tree's status is written
        after its sums, so the sums are whole once all trees are finished.
        """
        self._write_prompt_ids(batch.growths)
        lost = self._update_nodes(list(batch.updates.values()))
        inserts = [one for one in batch.inserts.values() if one["tree_id"] not in lost]
        lost |= fencing.insert_nodes(inserts)
        ours = [state for state in states if state.tree_id not in lost]
        self._write_sums(ours, sum(one["tree_id"] not in lost for one in inserts), used)
        num_lost = len(lost) + self._write_trees(ours)
        if num_lost:
            raise LeaseLostError(f"another worker has taken {num_lost} of {len(states)} trees")

    def _write_prompt_ids(self, growths: Iterable[Growth]) -> None:
        new = {one: kept for one in growths if (kept := one.new_prompt_ids())}
        if not new:
            return
        ours = [
            UpdateOne(
                {
                    "_id": one.stored.id,
                    "lease_holder": self.holder,
                    "generation": one.stored.generation,
                },
                {"$set": {"kept_tokens": kept.pack()}},
            )
            for one, kept in new.items()
        ]
        if collection(Tree).bulk_write(ours).matched_count < len(ours):
            raise LeaseLostError("another worker has taken trees")
        for one in new:
            one.has_prompt_ids = True

    def _update_nodes(self, documents: list[Document]) -> set[str]:
        """Update nodes, and return the trees that this holder has lost."""
        if not documents or fencing.update_nodes(documents):
            return set()
        generations = {one["tree_id"]: one["generation"] for one in documents}
        ours = leases.held(list(generations), self.holder)
        lost = {tree for tree, number in generations.items() if ours.get(tree) != number}
        return lost or set(generations)

    def _write_sums(
        self, states: list["_TreeState"], num_nodes: int, used: Mapping[str, int]
    ) -> None:
        deltas: dict[str, float] = defaultdict(int, used)
        for state in states:
            for name, delta in state.deltas.items():
                deltas[name] += delta
        add_to_forest(self.forest_name, deltas)
        record_activity(
            self.forest_name,
            {
                "trees": sum(state.status is TreeStatus.COMPLETE for state in states),
                "nodes": num_nodes,
                "tokens": deltas["completion_tokens"],
                "requests": deltas["requests"],
            },
        )

    def _write_trees(self, states: list["_TreeState"]) -> int:
        """Write the trees that we hold, and return how many we have lost."""
        if not states:
            return 0
        result = collection(Tree).bulk_write([state.update(self.holder) for state in states])
        if lost := len(states) - result.matched_count:
            return lost
        numbers = Counter(state.status for state in states)
        add_to_forest(
            self.forest_name,
            {
                "num_complete": numbers[TreeStatus.COMPLETE],
                "num_failed": numbers[TreeStatus.FAILED],
                "num_hit_max_nodes": sum(state.hit_max_nodes for state in states),
            },
        )
        return 0


@dataclass(frozen=True, slots=True)
class _TreeState:
    """A tree's state in one batch, and how much its counters grew since the last batch."""

    tree_id: str
    generation: int
    status: TreeStatus
    error: str
    hit_max_nodes: bool
    counters: dict[str, int]
    models: dict[str, int]
    failures: dict[str, int]
    value: float | None
    majority: float | None
    deltas: dict[str, float]

    @classmethod
    def of(cls, growth: Growth, estimator: Estimator) -> "_TreeState":
        with growth.lock:
            counters, models = growth.counters(), growth.models()
            value = root_value(growth.stored.tree, estimator)
            majority = majority_value(growth.stored.tree)
        sums = _sums(counters, models, growth.spending)
        deltas = {name: value - growth.reported.get(name, 0) for name, value in sums.items()}
        growth.reported = sums
        return cls(
            tree_id=growth.stored.id,
            generation=growth.stored.generation,
            status=growth.status,
            error=growth.error,
            hit_max_nodes=growth.hit_max_nodes,
            counters=counters,
            models=models,
            failures=dict(growth.spending.failures),
            value=value,
            majority=majority,
            deltas=deltas,
        )

    def update(self, holder: str) -> UpdateOne:
        """Return the update of a tree that we hold; it releases the lease of a finished tree."""
        fields: Document = {
            **self.counters,
            "failures": self.failures,
            "nodes_by_model": self.models,
            "root_value": self.value,
            "majority_value": self.majority,
        }
        if self.status is not TreeStatus.GROWING:
            fields |= {
                "status": str(self.status),
                "error": self.error,
                "hit_max_nodes": self.hit_max_nodes,
                "lease_holder": "",
                "lease_expires_at": None,
                "completed_at": datetime.now(UTC),
            }
        ours = {"_id": self.tree_id, "lease_holder": holder, "generation": self.generation}
        return UpdateOne(ours, {"$set": fields})


def _sums(
    counters: Mapping[str, int], models: Mapping[str, int], spending: Spending
) -> dict[str, float]:
    """Return a tree's part of the forest's sums, by field name of the forest's document."""
    return {
        **counters,
        **{f"nodes_by_model.{field}": number for field, number in models.items()},
        **{f"failures.{kind}": number for kind, number in spending.failures.items()},
        **{f"latencies.{bucket}": number for bucket, number in spending.latencies.items()},
        "request_seconds": spending.seconds,
    }


def settle_counters(forest: Forest) -> bool:
    """Set a forest's counters to the sums over its trees; return False if trees are growing.

    A killed worker leaves sums that do not match its trees. While no tree is growing, nobody else
    changes the sums, so they can be replaced. Two processes may replace them at once, one with
    outdated sums, so each computes the sums again after it has written them. Also frees the
    reservations of killed workers.
    """
    growing = {"forest_id": forest.name, "status": str(TreeStatus.GROWING)}
    written: Document = {}
    if now := Forest.objects.filter(pk=forest.pk).first():
        free_dead(now)
    while not collection(Tree).count_documents(growing, limit=1):
        sums = sum_of_trees(forest)
        if sums == written:
            return True
        write_sums(forest, sums)
        written = sums
    return False
