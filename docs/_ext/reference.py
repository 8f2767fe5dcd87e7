"""Sphinx extension: reference pages from the code, in place of `<!-- generated: NAME -->`.

Pages of the project that lie beside `docs/`, such as SECURITY.md, are links in the documents and
pages of the site.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

django.setup()

from preferences.export.formats.pairs import RowOptions  # noqa: E402
from preferences.export.writing import FORMATS  # noqa: E402

_OPTIONS_OF_DJANGO = set(BaseCommand().create_parser("", "")._option_string_actions)
_PAGES_BESIDE = {
    "../README.md": "index.md",
    "../CHANGELOG.md": "project/changes.md",
    "../CONTRIBUTING.md": "project/contributing.md",
    "../SECURITY.md": "project/security.md",
}
_SETTING = re.compile(r"^#([A-Z][A-Z0-9_]+)=(.*)$")


def commands() -> str:
    """Return a section for each command of the project's own apps."""
    own = {app.name for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR}
    names = sorted(name for name, app in get_commands().items() if app in own)
    return "\n".join(_command(name) for name in names)


def _command(name: str) -> str:
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("manage.py", name)
    actions = [
        one
        for one in parser._actions
        if one.help != argparse.SUPPRESS and not set(one.option_strings) & _OPTIONS_OF_DJANGO
    ]
    rows = "".join(f"| {_name(one)} | {_meaning(one)} |\n" for one in actions)
    table = f"| argument | meaning |\n|---|---|\n{rows}\n" if rows else ""
    examples = getattr(command, "examples", "").strip()
    shown = f"```sh\n{examples}\n```\n" if examples else ""
    return f"## {name}\n\n{command.help}\n\n{table}{shown}"


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return f"`{action.option_strings[-1]}{value}`"


def _meaning(action: argparse.Action) -> str:
    words = re.sub(r" ?\(default: [^)]*\)", "", action.help or "")
    words = (
        words.replace("%(default)s", f"`{action.default}`")
        .replace("%%", "%")
        .replace("|", "\\|")
        .replace("<", "&lt;")
    )
    parts = [f"{words[:1].upper()}{words[1:]}."] if words else []
    if action.choices:
        parts.append(f"One of {', '.join(f'`{one}`' for one in action.choices)}.")
    if action.required:
        parts.append("Required.")
    elif action.default not in (None, False, "", argparse.SUPPRESS) and action.nargs != 0:
        parts.append(f"Default: `{_text(action.default)}`.")
    return " ".join(parts)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def settings_of_the_site() -> str:
    """Return what `.env.example` says, a definition for each setting."""
    lines = (Path(settings.BASE_DIR) / ".env.example").read_text().splitlines()
    return "\n".join(_settings(lines))


def _settings(lines: list[str]) -> Iterator[str]:
    words: list[str] = []
    for line in lines:
        if found := re.match(r"# --- (.*?) -*$", line):
            yield f"\n## {found[1]}\n"
            words = []
        elif found := _SETTING.match(line):
            example = f": `{found[2]}`" if found[2] else ""
            yield f"**`{found[1]}`**{example}\n\n{' '.join(words)}\n"
            words = []
        elif not line:
            if words:
                yield f"{' '.join(words)}\n"
            words = []
        else:
            words.append(line.removeprefix("#").strip())


def formats() -> str:
    """Return a section for each export format, with its columns for both kinds of prompts."""
    options = RowOptions(label_threshold=0.5, with_values=True)
    parts = []
    for name, one in FORMATS.items():
        parts.append(f"## {name}\n\nMade of {one.source}, for {one.task}.")
        schemas = {is_chat: one.schema(is_chat, options) for is_chat in (False, True)}
        for is_chat, schema in schemas.items():
            if is_chat and schema == schemas[False]:
                continue
            rows = "".join(f"| `{field.name}` | `{field.type}` |\n" for field in schema)
            title = "chat prompts" if is_chat else "prompts"
            parts.append(f"| column, {title} | type |\n|---|---|\n{rows}")
    return "\n\n".join(parts)


def notebook() -> str:
    """Return the cells of the notebook below a heading, its code as blocks."""
    path = Path(__file__).parents[1] / "notebooks" / "explore_a_forest.ipynb"
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        is_code = cell["cell_type"] == "code"
        parts.append(
            f"```python\n{text}\n```"
            if is_code
            else re.sub(r"^#+", lambda found: f"##{found[0]}", text)
        )
    return "\n\n".join(parts)


GENERATED: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings_of_the_site,
    "formats": formats,
    "notebook": notebook,
}


def prepare(_app: Any, docname: str, source: list[str]) -> None:
    """Fill in what is generated, and let links to pages beside `docs/` find their page here."""
    text = re.sub(r"<!-- generated: (\w+) -->", lambda found: GENERATED[found[1]](), source[0])
    up = "../" * docname.count("/")
    for beside, page in _PAGES_BESIDE.items():
        text = text.replace(f"]({up}{beside}", f"]({up}{page}")
    source[0] = text


def include_beside(_app: Any, _relative: Path, _parent: str, content: list[str]) -> None:
    """Let links of a page beside `docs/` be those of its place in the site."""
    content[0] = content[0].replace("](docs/", "](../")


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", prepare)
    app.connect("include-read", include_beside)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
