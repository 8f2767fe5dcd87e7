"""How many requests to keep in flight."""

from dataclasses import dataclass

from experiment_configs.interfaces import DEFAULT_CONCURRENCY
from rollouts.sampling.completion_client import CompletionClient


@dataclass(frozen=True, slots=True)
class InFlight:
    """A number of requests, and the reason for it, for messages."""

    number: int
    reason: str


async def find_in_flight(client: CompletionClient) -> InFlight:
    """Return how many requests to keep in flight.

    That is `concurrency` if it is set, else the number of slots that the servers report, else the
    default.
    """
    if (wanted := client.config.concurrency) is not None:
        return InFlight(wanted, "as concurrency says")
    if (slots := await client.num_slots()) is not None:
        return InFlight(slots, "as many as the model server has slots")
    return InFlight(
        DEFAULT_CONCURRENCY, "the default, because the model server does not report its slots"
    )


def shares(total: int, most: int) -> list[int]:
    """Divide requests evenly among up to `most` processes, with at least 1 for each."""
    number = min(total, most)
    return [total // number + (place < total % number) for place in range(number)]
