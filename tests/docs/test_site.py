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
from django.core.management import get_commands

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


def test_every_command_is_in_the_reference_with_its_options(site: Path):
    text = text_of(site / "reference" / "commands.html")
    ours = {
        app.name for app in apps.get_app_configs() if Path(app.path).parent == settings.BASE_DIR
    }
    names = [name for name, app in get_commands().items() if app in ours]

    assert len(names) > 15
    assert [name for name in names if name not in text] == []
    for option in ("--forest_name", "--num_beam_values", "--min_margin", "--role", "--watch"):
        assert option in text
    assert "%(" not in text
    assert "SUPPRESS" not in text


def test_every_setting_is_in_the_reference(site: Path):
    text = text_of(site / "reference" / "settings.html")
    names = re.findall(r"^#([A-Z0-9_]+)=", Path(".env.example").read_text(), re.MULTILINE)

    assert len(names) > 25
    assert [name for name in names if name not in text] == []
    assert "the least busy one is asked" in text


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
