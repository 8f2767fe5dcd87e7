"""Find and load a config by name, with what identifies it later."""

import hashlib
import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from experiment_configs.interfaces import ConfigError, RolloutConfig, RolloutWorkerConfig
from experiment_configs.messages import describe

BUILT_IN_DIRECTORY = Path(__file__).parent / "rollout"

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A config and where it came from."""

    name: str
    config: RolloutConfig
    path: Path
    source: str
    sha256: str
    git_commit: str
    """Commit of the file's repository, with `-dirty` where the file differs; empty without git."""
    git_branch: str


def load_config(name: str, directories: Sequence[Path] = ()) -> LoadedConfig:
    """Return the config `<name>.py` of the first directory that has it, or the built-in one.

    Raises:
        ConfigError: the name is not allowed or unknown, or the module is no usable config.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"config name {name!r} is not allowed: use a-z, digits after the first letter, and _"
        )
    path = _find(name, directories)
    source = _read(path)
    config = _make_config(_import(name, path), path)
    commit, branch = _git_version(path)
    return LoadedConfig(
        name=name,
        config=config,
        path=path,
        source=source,
        sha256=hashlib.sha256(source.encode()).hexdigest(),
        git_commit=commit,
        git_branch=branch,
    )


def config_names(directories: Sequence[Path] = ()) -> list[str]:
    """Return the names of all configs that can be loaded."""
    files = [path for place in (*directories, BUILT_IN_DIRECTORY) for path in place.glob("*.py")]
    return sorted({path.stem for path in files if _NAME.fullmatch(path.stem)})


def _find(name: str, directories: Sequence[Path]) -> Path:
    for directory in directories:
        if not directory.is_dir():
            raise ConfigError(f"PRM_CONFIG_PATH names {directory}, which is no directory")
    for directory in (*directories, BUILT_IN_DIRECTORY):
        if (path := directory / f"{name}.py").is_file():
            return path
    known = ", ".join(config_names(directories))
    raise ConfigError(
        f"no config named {name!r}: known are {known}; PRM_CONFIG_PATH adds directories"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"config {path} is not UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"config {path} cannot be read: {error.strerror}") from error


def _import(name: str, path: Path) -> ModuleType:
    """Return the module of a file; its directory can be imported from, for users' helpers."""
    if str(path.parent) not in sys.path and path.parent != BUILT_IN_DIRECTORY:
        sys.path.append(str(path.parent))
    module_name = f"prm_experiment_config_{name}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look a class's module up by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise ConfigError(
            f"config {path} cannot be imported: {_describe_place(error, path)}"
        ) from error
    return module


def _make_config(module: ModuleType, path: Path) -> RolloutConfig:
    found = getattr(module, "Config", None)
    if not (isinstance(found, type) and issubclass(found, RolloutConfig)):
        raise ConfigError(f"config {path} needs a class named Config(RolloutConfig)")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ConfigError(f"class Config in {path} does not define {missing}")
    if not isinstance(found.rollout_worker_config, RolloutWorkerConfig):
        raise ConfigError(
            f"rollout_worker_config in {path} must be a RolloutWorkerConfig, "
            f"not {type(found.rollout_worker_config).__name__}"
        )
    try:
        return found()
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"class Config in {path} cannot be created: {_describe_place(error, path)}"
        ) from error


def _describe_place(error: BaseException, path: Path) -> str:
    """Return the kind, message and line of an error in a user's file."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} (line {error.lineno})"
    lines = [
        frame.lineno
        for frame in inspect.getinnerframes(error.__traceback__)  # type: ignore[arg-type]
        if frame.filename == str(path)
    ]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{describe(error)}{where}"


def _git_version(path: Path) -> tuple[str, str]:
    commit = _git(path, "rev-parse", "HEAD")
    if not commit:
        return "", ""
    if _git(path, "status", "--porcelain", "--", path.name):
        commit += "-dirty"
    return commit, _git(path, "rev-parse", "--abbrev-ref", "HEAD")


def _git(path: Path, *arguments: str) -> str:
    """Return what git says about a file's repository; empty without git or repository."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=path.parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
