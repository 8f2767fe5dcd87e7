"""Reserve budget for requests before they are sent, across processes and machines.

A forest's document holds a ledger: the usage of answered requests plus the largest possible usage
of those in flight. `reservations` holds the second part for each holder of trees. A request may be
sent while the ledger is below every limit. One conditional update checks and reserves, so of two
processes only one gets the last request. The actual usage replaces the reservation when the answer
arrives.

Without a limit nothing is reserved, and usage is written together with the forest's counters.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import structlog
from django.db import DatabaseError
from pymongo.errors import PyMongoError

from forests.costs.budgets import TOKENS_OF_A_PRICE, USAGE_FIELDS, Usage
from forests.models import Forest, Tree, TreeStatus
from forests.storage.trees import Document, collection, has_live_lease, server_time
from rollouts.client.failures import LimitSpentError
from rollouts.growing import leases
from rollouts.protocol.request_sizes import SILENT_SERVER, charged, most_of, prompt_bytes

log = structlog.stdlib.get_logger(__name__)

SECONDS_BETWEEN_TRIES = 0.25
"""Pause before asking again for budget that other requests have reserved."""
TRIES_BETWEEN_LOOKS_FOR_THE_DEAD = 8
SECONDS_TO_MERGE = 0.05
"""How long corrections wait for a new request, to be written together with it."""
SECONDS_TO_COME_BACK = 24 * 3600.0
"""How long what was counted for a holder is kept, in case it was only silent."""
_COUNTED = "counted"
"""Field of a freed reservation: the usage that was counted for its requests."""
_MAX_TRIES = 10
_NO_LIMIT = 1e300


@dataclass(frozen=True, slots=True)
class Reservation:
    """The most that one request may use."""

    most: Usage
    num_bytes: int
    """Bytes of its prompt."""
    is_held: bool
    """Whether the reservation is in the database."""


@dataclass(frozen=True, slots=True)
class _Change:
    """Amounts to add to the forest's document."""

    ledger: Usage = field(default_factory=Usage)
    reserved: Usage = field(default_factory=Usage)

    def __add__(self, other: "_Change") -> "_Change":
        return _Change(self.ledger + other.ledger, self.reserved + other.reserved)

    def __bool__(self) -> bool:
        return bool(self.ledger or self.reserved)


@dataclass(frozen=True, slots=True)
class _Wish:
    """A request that waits for budget."""

    most: Usage
    granted: asyncio.Future[None]


class ForestBudget:
    """One process's part in the ledger of a forest."""

    def __init__(self, forest: Forest) -> None:
        self.forest_name = forest.name
        self.holder = leases.new_holder()
        self.is_limited = forest.limits.are_set
        """Whether requests are reserved. The grower updates it each time it reads the forest."""
        self.counts_tokens = forest.limits.count_tokens
        """Whether a limit of tokens or money is set. The grower updates it too."""
        self.num_in_flight = 0
        self._key = key_of(self.holder)
        self._is_open = forest.ledger is not None
        self._answered = Usage()
        self._tokens_per_byte = 0.0
        self._is_silent = False  # whether an answer did not report its tokens
        self._wishes: list[_Wish] = []
        self._change = _Change()  # not written yet
        self._taken = _Change()  # being written
        self._held = Usage()  # our reservation in the database
        self._has_reserved = False
        self._news = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start the ledger, if the forest has none, with the usage so far."""
        if not self._is_open:
            await asyncio.to_thread(self._open)

    async def reserve(self, body: Mapping[str, Any]) -> Reservation:
        """Wait until a request may be sent; return its reservation.

        Raises:
            LimitSpentError: a limit is spent, and answers to requests in flight cannot change that.
            pymongo.errors.PyMongoError: the database does not answer.
        """
        most = most_of(body, self._tokens_per_byte or 1.0)
        reservation = Reservation(most, prompt_bytes(body), is_held=self.is_limited)
        if reservation.is_held:
            await self._wait_for_room(most)
        self.num_in_flight += 1
        return reservation

    def settle(
        self, reservation: Reservation, used: Usage | None, *, is_answered: bool = False
    ) -> None:
        """Replace a reservation by the usage of its request.

        `used` is None if the request was sent but its usage is unknown: it counts with the average
        usage. If tokens are limited, an answer that does not report its tokens counts as the most
        that the request may use. Once such an answer came, unknown usage counts in the same way.
        """
        self.num_in_flight -= 1
        most = reservation.most
        if used is None:
            is_unknown = self._is_silent and self.counts_tokens
            used = most if is_unknown else self._answered.expected(1, most)
        elif is_answered and self.counts_tokens and charged(used, most) != used:
            used = charged(used, most)
            self._say_that_it_is_silent()
        elif used.tokens:
            self._answered += used
            ratio = used.prompt_tokens / max(1, reservation.num_bytes)
            self._tokens_per_byte = max(self._tokens_per_byte, ratio)
        held = most if reservation.is_held else Usage()
        self._note(_Change(used - held, Usage() - held))

    def _say_that_it_is_silent(self) -> None:
        if not self._is_silent:
            log.warning(SILENT_SERVER)
        self._is_silent = True

    def take(self) -> dict[str, int]:
        """Return increments for the next write of the forest's counters; they count as written.

        Empty while requests are reserved: reservations are corrected by separate writes.
        """
        if self.is_limited or not self._is_open or self._change.reserved or self._held:
            return {}
        taken, self._change = self._change.ledger, _Change()
        return _increments(taken, "ledger")

    async def close(self) -> None:
        """Write pending changes and free this holder's reservations.

        Raises:
            pymongo.errors.PyMongoError: the database does not answer.
        """
        self._news.set()
        if self._writing:
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._change or self._has_reserved:
            change, self._change = self._change, _Change()
            await asyncio.to_thread(self._write_last, change)

    async def _wait_for_room(self, most: Usage) -> None:
        wish = _Wish(most, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self._news.set()
        self._start_writing()
        try:
            await wish.granted
        except asyncio.CancelledError:
            # It may have been granted or refused just before the cancellation.
            is_answered = wish.granted.done() and not wish.granted.cancelled()
            if is_answered and wish.granted.exception() is None:
                self._give_back(most)
            raise

    def _give_back(self, most: Usage) -> None:
        self._note(_Change(Usage() - most, Usage() - most))

    def _note(self, change: _Change) -> None:
        self._change += change
        if self.is_limited or self._change.reserved or self._held:
            self._news.set()
            self._start_writing()

    def _start_writing(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        """Write corrections and grant requests until none is left, as many as possible at once."""
        tries = 0
        while self._wishes or self._change:
            self._news.clear()
            if not self._wishes:
                await self._wait_for_news(SECONDS_TO_MERGE)
            wishes = [wish for wish in self._wishes if not wish.granted.done()]
            change, self._change, self._wishes = self._change, _Change(), []
            try:
                number, problem = await asyncio.to_thread(
                    self._write, change, [wish.most for wish in wishes]
                )
            except (PyMongoError, DatabaseError) as error:
                log.warning("usage of requests was not written", error=str(error))
                self._change += self._taken
                came_meanwhile, self._wishes = self._wishes, []
                _refuse([*wishes, *came_meanwhile], error)
                return
            self._grant(wishes[:number])
            if problem:
                _refuse(wishes[number:], LimitSpentError(problem))
            elif rest := wishes[number:]:
                self._wishes = rest + self._wishes
                tries += 1
                await self._wait_for_others(tries)

    def _grant(self, wishes: Sequence[_Wish]) -> None:
        for wish in wishes:
            if wish.granted.done():  # cancelled
                self._give_back(wish.most)
            else:
                wish.granted.set_result(None)

    async def _wait_for_others(self, tries: int) -> None:
        """Wait for answers to requests in flight; sometimes free reservations of dead holders."""
        await self._wait_for_news(SECONDS_BETWEEN_TRIES)
        if tries % TRIES_BETWEEN_LOOKS_FOR_THE_DEAD == 0:
            with contextlib.suppress(PyMongoError, DatabaseError):
                await asyncio.to_thread(self._free_dead)

    def _free_dead(self) -> None:
        if forest := Forest.objects.filter(pk=self.forest_name).first():
            free_dead(forest)

    async def _wait_for_news(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)

    def _write(self, change: _Change, wanted: Sequence[Usage]) -> tuple[int, str]:
        """Return the number of granted requests, and the spent limit if no more can be granted."""
        self._taken = change
        if not self._is_open:
            self._open()
        number = len(wanted)
        if number and self._reserve(change, wanted):
            return number, ""
        self._correct(change)
        self._taken = _Change()
        for _ in range(_MAX_TRIES if number else 0):
            forest = Forest.objects.filter(pk=self.forest_name).first()
            if forest is None:
                return 0, "the forest is gone"
            number = forest.limits.num_fitting(forest.committed, wanted, forest.prices)
            if not number:
                return 0, forest.spent_limit
            if self._reserve(_Change(), wanted[:number]):
                return number, ""
        return 0, ""

    def _reserve(self, change: _Change, wanted: Sequence[Usage]) -> bool:
        """Write a change and reserve for requests; return False if they do not all fit."""
        before = sum(wanted[:-1], change.ledger)
        reserved = sum(wanted, Usage())
        return self._add(change + _Change(reserved, reserved), _room(before))

    def _correct(self, change: _Change) -> None:
        """Write a change that needs no budget, and restore what others freed by mistake.

        Others free the reservations of a holder that was silent for as long as a lease lasts. They
        count its requests, and note what they counted.
        """
        if self._held:
            ours = f"reservations.{self._key}"
            found = collection(Forest).find_one({"_id": self.forest_name}, {ours: 1}) or {}
            reservation = found.get("reservations", {}).get(self._key, {_COUNTED: {}})
            if _COUNTED in reservation:
                counted = replace(Usage.of(reservation[_COUNTED]), requests=self._held.requests)
                change += _Change(self._held - counted, self._held)
                self._held = Usage()
        self._add(change, {})

    def _add(self, change: _Change, condition: Document) -> bool:
        """Add to the ledger and our reservation; False if `condition` fails or ours was freed."""
        ours = f"reservations.{self._key}"
        chosen = {"_id": self.forest_name, **condition}
        if self._held:
            chosen |= {ours: {"$exists": True}, f"{ours}.{_COUNTED}": {"$exists": False}}
        update: Document = {}
        added = _increments(change.ledger, "ledger") | _increments(change.reserved, ours)
        if added:
            update["$inc"] = added
        if change.reserved:
            update["$set"] = {
                f"{ours}.holder": self.holder,
                f"{ours}.at": server_time().timestamp(),
            }
            update["$unset"] = {f"{ours}.{_COUNTED}": ""}
        if not update:
            return True
        is_written = collection(Forest).update_one(chosen, update).matched_count > 0
        if is_written and change.reserved:
            self._held += change.reserved
            self._has_reserved = True
        return is_written

    def _write_last(self, change: _Change) -> None:
        if not self._is_open:
            self._open()
        self._correct(change)
        if not self._held:
            ours = f"reservations.{self._key}"
            collection(Forest).update_one({"_id": self.forest_name}, {"$unset": {ours: ""}})

    def _open(self) -> None:
        open_ledger(self.forest_name)
        self._is_open = True


def key_of(holder: str) -> str:
    """Return the field name of a holder's reservations; holder names may contain dots."""
    return hashlib.sha256(holder.encode()).hexdigest()[:16]


def open_ledger(forest_name: str) -> None:
    """Start the ledger of a forest, if it has none, with the sums over its trees."""
    forest = Forest.objects.filter(pk=forest_name).first()
    if forest is not None and forest.ledger is None:
        collection(Forest).update_one(
            {"_id": forest_name, "ledger": None}, {"$set": {"ledger": forest.used.as_dict()}}
        )


def free_dead(forest: Forest) -> int:
    """Free the reservations of dead holders; return how many holders these were.

    Their requests were sent, so each counts, with the average tokens of this forest's requests. A
    holder is dead if its process has ended, or if it holds no tree and has written nothing for the
    length of a lease.
    """
    if not forest.reservations:
        return 0
    growing = {"forest_id": forest.name, "status": str(TreeStatus.GROWING)}
    trees = collection(Tree).find(growing, {"lease_holder": 1, "lease_expires_at": 1})
    now = server_time()
    living = {tree["lease_holder"] for tree in trees if has_live_lease(tree, now)}
    gone = {key: one for key, one in forest.reservations.items() if _is_gone(one, living, now)}
    return sum(_free(forest, key, one) for key, one in gone.items())


def _is_gone(reservation: Document, living: set[str], now: datetime) -> bool:
    holder = reservation.get("holder", "")
    if leases.is_dead(holder):
        return True
    seconds = now.timestamp() - reservation.get("at", 0.0)
    if _COUNTED in reservation:
        return bool(seconds > SECONDS_TO_COME_BACK)
    return seconds > leases.LEASE_SECONDS and holder not in living


def _free(forest: Forest, key: str, reservation: Document) -> bool:
    """Free a holder's reservation, unless it has changed meanwhile.

    Leaves what was counted for its requests, if it may come back: see `ForestBudget._correct`.
    """
    held, ours, holder = Usage.of(reservation), f"reservations.{key}", reservation.get("holder", "")
    lost = forest.used.expected(held.requests, held)
    unchanged = {f"{ours}.{name}": reservation.get(name) for name in USAGE_FIELDS}
    update: Document = {"$unset": {ours: ""}}
    if held and not leases.is_dead(holder):
        now = server_time().timestamp()
        update = {"$set": {ours: {"holder": holder, "at": now, _COUNTED: lost.as_dict()}}}
    if changes := _increments(lost - held, "ledger"):
        update["$inc"] = changes
    is_freed = (
        collection(Forest).update_one({"_id": forest.name, **unchanged}, update).matched_count > 0
    )
    if is_freed and _COUNTED not in reservation:
        log.warning("reservations of a dead worker freed", requests=held.requests)
    return is_freed


def _increments(usage: Usage, where: str) -> dict[str, int]:
    return {f"{where}.{name}": number for name, number in usage.as_dict().items() if number}


def _room(before: Usage) -> Document:
    """Return the filter for a forest whose ledger, with `before` added, is below every limit."""
    requests = {"$add": ["$ledger.requests", before.requests]}
    prompt = {"$add": ["$ledger.prompt_tokens", before.prompt_tokens]}
    completion = {"$add": ["$ledger.completion_tokens", before.completion_tokens]}
    cost = {
        "$add": [
            {"$multiply": [prompt, {"$ifNull": ["$price_in", 0]}]},
            {"$multiply": [completion, {"$ifNull": ["$price_out", 0]}]},
        ]
    }
    # An unknown price means no cost limit: commands refuse to set one without prices.
    most_cost = {
        "$cond": [
            {"$in": [None, [{"$ifNull": [f"${name}", None]} for name in _OF_COST]]},
            _NO_LIMIT,
            {"$multiply": ["$max_cost", TOKENS_OF_A_PRICE]},
        ]
    }
    return {
        "$expr": {
            "$and": [
                {"$lt": [requests, {"$ifNull": ["$max_requests", _NO_LIMIT]}]},
                {
                    "$lt": [
                        {"$add": [prompt, completion]},
                        {"$ifNull": ["$max_tokens_total", _NO_LIMIT]},
                    ]
                },
                {"$lt": [cost, most_cost]},
            ]
        }
    }


_OF_COST = ("max_cost", "price_in", "price_out")


def _refuse(wishes: Sequence[_Wish], error: Exception) -> None:
    for wish in wishes:
        if not wish.granted.done():
            wish.granted.set_exception(error)
