"""Limits of requests, tokens and money hold with many workers, and when some of them die."""

import asyncio
import os
import signal
import subprocess
import time
from typing import Any, NoReturn

import pytest
from pymongo.errors import AutoReconnect
from structlog.testing import capture_logs

from forests.costs.budgets import Usage
from forests.models import Forest
from forests.storage.trees import collection
from rollouts.client import failures
from rollouts.client.failures import LimitSpentError
from rollouts.growing import leases
from rollouts.growing import reservations as budgets
from rollouts.growing.reservations import ForestBudget, free_dead, key_of
from rollouts.protocol.request_sizes import SILENT_SERVER
from rollouts.workers import jobs
from tests.forked_commands import ForkedCommand
from tests.openai_server import Fault, OpenAIServer, write_two_steps
from tests.processes import on_test_database
from tests.rollouts.forests import assert_whole, reread, seeded, statuses
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

MAX_TOKENS_PER_SAMPLE = 50
"""A request of the tests' forests asks for up to three steps."""
MAX_OF_A_REQUEST = 3 * MAX_TOKENS_PER_SAMPLE + 500
BODY = {"prompt": "Question", "n": 2, "max_tokens": 10}


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)


def limited(limit: int = 4, suffix: str = "a", **fields: object) -> Forest:
    """Return a forest with limits or prices, and room for many requests at once."""
    forest = seeded(
        limit, suffix, concurrency=16, max_tokens_per_step=MAX_TOKENS_PER_SAMPLE,
        branching=[3, 3, 3],
    )  # fmt: skip
    change(forest, **fields)
    return reread(forest)


def change(forest: Forest, **fields: object) -> None:
    collection(Forest).update_one({"_id": forest.name}, {"$set": fields})


def grow(forest: Forest, start: int, stop: int, server: OpenAIServer) -> ForkedCommand:
    """Start a process that grows a slice of a forest."""
    code = f"from rollouts.workers import jobs; jobs.grow_slice({forest.name!r}, {start}, {stop})"
    return ForkedCommand(
        ["manage.py", "shell", "--no-imports", "-c", code],
        env=on_test_database(OPENAI_BASE_URL=server.url),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def finish(process: ForkedCommand) -> None:
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err


class Counting:
    """What a server has answered, as a provider would bill it."""

    def __init__(self, server: OpenAIServer) -> None:
        self.usage = Usage()
        answer = server.answer

        def counted(path: str, body: dict[str, Any]) -> dict[str, Any]:
            found = answer(path, body)
            told = found["usage"]
            self.usage += Usage(1, told["prompt_tokens"], told["completion_tokens"])
            return found

        server.answer = counted  # type: ignore[method-assign]


def slowly(prefix: str, seed: int) -> str:
    time.sleep(0.05)
    return write_two_steps(prefix, seed)


def very_slowly(prefix: str, seed: int) -> str:
    time.sleep(0.3)
    return write_two_steps(prefix, seed)


def test_four_processes_with_64_requests_in_flight_send_exactly_what_is_allowed(
    model_server: OpenAIServer,
):
    model_server.write = slowly
    billed = Counting(model_server)
    forest = limited(40, max_requests=101)

    processes = [grow(forest, n, n + 10, model_server) for n in range(0, 40, 10)]
    for process in processes:
        finish(process)

    assert model_server.num_asked == 101
    grown = reread(forest)
    assert grown.used == billed.usage
    assert grown.reserved == Usage()
    assert grown.spent_limit == "101 of 101 requests are spent"
    assert grown.num_pending > 0
    assert set(statuses(forest)) <= {"pending", "complete"}


def test_a_limit_of_tokens_is_spent_to_within_one_request(model_server: OpenAIServer):
    model_server.write = slowly
    billed = Counting(model_server)
    forest = limited(140, max_tokens_total=20_000)

    processes = [grow(forest, n, n + 35, model_server) for n in range(0, 140, 35)]
    for process in processes:
        finish(process)

    assert 20_000 <= billed.usage.tokens < 20_000 + MAX_OF_A_REQUEST
    grown = reread(forest)
    assert grown.used.tokens == billed.usage.tokens
    assert "tokens are spent" in grown.spent_limit


def test_a_limit_of_money_is_spent_to_within_one_request(model_server: OpenAIServer):
    billed = Counting(model_server)
    forest = limited(20, max_cost=0.0005, price_in=0.15, price_out=0.6)

    jobs.grow_slice(forest.name, 0, 20)

    grown = reread(forest)
    told = billed.usage
    assert grown.cost == pytest.approx(
        (told.prompt_tokens * 0.15 + told.completion_tokens * 0.6) / 1e6
    )
    assert grown.cost is not None
    assert 0.0005 <= grown.cost < 0.0005 + MAX_OF_A_REQUEST * 0.6 / 1e6
    assert grown.spent_limit.endswith("of $0.0005 are spent")


SILENCE = [None, {}, {"completion_tokens": 4}, {"prompt_tokens": 0, "completion_tokens": 0}]


@pytest.mark.parametrize("told", SILENCE)
@pytest.mark.parametrize(
    "limit",
    [{"max_tokens_total": 2_000}, {"max_cost": 0.002, "price_in": 1.0, "price_out": 1.0}],
)
def test_answers_that_do_not_report_their_tokens_count_as_the_most(
    model_server: OpenAIServer, limit, told
):
    answer = model_server.answer
    model_server.answer = lambda *asked: {**answer(*asked), "usage": told}  # type: ignore[method-assign]
    forest = limited(60, **limit)

    jobs.grow_slice(forest.name, 0, 60)

    grown = reread(forest)
    assert " are spent" in grown.spent_limit
    assert 2_000 <= grown.used.tokens < 2_000 + MAX_OF_A_REQUEST
    assert 1 < model_server.num_asked < 40
    assert grown.reserved == Usage()
    assert grown.num_pending > 0


def test_failures_are_no_answers_without_tokens(model_server: OpenAIServer):
    model_server.faults.extend([Fault(status=500)] * 2)
    billed = Counting(model_server)
    forest = limited(2, max_tokens_total=100_000)

    jobs.grow_slice(forest.name, 0, 2)

    assert_whole(forest)
    assert reread(forest).used.tokens == billed.usage.tokens


def test_a_limit_of_requests_does_not_guess_tokens(model_server: OpenAIServer):
    answer = model_server.answer
    model_server.answer = lambda *asked: {**answer(*asked), "usage": None}  # type: ignore[method-assign]
    forest = limited(2, max_requests=100)

    jobs.grow_slice(forest.name, 0, 2)

    assert_whole(forest)
    assert reread(forest).used.prompt_tokens == 0


def test_after_an_answer_without_tokens_a_lost_one_counts_as_the_most_too():
    forest = limited(1, max_tokens_total=10_000)
    budget = ForestBudget(forest)

    async def ask() -> Usage:
        first, second = await budget.reserve(BODY), await budget.reserve(BODY)
        third = await budget.reserve(BODY)
        budget.settle(first, Usage(requests=1), is_answered=True)
        budget.settle(second, Usage(requests=1), is_answered=True)
        budget.settle(third, None)
        await budget.close()
        return first.most + second.most + third.most

    with capture_logs() as logs:
        most = asyncio.run(ask())
    assert reread(forest).used == most
    assert [one["event"] for one in logs] == [SILENT_SERVER]  # once


def test_requests_that_only_fail_are_counted_and_limited(model_server: OpenAIServer):
    away = Fault(status=503, headers={"Retry-After": "0"})
    model_server.misbehave, model_server.misbehave_probe = lambda: away, lambda _: away
    forest = limited(4, max_requests=5)

    jobs.grow_slice(forest.name, 0, 4)

    assert model_server.num_asked == 5
    grown = reread(forest)
    assert grown.used == Usage(requests=5)
    assert grown.requests == 5  # in the counters of its trees too
    assert grown.spent_limit
    assert statuses(forest) == {"pending": 4}


@pytest.mark.parametrize(
    "fault", [Fault(status=500), Fault(cuts_body=True), Fault(body="no JSON"),
              Fault(drops_connection=True), Fault(status=429, headers={"Retry-After": "0"})],
)  # fmt: skip
def test_every_attempt_counts_however_it_fails(model_server: OpenAIServer, fault: Fault):
    model_server.misbehave, model_server.misbehave_probe = lambda: fault, lambda _: fault
    forest = limited(6, max_requests=7)

    jobs.grow_slice(forest.name, 0, 6)

    used = reread(forest).used.requests
    assert 1 <= used <= 7
    # A library may repeat a request by itself if its connection closed before any answer.
    assert model_server.num_asked in (7, used)


def test_a_probe_counts(model_server: OpenAIServer):
    forest = seeded(2, api="chat", branching=[2, 1])
    change(forest, max_requests=1)

    jobs.grow_slice(forest.name, 0, 2)

    assert model_server.num_asked == 1
    assert reread(forest).spent_limit


@pytest.mark.parametrize("limits", [{}, {"max_tokens_total": 100_000}])
def test_probes_before_a_stop_count(model_server: OpenAIServer, limits):
    billed = Counting(model_server)

    def stop_at_the_second(_: object) -> Fault | None:
        if model_server.num_answered == 0:
            return None
        os.kill(os.getpid(), signal.SIGTERM)
        return Fault(hangs_seconds=60)

    model_server.misbehave_probe = stop_at_the_second
    forest = seeded(2, api="chat", branching=[2, 1])
    change(forest, **limits)

    jobs.grow_slice(forest.name, 0, 2)

    assert len(model_server.probes) == 2
    stopped = reread(forest)
    assert stopped.used - billed.usage == billed.usage  # the second counts as the first did
    assert stopped.reserved == Usage()
    assert statuses(forest) == {"pending": 2}


def test_without_a_limit_growing_makes_no_further_call_of_the_database(
    model_server: OpenAIServer, monkeypatch
):
    billed = Counting(model_server)
    forest = seeded(4)
    jobs.grow_slice(forest.name, 0, 2)  # the first job begins the ledger

    def refuse(_: object) -> NoReturn:
        pytest.fail("this costs a call of the database")

    monkeypatch.setattr(budgets, "collection", refuse)
    jobs.grow_slice(forest.name, 2, 4)

    assert_whole(forest)
    grown = reread(forest)
    assert grown.used == billed.usage == Usage.of(vars(grown))
    assert grown.reserved == Usage()


def test_a_limit_that_is_set_while_workers_grow_counts_what_they_did_before(
    model_server: OpenAIServer,
):
    model_server.write = slowly
    forest = limited(60)
    process = grow(forest, 0, 60, model_server)
    wait_until(lambda: reread(forest).used.requests > 20)

    change(forest, max_requests=100)
    finish(process)

    assert 100 <= model_server.num_asked <= 100 + 16 * 25  # it reads the limit each second
    assert reread(forest).used.requests == model_server.num_asked
    assert reread(forest).num_pending > 0


def test_a_killed_worker_frees_what_it_had_and_its_requests_count(model_server: OpenAIServer):
    model_server.write = very_slowly
    forest = limited(20, max_requests=60, max_tokens_total=10_000)
    process = grow(forest, 0, 20, model_server)
    wait_until(lambda: reread(forest).reserved.requests > 4 and reread(forest).used.tokens > 0)

    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    held = reread(forest)
    assert held.reserved.completion_tokens >= 4 * 3 * MAX_TOKENS_PER_SAMPLE
    assert free_dead(reread(forest)) == 1
    freed = reread(forest)
    assert freed.reserved == Usage()
    assert freed.used.requests == held.committed.requests
    assert freed.used.tokens < held.committed.tokens
    model_server.write = write_two_steps
    jobs.grow_slice(forest.name, 0, 20)
    assert reread(forest).spent_limit == "60 of 60 requests are spent"
    assert model_server.num_asked <= 60


def test_who_dies_without_a_trace_on_this_machine_is_freed_when_its_lease_is_over():
    forest = limited(1, max_requests=5)
    elsewhere = "other/0123/ab/1"
    ours = {"holder": elsewhere, "at": time.time(), "requests": 5, "completion_tokens": 100}
    change(forest, ledger={"requests": 5, "completion_tokens": 100},
           reservations={key_of(elsewhere): ours})  # fmt: skip

    assert free_dead(reread(forest)) == 0
    assert reread(forest).spent_limit == ""

    change(forest, **{f"reservations.{key_of(elsewhere)}.at": time.time() - leases.LEASE_SECONDS})
    assert free_dead(reread(forest)) == 1
    assert reread(forest).used == Usage(requests=5)


def test_a_request_waits_for_those_in_flight_before_the_limit_is_called_spent():
    forest = limited(1, max_tokens_total=60)
    first, second = ForestBudget(forest), ForestBudget(forest)

    async def ask() -> None:
        held = await first.reserve(BODY)
        assert (await asyncio.to_thread(reread, forest)).committed.tokens < 60
        also_held = await first.reserve(BODY)
        assert (await asyncio.to_thread(reread, forest)).committed.tokens >= 60
        waiting = asyncio.create_task(second.reserve(BODY))
        await asyncio.sleep(0.5)
        assert not waiting.done()

        first.settle(held, Usage(1, 2, 3))
        given = await waiting

        first.settle(also_held, Usage(1, 2, 3))
        second.settle(given, Usage(1, 20, 30))
        with pytest.raises(LimitSpentError, match="60 of 60 tokens are spent"):
            await second.reserve(BODY)
        await first.close()
        await second.close()

    asyncio.run(ask())
    assert reread(forest).ledger == Usage(3, 24, 36).as_dict()
    assert reread(forest).reservations == {}


def test_of_many_requests_at_once_only_those_are_sent_that_fit():
    forest = limited(1, max_requests=10)
    mine = [ForestBudget(forest) for _ in range(4)]

    async def ask() -> int:
        wishes = [one.reserve(BODY) for one in mine for _ in range(16)]
        tasks = [asyncio.create_task(wish) for wish in wishes]
        await asyncio.sleep(1)
        granted = [task for task in tasks if task.done()]
        for number, task in enumerate(tasks):
            if task.done():
                mine[number // 16].settle(task.result(), Usage(1, 5, 5))
        rest = await asyncio.gather(*tasks, return_exceptions=True)
        for one in mine:
            await one.close()
        assert sum(isinstance(one, LimitSpentError) for one in rest) == 64 - 10
        return len(granted)

    assert asyncio.run(ask()) == 10
    assert reread(forest).ledger == Usage(10, 50, 50).as_dict()


def test_requests_that_come_while_a_write_fails_do_not_wait_for_ever():
    budget = ForestBudget(limited(1, max_requests=9))

    def fail(*_: object) -> NoReturn:
        time.sleep(0.3)
        raise AutoReconnect("gone")

    async def ask() -> list[object]:
        first = asyncio.create_task(budget.reserve(BODY))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(budget.reserve(BODY))
        async with asyncio.timeout(10):
            return [*await asyncio.gather(first, second, return_exceptions=True)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForestBudget, "_write", fail)
        found = asyncio.run(ask())

    assert [type(one) for one in found] == [AutoReconnect, AutoReconnect]


def test_whoever_gives_up_while_it_waits_holds_nothing():
    forest = limited(1, max_requests=1)
    budget = ForestBudget(forest)

    async def ask() -> None:
        held = await budget.reserve(BODY)
        waiting = asyncio.create_task(budget.reserve(BODY))
        await asyncio.sleep(0.2)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        budget.settle(held, Usage(requests=1))
        await budget.close()

    asyncio.run(ask())
    assert reread(forest).ledger == Usage(requests=1).as_dict()
    assert reread(forest).reservations == {}


def test_whoever_gives_up_at_the_moment_of_its_refusal_gives_nothing_back(monkeypatch):
    forest = limited(1, max_requests=1)
    budget = ForestBudget(forest)
    refuse = budgets._refuse

    async def ask() -> None:
        budget.settle(await budget.reserve(BODY), Usage(requests=1))
        late = asyncio.create_task(budget.reserve(BODY))

        def refuse_and_cancel(wishes: Any, error: Exception) -> None:
            refuse(wishes, error)
            late.cancel()

        monkeypatch.setattr(budgets, "_refuse", refuse_and_cancel)
        with pytest.raises(asyncio.CancelledError):
            await late
        await budget.close()

    asyncio.run(ask())
    assert reread(forest).ledger == Usage(requests=1).as_dict()
    assert reread(forest).reservations == {}


def test_a_limit_that_is_raised_lets_those_pass_that_wait():
    forest = limited(1, max_requests=1)
    budget = ForestBudget(forest)

    async def ask() -> None:
        await budget.reserve(BODY)
        waiting = asyncio.create_task(budget.reserve(BODY))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(change, forest, max_requests=None)
        await asyncio.wait_for(waiting, 5)

    asyncio.run(ask())
    assert reread(forest).committed.requests == 2


@pytest.mark.parametrize("before", [Usage(), Usage(2, 20, 30)], ids=["first", "later"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_worker_that_was_taken_for_dead_goes_on_with_a_ledger_that_is_right(before, times):
    """Its requests were counted with the average of those before, if there were any."""
    forest = limited(1, max_requests=9, max_tokens_total=100_000, ledger=before.as_dict())
    budget = ForestBudget(forest)

    def take_for_dead() -> None:
        ours = f"reservations.{key_of(budget.holder)}"
        change(forest, **{f"{ours}.at": time.time() - 60, f"{ours}.holder": "elsewhere/1/2/3"})
        assert free_dead(reread(forest)) == 1
        assert free_dead(reread(forest)) == 0
        assert reread(forest).reserved == Usage()

    async def ask() -> None:
        waiting = [await budget.reserve(BODY), await budget.reserve(BODY)]
        for _ in range(times):
            await asyncio.to_thread(take_for_dead)
            budget.settle(waiting.pop(), Usage(1, 4, 5))
            waiting.append(await budget.reserve(BODY))
        for one in waiting:
            budget.settle(one, Usage(1, 4, 5))
        await budget.close()

    asyncio.run(ask())
    number = times + 2
    assert reread(forest).used == before + Usage(number, 4 * number, 5 * number)
    assert reread(forest).reservations == {}


def test_what_was_counted_for_a_worker_that_stays_away_is_forgotten_after_a_day():
    forest = limited(1, max_requests=5)
    away = {"holder": "other/0123/ab/1", "at": time.time() - 60, "requests": 1}
    key = key_of("other/0123/ab/1")
    change(forest, ledger={"requests": 1}, reservations={key: away})

    assert free_dead(reread(forest)) == 1
    change(forest, **{f"reservations.{key}.at": time.time() - budgets.SECONDS_TO_COME_BACK - 1})
    free_dead(reread(forest))

    assert reread(forest).reservations == {}
    assert reread(forest).used == Usage(requests=1)


def test_a_ledger_begins_with_what_an_older_version_counted(model_server: OpenAIServer):
    forest = limited(4)
    change(forest, requests=10, prompt_tokens=100, completion_tokens=20, max_requests=12)

    jobs.grow_slice(forest.name, 0, 4)

    assert model_server.num_asked == 2
    assert reread(forest).used.requests == 12


def test_a_request_that_times_out_counts_as_the_others_did(model_server: OpenAIServer):
    forest = seeded(2, concurrency=1, request_timeout_seconds=0.3, max_attempts=3)
    model_server.faults.extend([Fault(hangs_seconds=1.0)] * 1)

    jobs.grow_slice(forest.name, 0, 2)

    grown = reread(forest)
    assert grown.used.requests == grown.requests == model_server.num_asked
    assert grown.failures == {"timeout": 1}
