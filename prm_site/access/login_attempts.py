"""How django-axes counts and logs attempts to log in."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any

from axes.handlers.cache import AxesCacheHandler
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, User
from django.http import HttpRequest


class AttemptHandler(AxesCacheHandler):
    """Counts failures in the cache. A success resets those of the name, not those of the address.

    Otherwise attackers could reset the count of their address by logging in to their own account.
    """

    def user_logged_in(
        self, sender: object, request: HttpRequest, user: AbstractBaseUser, **more: object
    ) -> None:
        super().user_logged_in(sender, request, user, **more)  # type: ignore[no-untyped-call]
        self.reset_attempts(username=attempted_name(request, {"username": user.get_username()}))


class CountSerializer:
    """Stores whole numbers only: Django's own serializer unpickles data that others may write."""

    def dumps(self, value: int) -> int:
        return value

    def loads(self, data: bytes) -> int:
        return int(data)


def client_address(request: HttpRequest) -> str | None:
    """Return the address from which a request reached our outermost proxy.

    Entries further left in `X-Forwarded-For` come from clients and cannot be trusted. For IPv6
    this returns the address of the /64 network, because one visitor has all addresses of a network.
    """
    remote = request.META.get("REMOTE_ADDR") or None
    own = (_counted(remote) or remote) if remote else None
    hops = [one.strip() for one in request.headers.get("X-Forwarded-For", "").split(",")]
    if not settings.PROXY_COUNT or len(hops) < settings.PROXY_COUNT:
        return own
    return _counted(hops[-settings.PROXY_COUNT]) or own


def attempted_name(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """Return the name under which to count an attempt.

    django-axes counts names and addresses in one key space. Without the mark, an attempt with an
    address as its user name would lock out everybody at that address.
    """
    name = str((credentials or request.POST).get("username") or "")
    return f"{name} (a name)" if _address(name) else name


def who_tried(
    username: str | None, address: str | None, _agent: str, _path: str, _request: HttpRequest
) -> str:
    """Return the text of a log line about an attempt.

    Contains only names of existing users: an unknown name may be a password in the wrong field.
    """
    is_user = User.objects.filter(username=username).exists()
    return f"{username if is_user else 'nobody of this site'} at {address or 'no address'}"


def _counted(text: str) -> str | None:
    """Return the address under which to count a visitor's failures; None if there is none."""
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
