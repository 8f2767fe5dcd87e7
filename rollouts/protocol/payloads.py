"""Read the text of a successful answer, and say what it is where it is not JSON."""

import json
from typing import Any


class PayloadError(ValueError):
    """An answer is not JSON; the message says what it is instead."""


class StreamedError(PayloadError):
    """An answer is a stream of events, which nobody asked for."""


def read_payload(content: bytes) -> Any:
    """Return the JSON of an answer.

    Raises:
        PayloadError: it is a web page, an empty body, or another text.
        RecursionError: it is nested too deep.
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
