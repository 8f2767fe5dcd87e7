"""Which embedded services run on a data directory: read by the settings, so no Django here."""

import json
import os
from pathlib import Path

SERVICES = ("mongodb", "queue", "model")


def registry_path(data_dir: Path, service: str) -> Path:
    return data_dir / "services" / f"{service}.json"


def running_addresses(data_dir: Path) -> dict[str, str]:
    """Return the address of each service whose process is alive."""
    found = {}
    for service in SERVICES:
        try:
            entry = json.loads(registry_path(data_dir, service).read_text())
            os.kill(entry["pid"], 0)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found[service] = entry["address"]
    return found
