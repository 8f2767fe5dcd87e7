"""The development site's secret key, created once and kept beside the embedded data."""

import os
import secrets
from pathlib import Path


def read_or_create_secret_key(data_dir: Path) -> str:
    """Return the key in `data_dir`, and create it on the first call.

    If the directory is not writable, each process has a new key.
    """
    path = data_dir / "secret_key"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if key := path.read_text().strip():
            return key
    except OSError:
        pass
    else:
        key = secrets.token_urlsafe(50)
        with os.fdopen(descriptor, "w") as file:
            file.write(key)
        return key
    return secrets.token_urlsafe(50)
