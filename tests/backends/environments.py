"""An environment for each backend, because their packages exclude each other, and its weights."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements")
STAND_IN = '''\
"""Stands for a package that texts do not need: whatever is imported from it holds nothing."""

import importlib.abc
import importlib.machinery
import sys
import types

__version__ = "0"


class _Nothing(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Nothing(name)

    def __call__(self, *args, **kwargs):
        return self


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.startswith(__name__ + "."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return _Nothing(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.append(_Finder())


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _Nothing(name)
'''
_SECONDS_TO_INSTALL = 1800
_SECONDS_TO_DEQUANTISE = 600


class PreparationError(Exception):
    """A backend cannot be installed, or its weights cannot be made; the message is one line."""


def environment_key(
    name: str,
    unwanted: Sequence[str],
    stand_ins: Sequence[str],
    requirements: Path = REQUIREMENTS,
) -> str:
    """Return a key of an environment; if the key differs, the environment must be made again."""
    bare = requirements / f"{name}-bare.txt"
    pins = (requirements / f"{name}.txt").read_text()
    bare_pins = bare.read_text() if bare.is_file() else ""
    wanted = f"{sys.version} {pins} {bare_pins} {unwanted} {stand_ins} {STAND_IN}"
    return hashlib.sha256(wanted.encode()).hexdigest()


def ensure_environment(
    folder: Path,
    name: str,
    unwanted: Sequence[str] = (),
    stand_ins: Sequence[str] = (),
    *,
    requirements: Path = REQUIREMENTS,
    base: Path | None = None,
) -> Path:
    """Return the Python of an environment with the pinned packages of `<name>.txt`.

    Makes the environment if there is none for these pins. Pins of `<name>-bare.txt` are installed
    without their dependencies. `unwanted`: packages that are uninstalled at the end. `stand_ins`:
    modules that are made empty, so that they can be imported. `requirements`: the folder of the
    pins. `base`: the Python of another environment; this one uses its packages too.

    Raises:
        PreparationError: a package cannot be installed.
    """
    pins, bare = requirements / f"{name}.txt", requirements / f"{name}-bare.txt"
    key = environment_key(name, unwanted, stand_ins, requirements)
    environment, marker = folder / name, folder / name / "installed"
    python = environment / "bin" / "python"
    if marker.is_file() and marker.read_text() == key:
        return python
    shutil.rmtree(environment, ignore_errors=True)
    log = folder / f"{name}-install.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    _run([sys.executable, "-m", "venv", str(environment)], log, _SECONDS_TO_INSTALL)
    if base:
        (_packages(environment) / "base.pth").write_text(f"{_packages(base.parent.parent)}\n")
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    install = [*pip, "install", "--quiet", "--no-compile"]  # most modules are never imported
    _run([*install, "--requirement", str(pins)], log, _SECONDS_TO_INSTALL)
    if bare.is_file():
        _run([*install, "--no-deps", "--requirement", str(bare)], log, _SECONDS_TO_INSTALL)
    if unwanted:
        _run([*pip, "uninstall", "--quiet", "--yes", *unwanted], log, _SECONDS_TO_INSTALL)
    for module in stand_ins:
        _write_stand_in(environment, module)
    marker.write_text(key)
    return python


def ensure_folder_of_weights(python: Path, gguf: Path) -> Path:
    """Return the weights of a GGUF file as a folder that the environment's transformers wrote.

    Raises:
        PreparationError: it cannot be made.
    """
    script = Path(__file__).with_name("dequantise.py")
    version = hashlib.sha256(script.read_bytes()).hexdigest()[:8]
    folder = python.parent.parent / "weights" / f"{gguf.stem}-{version}"
    if folder.is_dir():
        return folder
    unfinished = folder.with_suffix(".unfinished")
    log = python.parent.parent / "dequantise.log"
    log.write_bytes(b"")
    _run([str(python), str(script), str(gguf), str(unfinished)], log, _SECONDS_TO_DEQUANTISE)
    return unfinished.rename(folder)


def _write_stand_in(environment: Path, module: str) -> None:
    folder = _packages(environment) / module
    folder.mkdir()
    (folder / "__init__.py").write_text(STAND_IN)


def _packages(environment: Path) -> Path:
    (packages,) = environment.glob("lib/python*/site-packages")
    return packages


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
