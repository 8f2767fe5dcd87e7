"""Write the licences of the packages in `constraints.txt` to docs/licences.md.

The licences are those that the packages state.

python -m deploy.licences
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
GPL = re.compile(r"GPL|General Public License", re.IGNORECASE)

_ROW = re.compile(r"^\| (\S+) \| (.+) \|$", re.MULTILINE)
_FIRST_HEADING = "## Of a site and its workers"


def runtime_packages() -> set[str]:
    """Return the normalised names of all packages that the project needs without extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: set[str] = set()
    waiting = [(Requirement(line), "") for line in project["project"]["dependencies"]]
    while waiting:
        wanted, extra = waiting.pop()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        name = normalised(wanted.name)
        is_new = name not in found
        found.add(name)
        try:
            lines = requires(wanted.name) or []
        except PackageNotFoundError:
            continue
        extras = [*wanted.extras, *([""] if is_new else [])]
        waiting += [(Requirement(line), extra) for line in lines for extra in extras]
    return found


def pinned() -> list[str]:
    """Return the names of the packages in `constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line.partition("==")[0].strip() for line in lines if "==" in line and line[0] != "#"]


def licence_of(package: str) -> str:
    """Return the licence that a package states; empty if it is not installed."""
    try:
        stated = metadata(package)
    except PackageNotFoundError:
        return ""
    if expression := stated.get_all("License-Expression"):
        return str(expression[0])
    classifiers: Sequence[str] = stated.get_all("Classifier") or []
    names = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    return "; ".join(names) or str((stated.get_all("License") or ["not stated"])[0]).splitlines()[0]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def table(packages: Iterable[str]) -> str:
    """Return a table of these packages. One that is not installed here keeps its row."""
    written = dict(_ROW.findall(PAGE.read_text(encoding="utf-8")))
    licences = {name: licence_of(name) or written.get(name, "") for name in packages}
    rows = [f"| {name} | {licence} |" for name, licence in licences.items() if licence]
    return "\n".join(["| package | licence |", "|---|---|", *rows, ""])


def document() -> str:
    """Return the whole page: the existing introduction with new tables."""
    words = PAGE.read_text(encoding="utf-8").partition(_FIRST_HEADING)[0]
    needed = runtime_packages()
    of_site = [name for name in pinned() if normalised(name) in needed]
    others = [name for name in pinned() if normalised(name) not in needed]
    of_extras = f"## Of the extras\n\n{table(others)}"
    return f"{words}{_FIRST_HEADING}\n\n{table(of_site)}\n{of_extras}"


if __name__ == "__main__":
    PAGE.write_text(document(), encoding="utf-8")
