"""An environment for each backend, as their packages exclude each other, and its weights."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements")
_SECONDS_TO_INSTALL = 1800
_SECONDS_TO_DEQUANTISE = 600


class PreparationError(Exception):
    """A backend cannot be installed, or its weights not be made; the message is one line."""


def ensure_environment(folder: Path, name: str, unwanted: Sequence[str]) -> Path:
    """Return the Python of an environment with a backend's pinned packages.

    Makes the environment where there is none for these pins. `unwanted`: packages that are taken
    out again.

    Raises:
        PreparationError: a package cannot be installed.
    """
    pins = REQUIREMENTS / f"{name}.txt"
    key = hashlib.sha256(f"{sys.version} {pins.read_text()} {unwanted}".encode()).hexdigest()
    environment, marker = folder / name, folder / name / "installed"
    python = environment / "bin" / "python"
    if marker.is_file() and marker.read_text() == key:
        return python
    shutil.rmtree(environment, ignore_errors=True)
    log = folder / f"{name}-install.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    _run([sys.executable, "-m", "venv", str(environment)], log, _SECONDS_TO_INSTALL)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    _run([*pip, "install", "--quiet", "--requirement", str(pins)], log, _SECONDS_TO_INSTALL)
    if unwanted:
        _run([*pip, "uninstall", "--quiet", "--yes", *unwanted], log, _SECONDS_TO_INSTALL)
    marker.write_text(key)
    return python


def ensure_folder_of_weights(python: Path, gguf: Path) -> Path:
    """Return the weights of a GGUF file as a folder that the environment's transformers wrote.

    Raises:
        PreparationError: it cannot be made.
    """
    folder = python.parent.parent / "weights" / gguf.stem
    if folder.is_dir():
        return folder
    unfinished = folder.with_suffix(".unfinished")
    script = Path(__file__).with_name("dequantise.py")
    log = python.parent.parent / "dequantise.log"
    log.write_bytes(b"")
    _run([str(python), str(script), str(gguf), str(unfinished)], log, _SECONDS_TO_DEQUANTISE)
    return unfinished.rename(folder)


def _run(command: list[str], log: Path, seconds: float) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    try:
        with log.open("ab") as output:
            subprocess.run(
                command, stdout=output, stderr=output, env=environment, timeout=seconds, check=True
            )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        lines = log.read_text(errors="replace").strip().splitlines() or [str(error)]
        raise PreparationError(f"{lines[-1][:300]} (see {log})") from error
