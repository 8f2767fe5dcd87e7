"""Plugins: installed packages add to our built-in things by entry points.

For example, a package names a growth strategy in its pyproject.toml:

    [project.entry-points."prm.strategies"]
    two_by_two = "prm_two_by_two:TwoByTwo"

It is imported only when somebody asks for `two_by_two`.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from common.errors import UserError
from common.text import describe

T = TypeVar("T")


class PluginError(UserError):
    """A plugin cannot be used; the message is one line that names its package and the remedy."""


@dataclass(frozen=True, slots=True)
class _Plugin:
    entry: EntryPoint
    package: str
    """Name and version."""


class Registry(Mapping[str, T]):
    """All things of one kind by name: built-in ones first, then those of plugins."""

    def __init__(
        self,
        group: str,
        kind: str,
        built_in: Mapping[str, T],
        problem: Callable[[str, object], str],
    ) -> None:
        """Describe one kind of plugin.

        Args:
            group: the group of entry points, such as `prm.strategies`.
            kind: the word for one such thing in messages.
            built_in: the built-in ones, by name.
            problem: takes the name and the loaded object; returns what is wrong with the object,
                or an empty text.
        """
        self.group = group
        self.kind = kind
        self.built_in = built_in
        self._problem = problem

    def __getitem__(self, name: str) -> T:
        """Return the thing with this name.

        Raises:
            KeyError: the name is unknown.
            PluginError: the plugin cannot be loaded or does not fit, or several packages give the
                name.
        """
        found = self._of_plugins(name)
        owners = [*(["prm-site"] if name in self.built_in else []), *(one.package for one in found)]
        if len(owners) > 1:
            raise PluginError(
                f"{self.kind} {name!r} is a name that several packages give ({', '.join(owners)}): "
                "uninstall one, or have it renamed"
            )
        if not found:
            return self.built_in[name]
        return self._loaded(found[0])

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.built_in, *sorted(_entry_points(self.group))]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        """Return whether something has this name, whether or not it can be loaded."""
        return name in self.built_in or name in _entry_points(self.group)

    def package(self, name: str) -> str:
        """Return the package and version of a plugin; empty for a built-in thing."""
        found = self._of_plugins(name)
        return found[0].package if found and name not in self.built_in else ""

    def _of_plugins(self, name: str) -> Sequence[_Plugin]:
        return _entry_points(self.group).get(name, [])

    def _loaded(self, plugin: _Plugin) -> T:
        where = f"{self.kind} {plugin.entry.name!r} of package {plugin.package}"
        try:
            loaded = plugin.entry.load()
        except (Exception, SystemExit) as error:  # code of a plugin may raise anything
            raise PluginError(
                f"{where} cannot be loaded ({describe(error)}): upgrade the package, or uninstall "
                "it"
            ) from error
        if problem := self._problem(plugin.entry.name, loaded):
            raise PluginError(f"{where} {problem}: see docs/extending.md")
        found: T = loaded
        return found


def _entry_points(group: str) -> Mapping[str, Sequence[_Plugin]]:
    return _found(group, tuple(sys.path))


@cache
def _found(group: str, _path: tuple[str, ...]) -> Mapping[str, Sequence[_Plugin]]:
    """Return the entry points of a group by name, each once.

    Python may find a package twice: in a checkout, and where it is installed.
    """
    found: defaultdict[str, dict[str, _Plugin]] = defaultdict(dict)
    for entry in entry_points(group=group):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.module
        found[entry.name].setdefault(package, _Plugin(entry, package))
    return {name: list(ones.values()) for name, ones in found.items()}
