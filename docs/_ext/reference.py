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

from preferences.export.formats.base import RowOptions  # noqa: E402
from preferences.export.trainers import trainers_of  # noqa: E402
from preferences.export.writing import FORMATS  # noqa: E402

_OPTIONS_OF_DJANGO = set(BaseCommand().create_parser("", "")._option_string_actions)
_PAGES_BESIDE = {
    "../README.md": "index.md",
    "../CHANGELOG.md": "project/changes.md",
    "../CONTRIBUTING.md": "project/contributing.md",
    "../SECURITY.md": "project/security.md",
}
BAR = r"\|"
"""A bar that does not end a cell of a table."""

_SETTING = re.compile(r"^#([A-Z][A-Z0-9_]+)=(.*)$")


def commands() -> str:
    """Return a section for each command of the project's own apps."""
    own = {app.name for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR}
    names = sorted(name for name, app in get_commands().items() if app in own)
    return "\n".join(_command(name) for name in names)


def _command(name: str) -> str:
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("manage.py", name)
    rows = "".join(_row(parser, action) for action in _own_actions(parser))
    table = f"| option | meaning | default |\n|---|---|---|\n{rows}\n" if rows else ""
    examples = getattr(command, "examples", "").strip()
    shown = f"```sh\n{examples}\n```\n" if examples else ""
    return f"## {name}\n\n{_escaped(command.help)}\n\n{table}{shown}"


def _own_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return what `--help` shows of a parser, without what all Django commands take."""
    return [
        action
        for action in parser._actions
        if action.help != argparse.SUPPRESS and not set(action.option_strings) & _OPTIONS_OF_DJANGO
    ]


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    words = parser._get_formatter()._expand_help(action) if action.help else ""
    meaning, default = _divided(words)
    parts = [meaning, *_remarks(action)]
    if action.required:
        default = "required"
    elif not default and action.nargs != 0 and action.default not in (None, "", argparse.SUPPRESS):
        default = _text(action.default)
    cells = _name(action).replace("|", BAR), _escaped("; ".join(filter(None, parts)))
    return f"| {' | '.join(cells)} | {_escaped(default)} |\n"


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    names = [name for name in action.option_strings if name.startswith("--")]
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(f"`{name}{value}`" for name in names or action.option_strings)


def _divided(words: str) -> tuple[str, str]:
    """Divide a help text into what the option means and its default."""
    if found := re.search(r"(?:^|; )default: (.*)$", words):
        return words[: found.start()], found[1]
    start = words.find("(default: ")
    if start < 0:
        return words, ""
    end = _closing(words, start)
    return (words[:start].rstrip() + words[end + 1 :]), words[start + len("(default: ") : end]


def _closing(words: str, start: int) -> int:
    """Return where the bracket that opens at `start` is closed."""
    depth = 0
    for place in range(start, len(words)):
        depth += {"(": 1, ")": -1}.get(words[place], 0)
        if depth == 0:
            return place
    raise ValueError(f"a bracket is not closed: {words!r}")


def _remarks(action: argparse.Action) -> Iterator[str]:
    if isinstance(action, argparse.BooleanOptionalAction):
        yield from (
            f"`{name}` switches this off"
            for name in action.option_strings
            if name.startswith("--no-")
        )
    choices = action.choices
    if isinstance(choices, range):
        yield f"from {choices.start} to {choices.stop - 1}"
    elif choices and not all(str(one) in (action.help or "") for one in choices):
        yield f"one of {', '.join(f'`{one}`' for one in choices)}"


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def _escaped(words: str) -> str:
    """Return words as Markdown that shows them as they are, in tables too; `code` stays code."""
    parts = re.split(r"(`[^`]*`)", words)
    parts[::2] = [re.sub(r"([\\<*\[\]])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts).replace("|", BAR)


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
            yield f"**`{found[1]}`**{example}\n\n{_escaped(' '.join(words))}\n"
            words = []
        elif not line:
            if words:
                yield f"{_escaped(' '.join(words))}\n"
            words = []
        else:
            words.append(line.removeprefix("#").strip())


def formats() -> str:
    """Return a section for each export format, with its columns for both kinds of prompts."""
    options = RowOptions(label_threshold=0.5, with_values=True)
    parts = []
    for name, one in FORMATS.items():
        trainers = ", ".join(trainers_of(one))
        readers = f" Read by {trainers}." if trainers else ""
        parts.append(f"## {name}\n\nFrom {one.source}, for {one.task}.{readers}")
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
