"""Find and load a config by name, and identify it later."""

import hashlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from common.text import describe
from experiment_configs.interfaces import ConfigError, RolloutConfig, RolloutWorkerConfig
from experiment_configs.modules_beside import (
    BUILT_IN_DIRECTORY,
    imports_from,
    joined,
    parts_of,
    sources_beside,
)

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A config and its origin."""

    name: str
    config: RolloutConfig
    path: Path
    source: str
    """Text of the file, then of the modules beside it that it imports, each below its name."""
    sha256: str
    """SHA-256 of `source`."""
    file_sha256: str
    """SHA-256 of the file alone, as earlier versions recorded it."""
    git_commit: str
    """Commit of the file's repository; empty without git.

    It ends in `-dirty` if one of the files differs from the commit.
    """
    git_branch: str

    def is_same(self, sha256: str) -> bool:
        """Return whether a forest with this recorded SHA-256 was seeded from this config.

        Earlier versions hashed only the file. For their forests this does not detect changes to
        modules beside it.
        """
        return sha256 in (self.sha256, self.file_sha256)

    def changed_files(self, source: str) -> list[str]:
        """Return the names of the files that differ from an earlier `source`."""
        before, now = (parts_of(text, self.path.name) for text in (source, self.source))
        names = before.keys() | now.keys()
        changed = sorted(name for name in names if before.get(name) != now.get(name))
        return changed or [self.path.name]  # only line ends differ


def load_config(name: str, directories: Sequence[Path] = ()) -> LoadedConfig:
    """Return the config `<name>.py` from the first directory that has it, or the built-in one.

    Raises:
        ConfigError: the name is invalid or unknown, or the module does not define a valid
            config.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"config name {name!r} is not allowed: use a-z, digits after the first letter, and _"
        )
    path = Path(os.path.abspath(_find(name, directories)))  # noqa: PTH100  as `sys.modules` has it
    file_source = _read(path)
    with imports_from(path.parent) as imported:
        config = _make_config(_import(name, path), path)
    beside = sources_beside(path, file_source, imported)
    source = joined(file_source, {key: _read(file) for key, file in beside.items()})
    commit, branch = _git_version(path, beside)
    return LoadedConfig(
        name=name,
        config=config,
        path=path,
        source=source,
        sha256=hashlib.sha256(source.encode()).hexdigest(),
        file_sha256=hashlib.sha256(file_source.encode()).hexdigest(),
        git_commit=commit,
        git_branch=branch,
    )


def config_names(directories: Sequence[Path] = ()) -> list[str]:
    """Return the names of all available configs."""
    files = [path for place in (*directories, BUILT_IN_DIRECTORY) for path in place.glob("*.py")]
    return sorted({path.stem for path in files if _NAME.fullmatch(path.stem)})


def _find(name: str, directories: Sequence[Path]) -> Path:
    for directory in directories:
        if not directory.is_dir():
            raise ConfigError(f"PRM_CONFIG_PATH names {directory}, which is not a directory")
    for directory in (*directories, BUILT_IN_DIRECTORY):
        if (path := directory / f"{name}.py").is_file():
            return path
    known = ", ".join(config_names(directories))
    raise ConfigError(
        f"no config named {name!r} (known: {known}); PRM_CONFIG_PATH adds directories"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"config {path} is not UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"config {path} cannot be read: {error.strerror}") from error


def _import(name: str, path: Path) -> ModuleType:
    module_name = f"prm_experiment_config_{name}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickle look up a class's module by name
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
    """Return the type, message and line of an error in a user's file."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} (line {error.lineno})"
    lines = [
        frame.lineno
        for frame in inspect.getinnerframes(error.__traceback__)  # type: ignore[arg-type]
        if frame.filename == str(path)
    ]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{describe(error)}{where}"


def _git_version(path: Path, beside: Iterable[str]) -> tuple[str, str]:
    """Return the commit and the branch of a file; empty without a commit or for an ignored file."""
    asked = ("status", "--porcelain=v2", "--branch", "--ignored", "-z", "--", path.name, *beside)
    lines = _git(path, *asked).split("\0")
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    commit, branch = heads.get("branch.oid", ""), heads.get("branch.head", "")
    ignored = [line[2:] for line in lines if line.startswith("! ")]
    if commit in ("", "(initial)") or any(_covers(one, path.name) for one in ignored):
        return "", ""  # no commit has an ignored file, such as one in an environment
    if any(line[0] not in "#!" for line in lines if line):
        commit += "-dirty"
    return commit, "HEAD" if branch == "(detached)" else branch


def _covers(ignored: str, name: str) -> bool:
    """Return whether an ignored path is the file of this name, or a directory around it."""
    return ignored.endswith("/") or ignored.rpartition("/")[2] == name


def _git(path: Path, *arguments: str) -> str:
    """Return git's output about a file's repository; empty without git or a repository."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            cwd=path.parent,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
