"""The site of the documents: it builds without a warning, and its reference lacks nothing."""

import re
import subprocess
import sys
from dataclasses import fields
from html import unescape
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from experiment_configs.interfaces import RolloutConfig, RolloutWorkerConfig
from preferences.export.writing import FORMATS
from tests.docs.test_documents import documents


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [
            sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet",
            "docs", str(output),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return output


def text_of(page: Path) -> str:
    return unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_every_document_is_a_page_that_the_first_one_leads_to(site: Path):
    own = [path for path in Path("docs").rglob("*.md") if path.name != "index.md"]
    front = (site / "index.html").read_text()

    assert len(own) > 20
    for document in own:
        page = document.relative_to("docs").with_suffix(".html")
        assert (site / page).is_file()
        assert f'href="{page}"' in front


def own_commands() -> list[str]:
    ours = {
        app.name for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR
    }
    return sorted(name for name, app in get_commands().items() if app in ours)


def reference_of(site: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """Return meaning and default of each option in the reference, by command."""
    _, *sections = (site / "reference" / "commands.html").read_text().split("<h2>")
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for section in sections:
        name = section.partition("<")[0]
        rows = [_CELLS.findall(row) for row in _ROWS.findall(section)]
        cells = [[plain(cell) for cell in row] for row in rows if row]
        assert len({names for names, *_ in cells}) == len(cells), f"{name} has an option twice"
        found[name] = {
            option: (meaning, default)
            for names, meaning, default in cells
            for option in _OPTIONS.findall(names)
        }
    return found


_ROWS = re.compile(r"<tr.*?</tr>", re.DOTALL)
_CELLS = re.compile(r"<td.*?</td>", re.DOTALL)
_OPTIONS = re.compile(r"(?<![\w-])--[\w-]+")
_HELP_LINE = re.compile(r"^  (-[^\n]*?)(?:\n {6,}|  +)(\S[^\n]*)$", re.MULTILINE)
_DEFAULT = re.compile(r"(?:^|; )default: (?P<plain>.*)$|\(default: (?P<bracketed>.*)\)$")


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


def help_of(name: str) -> dict[str, str]:
    """Return what `--help` says of each option, without Django's own options."""
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    django = set(BaseCommand().create_parser("", "")._option_string_actions)
    return {
        option: " ".join(words.replace("`", "").split())
        for options, words in _HELP_LINE.findall(parser.format_help())
        for option in _OPTIONS.findall(options)
        if option not in django
    }


def test_the_reference_says_what_help_says_of_each_option(
    site: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "10000")
    reference = reference_of(site)

    assert sorted(reference) == own_commands()
    for name in own_commands():
        told = help_of(name)
        assert told.keys() <= reference[name].keys()
        for option, words in told.items():
            meaning, default = reference[name][option]
            stated = _DEFAULT.search(words)
            if stated:
                assert default == (stated["plain"] or stated["bracketed"]), (name, option)
            before = words[: stated.start()] if stated else words
            assert meaning.startswith(before.strip()), (name, option)


def test_the_reference_covers_the_whole_workflow(site: Path):
    reference = reference_of(site)

    assert len(reference) > 15
    assert reference["beam_search"]["--num_beam_values"][1] == "1,5"
    assert reference["create_preferences"]["--min_margin"][1] == "0.0, any difference"
    assert reference["create_preferences"]["--forest_name"][1] == "required"
    assert reference["score_nodes"]["--top_logprobs"][1] == "20"


def test_a_switch_that_can_be_negated_says_what_its_negation_does(site: Path):
    reference = reference_of(site)

    for command, option in (("beam_search", "--no-save"), ("score_nodes", "--no-replace")):
        assert reference[command][option][0].endswith(f"{option} switches this off")


def test_a_range_of_choices_is_given_by_its_ends(site: Path):
    meaning, default = reference_of(site)["demo"]["--port"]

    assert meaning.endswith("from 1 to 65535")
    assert default == "8000"
    assert (site / "reference" / "commands.html").stat().st_size < 300_000


def test_no_cell_of_the_reference_has_debris(site: Path):
    cells = [
        cell for options in reference_of(site).values() for row in options.values() for cell in row
    ]

    assert [cell for cell in cells if cell.count("(") != cell.count(")")] == []
    assert [cell for cell in cells if "%(" in cell or "SUPPRESS" in cell or "&lt;" in cell] == []


def test_every_setting_is_in_the_reference(site: Path):
    text = text_of(site / "reference" / "settings.html")
    names = re.findall(r"^#([A-Z0-9_]+)=", Path(".env.example").read_text(), re.MULTILINE)

    assert len(names) > 25
    assert [name for name in names if name not in text] == []
    assert "the least busy one is asked" in text


def test_no_word_of_a_setting_is_taken_for_a_tag(site: Path):
    text = " ".join(text_of(site / "reference" / "settings.html").split())
    comments = re.findall(r"^# (?!---)(.+)$", Path(".env.example").read_text(), re.MULTILINE)

    assert any("<split>.jsonl" in line for line in comments)
    assert [line for line in comments if line.replace("`", "") not in text] == []


def test_the_interface_of_configs_is_in_the_reference(site: Path):
    text = text_of(site / "reference" / "configs.html")
    names = [field.name for field in fields(RolloutWorkerConfig)]
    names += [name for name in vars(RolloutConfig) if not name.startswith("_")]

    assert len(names) > 20
    assert [name for name in names if name not in text] == []


def test_every_format_is_in_the_reference_with_its_columns(site: Path):
    text = text_of(site / "reference" / "formats.html")

    assert [name for name in FORMATS if name not in text] == []
    assert {"chosen", "rejected", "completions", "labels"} <= set(text.split())


def test_no_page_shows_a_path_of_the_machine_that_built_it(site: Path):
    pages = list(site.rglob("*.html"))

    assert [page.name for page in pages if str(settings.BASE_DIR) in page.read_text()] == []


_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("document", documents())
def test_every_link_leads_to_a_file(document: str):
    folder = Path(document).parent
    links = _LINK.findall(Path(document).read_text())

    assert [link for link in links if not (folder / link).exists()] == []
