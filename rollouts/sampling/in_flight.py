"""How many requests are kept in flight."""

from dataclasses import dataclass

from experiment_configs.interfaces import DEFAULT_CONCURRENCY
from rollouts.sampling.completion_client import CompletionClient


@dataclass(frozen=True, slots=True)
class InFlight:
    """A number of requests, and where it is from."""

    number: int
    reason: str


async def find_in_flight(client: CompletionClient) -> InFlight:
    """Return how many requests the model servers should have to answer at once.

    `concurrency` where it is set, else as many as the servers say they work on at once, else the
    default.
    """
    if (wanted := client.config.concurrency) is not None:
        return InFlight(wanted, "as concurrency says")
    if (slots := await client.num_slots()) is not None:
        return InFlight(slots, "as many as the model server has slots")
    return InFlight(
        DEFAULT_CONCURRENCY, "the default, as the model server does not say how many it takes"
    )


def shares(total: int, most: int) -> list[int]:
    """Divide requests among up to `most` processes, at least 1 for each, as evenly as can be."""
    number = min(total, most)
    return [total // number + (place < total % number) for place in range(number)]
