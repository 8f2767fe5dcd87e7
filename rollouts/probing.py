"""Ask a server how it continues a chat message, before anything is built on it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from rollouts.core.probing import Continuation, Reply, probe_body, read_reply
from rollouts.failures import BackendRefusedError, RequestFailedError

log = structlog.stdlib.get_logger(__name__)


async def find_continuation(
    ask: Callable[[Mapping[str, Any]], Awaitable[str]], model: str
) -> Continuation:
    """Return the first way of asking in which the server continues a message.

    `ask` posts a body and returns the text of the answer. Where the answers are unclear, as those
    of small models are, it is the first way that the server accepts.

    Raises:
        BackendRefusedError: the server begins each answer from the start.
        BackendError: it does not answer, or refuses every way.
    """
    unclear: list[Continuation] = []
    refusal: RequestFailedError | None = None
    for way in Continuation:
        try:
            reply = read_reply(await ask(probe_body(model, way)))
        except RequestFailedError as error:  # an unknown field: another way may do
            refusal = error
            continue
        log.info("asked to continue a message", way=str(way), reply=str(reply))
        if reply is Reply.CONTINUED:
            return way
        if reply is Reply.UNCLEAR:
            unclear.append(way)
    if unclear:
        return unclear[0]
    raise BackendRefusedError(
        "the model server does not continue a chat message"
        + (f" ({refusal})" if refusal else ", it begins the answer from the start")
        + ": use strategy='sampled', or api='completions' with the model's chat template in the "
        "prompt"
    )
