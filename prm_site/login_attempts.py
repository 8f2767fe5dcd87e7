"""Who tries to log in, as django-axes counts it."""

from django.conf import settings
from django.http import HttpRequest


class CountSerializer:
    """Whole numbers alone: Django's own runs what somebody else put into the queue's server."""

    def dumps(self, value: int) -> int:
        return value

    def loads(self, data: bytes) -> int:
        return int(data)


def client_address(request: HttpRequest) -> str | None:
    """Return the address from which a request came to the outermost proxy of our own.

    What stands further left in `X-Forwarded-For` was written by strangers.
    """
    own: str | None = request.META.get("REMOTE_ADDR") or None
    hops = [one.strip() for one in request.headers.get("X-Forwarded-For", "").split(",")]
    if not settings.PROXY_COUNT or len(hops) < settings.PROXY_COUNT:
        return own
    return hops[-settings.PROXY_COUNT] or own
