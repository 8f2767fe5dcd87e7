"""The rule for addresses of model servers, shared by configs, settings and commands."""

from urllib.parse import parse_qsl, urlsplit

SCHEMES = ("http", "https")

_SECRETS = ("key", "token", "secret", "sig")


def is_server_address(value: object) -> bool:
    """Return whether a value is a well-formed address that starts with http:// or https://."""
    if not isinstance(value, str) or any(map(str.isspace, value)):
        return False
    try:
        parts = urlsplit(value)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return parts.scheme in SCHEMES and has_host


def has_user(address: str) -> bool:
    """Return whether a well-formed address has a user before its host."""
    return "@" in urlsplit(address).netloc


def has_secret(address: str) -> bool:
    """Return whether a well-formed address holds a secret, which must not be stored or shown."""
    fields = parse_qsl(urlsplit(address).query, keep_blank_values=True)
    names = [name.lower() for name, _ in fields]
    return has_user(address) or any(secret in name for name in names for secret in _SECRETS)
