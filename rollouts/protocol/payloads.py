"""Parse the body of a successful response, or say what it is instead of JSON."""

import json
from typing import Any


class PayloadError(ValueError):
    """A response is not JSON; the message says what it is instead."""


class StreamedError(PayloadError):
    """A response is an event stream, although the request did not ask for one."""


def read_payload(content: bytes) -> Any:
    """Return the parsed JSON of a response.

    Raises:
        PayloadError: the body is a web page, empty, or other text.
        RecursionError: the JSON is nested too deep.
    """
    try:
        return json.loads(content)
    except ValueError:
        beginning = content[:200].decode(errors="replace").lstrip().lower()
    if beginning.startswith(("data:", "event:", ": ", "id:")):
        raise StreamedError("answers with an event stream, which was not asked for")
    if beginning.startswith("<"):
        raise PayloadError("did not answer with JSON but with a web page")
    if not beginning:
        raise PayloadError("did not answer with JSON: the answer is empty")
    raise PayloadError("did not answer with JSON")
