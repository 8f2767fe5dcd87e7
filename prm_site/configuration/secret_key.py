"""Secrets that the site makes itself, each kept in a file beside the embedded data."""

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path


def read_or_create_secret_key(data_dir: Path) -> str:
    """Return the development site's key in `data_dir`, and create it on the first call.

    If the directory is not writable, each process has a new key.
    """
    try:
        return read_or_create_secret(data_dir / "secret_key", num_bytes=50)
    except OSError:
        return secrets.token_urlsafe(50)


def read_or_create_secret(path: Path, num_bytes: int) -> str:
    """Return the secret in a file, and create it on the first call.

    Processes that call this at once all get the same secret.

    Raises:
        OSError: the file cannot be read, written or locked.
    """
    with suppress(FileNotFoundError):
        if secret := path.read_text().strip():
            return secret
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (secret := file.read().strip()):
            secret = secrets.token_urlsafe(num_bytes)
            file.write(secret)
        return secret
