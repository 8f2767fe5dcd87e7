"""Modules that a config imports from its own directory: they are part of the config."""

import ast
import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_BUILT_IN = "experiment_configs.rollout"
BUILT_IN_DIRECTORY = Path(__file__).parent / "rollout"

_HEADING = "# ======== {name}, imported from beside the config ========\n"
_directories: list[str] = []
"""Directories of loaded configs in `sys.path`, the latest first."""
_kept: set[str] = set()
"""Names of modules that were loaded before a config's directory was added: the program's own."""


@contextmanager
def imports_from(directory: Path) -> Iterator[set[str]]:
    """Let a config import the current modules of its directory.

    Yields a set. After the block it holds the names of the modules that the block imported from the
    directory. Modules with the same name beside different configs are different modules.
    """
    if directory == BUILT_IN_DIRECTORY:
        yield set()
        return
    _forget()
    _put_first(str(directory))
    importlib.invalidate_caches()
    before, names = set(sys.modules), set[str]()
    # Python compares a compiled file only with the second of the last change and the size of the
    # source, so it may miss a change. Never write one: methods of the config may import later.
    sys.dont_write_bytecode = True
    try:
        yield names
    finally:
        names |= {name for name in set(sys.modules) - before if _files(name, directory)}


def sources_beside(path: Path, source: str, imported: Iterable[str]) -> dict[str, Path]:
    """Return the files beside a config that it needs, by their names relative to its directory.

    These are the modules that the config has imported, and those that an `import` statement in it,
    or in one of these modules, may import later.
    """
    directory, found = path.parent, dict[str, Path]()
    waiting = [*imported, *_imports(source, ())]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for package, file in _files(name, directory):
            key = file.relative_to(directory).as_posix()
            if file != path and key not in found:
                found[key] = file
                waiting += _imports(file.read_text("utf-8", errors="replace"), package)
    return dict(sorted(found.items()))


def joined(source: str, beside: dict[str, str]) -> str:
    """Return one text of a config and the modules beside it; without modules, the config's."""
    parts = [_HEADING.format(name=name) + text for name, text in beside.items()]
    return "\n".join([source, *parts])


def parts_of(text: str, name: str) -> dict[str, str]:
    """Return the files in a text that `joined` made, by name; `name` is the config's."""
    start, end = _HEADING.rstrip("\n").split("{name}")
    parts, current = {name: list[str]()}, name
    for line in text.splitlines():
        if line.startswith(start) and line.endswith(end):
            current = line.removeprefix(start).removesuffix(end)
            parts[current] = []
        else:
            parts[current].append(line)
    return {key: "\n".join(lines).rstrip() for key, lines in parts.items()}


def _forget() -> None:
    """Make Python import all modules beside configs again when they are next needed."""
    tops = {name.partition(".")[0] for name in sys.modules}
    directories = {Path(one) for one in _directories}
    beside = {top for top in tops if not directories.isdisjoint(_found_in(top))}
    for name in list(sys.modules):
        if name.partition(".")[0] in beside and name not in _kept:
            del sys.modules[name]


def _put_first(directory: str) -> None:
    """Put a directory on the search path: before those of other configs, after all others."""
    known = [one for one in _directories if one in sys.path and one != directory]
    if directory in sys.path and directory not in _directories:
        return  # the user has put it there
    if directory not in _directories:
        _kept.update(sys.modules)
    sys.path[:] = [one for one in sys.path if one not in _directories]
    _directories[:] = [directory, *known]
    sys.path += _directories


def _files(name: str, directory: Path) -> list[tuple[tuple[str, ...], Path]]:
    """Return the files that run when a module of a directory is imported, with their packages.

    Returns an empty list if Python finds a module with this name elsewhere.
    """
    if directory == BUILT_IN_DIRECTORY:
        if not name.startswith(f"{_BUILT_IN}."):
            return []
        prefix, name = tuple(_BUILT_IN.split(".")), name.removeprefix(f"{_BUILT_IN}.")
    else:
        prefix = ()
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or not (
        prefix or directory in _found_in(parts[0])
    ):
        return []
    found = []
    for number in range(1, len(parts) + 1):
        base = directory.joinpath(*parts[:number])
        package = (*prefix, *parts[:number])
        if (file := base / "__init__.py").is_file():
            found.append((package, file))
        elif (file := base.with_name(f"{base.name}.py")).is_file():
            found.append((package[:-1], file))
    return found


def _found_in(name: str) -> set[Path]:
    """Return the directories that hold a module or package; several for a namespace package."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return set()
    if spec is None:
        return set()
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    files = [Path(place) for place in places if place is not None]
    files = [file.parent if file.name == "__init__.py" else file for file in files]
    return {file.parent for file in files if file.name in (name, f"{name}.py")}


def _imports(source: str, package: tuple[str, ...]) -> list[str]:
    """Return the names of all modules that a source may import, anywhere in it."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return []  # importing it fails anyway
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, node.module) if node.module else above)
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)] if base else []
    return names
