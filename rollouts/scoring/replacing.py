"""Check that the server can give new scores before the old ones are deleted."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from rollouts.client.backend import Backend
from rollouts.client.failures import NoModelListError
from rollouts.client.spending import Spending
from rollouts.protocol.model_names import is_listed


async def check_server(
    backend: Backend,
    model: str,
    request: tuple[str, Mapping[str, Any]] | None,
    spending: Spending,
    count_tokens: Callable[[Any, Spending], None] = lambda *_: None,
) -> None:
    """Return if the server lists the model, or answers one request.

    Args:
        backend: the server.
        model: the model that the run will ask for.
        request: path and body of the first request of the run; sent only if the server does not
            list the model. None: there is nothing to ask.
        spending: counts the request.
        count_tokens: adds the tokens of an answer to the spending.

    Raises:
        BackendError: the server does not answer, or refuses.
    """
    with contextlib.suppress(NoModelListError):
        if is_listed(model, [one.id for one in await backend.list_models()]):
            return
    if request is not None:
        path, body = request
        await backend.ask(
            path, lambda _: body, lambda response, _: count_tokens(response, spending), spending
        )
