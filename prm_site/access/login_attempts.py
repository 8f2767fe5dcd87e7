"""Who tries to log in, as django-axes counts and logs it."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any

from axes.handlers.cache import AxesCacheHandler
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, User
from django.http import HttpRequest


class AttemptHandler(AxesCacheHandler):
    """Counts failures in the cache; a success ends those of the name, not those of the address.

    Who guesses the passwords of others would clear the address with a login of their own.
    """

    def user_logged_in(
        self, sender: object, request: HttpRequest, user: AbstractBaseUser, **more: object
    ) -> None:
        super().user_logged_in(sender, request, user, **more)  # type: ignore[no-untyped-call]
        self.reset_attempts(username=attempted_name(request, {"username": user.get_username()}))


class CountSerializer:
    """Whole numbers alone: Django's own runs what somebody else put into the queue's server."""

    def dumps(self, value: int) -> int:
        return value

    def loads(self, data: bytes) -> int:
        return int(data)


def client_address(request: HttpRequest) -> str | None:
    """Return the address from which a request came to the outermost proxy of our own.

    What stands further left in `X-Forwarded-For` was written by strangers. Of IPv6 it is that of
    the network (/64), all of whose addresses are one visitor's.
    """
    remote = request.META.get("REMOTE_ADDR") or None
    own = (_counted(remote) or remote) if remote else None
    hops = [one.strip() for one in request.headers.get("X-Forwarded-For", "").split(",")]
    if not settings.PROXY_COUNT or len(hops) < settings.PROXY_COUNT:
        return own
    return _counted(hops[-settings.PROXY_COUNT]) or own


def attempted_name(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """Return the user name of an attempt, as it is counted.

    Names and addresses are counted in one place, under what they are: who named an address would
    lock everybody there out.
    """
    name = str((credentials or request.POST).get("username") or "")
    return f"{name} (a name)" if _address(name) else name


def who_tried(
    username: str | None, address: str | None, _agent: str, _path: str, _request: HttpRequest
) -> str:
    """Return what a log line says of an attempt.

    The name of a user only: what is nobody's name may be a password in the wrong field.
    """
    is_user = User.objects.filter(username=username).exists()
    return f"{username if is_user else 'nobody of this site'} at {address or 'no address'}"


def _counted(text: str) -> str | None:
    """Return the address under which a visitor's failures are counted; None where it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), 64), strict=False).network_address)


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
