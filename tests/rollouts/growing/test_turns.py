"""The order in which requests are sent."""

import asyncio

import pytest

from rollouts.growing.turns import Turns


async def in_order(turns: Turns, ranks: list[int]) -> list[int]:
    """Return the ranks in the order in which they got a turn, if all wait at the same time."""
    served: list[int] = []

    async def take(rank: int) -> None:
        async with turns.turn(rank):
            served.append(rank)
            await asyncio.sleep(0)

    async with turns.turn(-1):
        waiting = [asyncio.create_task(take(rank)) for rank in ranks]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    return served


def test_the_tree_that_began_first_is_served_first():
    assert asyncio.run(in_order(Turns(1), [3, 1, 2, 1, 3])) == [1, 1, 2, 3, 3]


def test_for_servers_with_slots_a_tree_without_a_request_in_flight_is_served_first():
    async def beside_a_request_of(rank: int) -> list[int]:
        turns = Turns(2, spreads=True)
        async with turns.turn(rank):
            return await in_order(turns, [1, 1, 2, 3])

    assert asyncio.run(beside_a_request_of(1)) == [2, 3, 1, 1]
    assert asyncio.run(beside_a_request_of(2)) == [1, 1, 3, 2]


def test_no_more_are_in_flight_than_there_are_turns():
    async def most() -> int:
        turns, now, highest = Turns(3), 0, 0

        async def take(rank: int) -> None:
            nonlocal now, highest
            async with turns.turn(rank):
                now += 1
                highest = max(highest, now)
                await asyncio.sleep(0.001)
                now -= 1

        await asyncio.gather(*(take(rank % 4) for rank in range(20)))
        return highest

    assert asyncio.run(most()) == 3


@pytest.mark.parametrize("is_served", [False, True])
def test_a_turn_that_is_cancelled_is_passed_on(is_served: bool):
    async def pass_on() -> list[int]:
        turns, served = Turns(1), list[int]()

        async def take(rank: int) -> None:
            async with turns.turn(rank):
                served.append(rank)

        async with turns.turn(0):
            first, second = (asyncio.create_task(take(rank)) for rank in (1, 2))
            await asyncio.sleep(0)
            if not is_served:
                first.cancel()
        if is_served:
            first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        async with asyncio.timeout(1), turns.turn(3):
            served.append(3)
        return served

    assert asyncio.run(pass_on()) == [2, 3]
