"""Modules that a config imports from its own directory are part of the config."""

import hashlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiment_configs.interfaces import ConfigError
from experiment_configs.loading import LoadedConfig, load_config

CONFIG = """
from experiment_configs.interfaces import RolloutConfig
{imports}

class Config(RolloutConfig):
    def get_dataset_iterator(self, dataset_split):
        yield 1
    def get_root_prompt(self, item):
        return "Q"
    def get_label(self, item):
        {before}
        return {label}
"""


@pytest.fixture(autouse=True)
def _path_and_modules_as_they_were() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(
    directory: Path, imports: str = "", label: str = "LABEL", before: str = "", name: str = "mine"
) -> None:
    directory.mkdir(exist_ok=True)
    source = CONFIG.format(imports=imports, label=label, before=before or "pass")
    (directory / f"{name}.py").write_text(source)


def load(directory: Path, name: str = "mine") -> LoadedConfig:
    return load_config(name, [directory])


def label(loaded: LoadedConfig) -> str:
    return loaded.config.get_label(1)


@pytest.mark.parametrize(
    ("imports", "before", "of_label"),
    [
        ("from helper import LABEL", "", "LABEL"),
        ("import helper", "", "helper.LABEL"),
        ("import helper as h", "", "h.LABEL"),
        ("", "from helper import LABEL", "LABEL"),
        ("import importlib\nh = importlib.import_module('helper')", "", "h.LABEL"),
        ("from through import LABEL", "", "LABEL"),
        ("", "import through", "through.LABEL"),
        ("from package import LABEL", "", "LABEL"),
        ("import package.inner", "", "package.inner.LABEL"),
        ("from package import inner", "", "inner.LABEL"),
        ("from spaces.inner import LABEL", "", "LABEL"),
    ],
)
def test_a_change_of_what_a_config_imports_is_a_change_of_the_config(
    tmp_path: Path, imports: str, before: str, of_label: str
):
    (tmp_path / "helper.py").write_text("LABEL = '7'\n")
    (tmp_path / "through.py").write_text("from helper import LABEL\n")
    for package in ("package", "spaces"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "inner.py").write_text("from helper import LABEL\n")
    (tmp_path / "package" / "__init__.py").write_text("from .inner import LABEL\n")
    write(tmp_path, imports, of_label, before)
    first = load(tmp_path)
    assert "LABEL = '7'" in first.source
    assert first.sha256 == hashlib.sha256(first.source.encode()).hexdigest()
    assert load(tmp_path).sha256 == first.sha256
    assert label(first) == "7"

    (tmp_path / "helper.py").write_text("LABEL = '8'\n")

    second = load(tmp_path)
    assert label(second) == "8"
    assert second.sha256 != first.sha256
    assert not second.is_same(first.sha256)
    assert second.changed_files(first.source) == ["helper.py"]
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_config_that_imports_nothing_from_beside_it_is_its_file(tmp_path: Path):
    (tmp_path / "other.py").write_text("unused = 1\n")
    write(tmp_path, "import json", "'1'")
    loaded = load(tmp_path)
    assert loaded.source == (tmp_path / "mine.py").read_text()
    assert loaded.sha256 == loaded.file_sha256


def test_a_forest_of_an_earlier_version_notes_the_file_alone(tmp_path: Path):
    (tmp_path / "helper.py").write_text("LABEL = '7'\n")
    write(tmp_path, "from helper import LABEL")
    loaded = load(tmp_path)
    earlier = hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()
    assert earlier != loaded.sha256
    assert loaded.is_same(earlier)
    assert not loaded.is_same("0" * 64)


def test_a_helper_that_came_or_went_is_named(tmp_path: Path):
    (tmp_path / "helper.py").write_text("from more import LABEL\n")
    (tmp_path / "more.py").write_text("LABEL = '7'\n")
    write(tmp_path, "from helper import LABEL")
    first = load(tmp_path)
    (tmp_path / "helper.py").write_text("LABEL = '7'\n")
    second = load(tmp_path)
    assert second.changed_files(first.source) == ["helper.py", "more.py"]
    assert first.changed_files(first.source.replace("\n", "\r\n")) == ["mine.py"]


def test_the_hash_is_the_same_whatever_was_loaded_before(tmp_path: Path):
    (tmp_path / "helper.py").write_text("LABEL = '7'\n")
    for name in ("mine", "other"):
        write(tmp_path, "import importlib\nh = importlib.import_module('helper')", "h.LABEL",
              name=name)  # fmt: skip
    alone = load(tmp_path).sha256
    load(tmp_path, "other")
    assert load(tmp_path).sha256 == alone


def test_helpers_of_one_name_beside_two_configs_are_two(tmp_path: Path):
    for name in ("one", "two"):
        write(tmp_path / name, "from helper import LABEL")
        (tmp_path / name / "helper.py").write_text(f"LABEL = '{name}'\n")
    for name in ("one", "two", "one"):
        loaded = load(tmp_path / name)
        assert label(loaded) == name
        assert f"LABEL = '{name}'" in loaded.source


def test_a_module_that_python_finds_elsewhere_is_not_taken_for_the_one_beside(tmp_path: Path):
    (tmp_path / "json.py").write_text("raise RuntimeError\n")
    write(tmp_path, "import json", "json.dumps(1)")
    loaded = load(tmp_path)
    assert label(loaded) == "1"
    assert loaded.sha256 == loaded.file_sha256


def test_another_config_that_is_imported_is_part_of_the_config(tmp_path: Path):
    write(tmp_path, "", "'7'", name="base")
    (tmp_path / "mine.py").write_text("from base import Config as Base\nclass Config(Base): ...\n")
    first = load(tmp_path)
    write(tmp_path, "", "'8'", name="base")
    assert load(tmp_path).changed_files(first.source) == ["base.py"]


def test_a_built_in_config_depends_on_the_one_that_it_derives_from():
    loaded = load_config("math_500_reasoning")
    base = load_config("math_500")
    assert base.source in loaded.source
    assert base.sha256 == base.file_sha256


def test_a_helper_that_is_not_utf_8_is_named(tmp_path: Path):
    (tmp_path / "helper.py").write_bytes(b"# coding: latin-1\nLABEL = '\xe9'\n")
    write(tmp_path, "from helper import LABEL")
    with pytest.raises(ConfigError, match=r"helper.py is not UTF-8: save it as UTF-8"):
        load(tmp_path)


def test_a_helper_that_git_does_not_know_as_it_is_makes_the_commit_dirty(tmp_path: Path):
    (tmp_path / "helper.py").write_text("LABEL = '7'\n")
    write(tmp_path, "from helper import LABEL")
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -q -m a"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    assert not load(tmp_path).git_commit.endswith("-dirty")
    (tmp_path / "helper.py").write_text("LABEL = '8'\n")
    assert load(tmp_path).git_commit.endswith("-dirty")


def test_modules_of_the_program_are_not_imported_again(tmp_path: Path, monkeypatch):
    """The directory of a config may be the program's own, or be on its import path."""
    (tmp_path / "program.py").write_text("LABEL = '7'\n")
    write(tmp_path, "from program import LABEL")
    with monkeypatch.context() as patched:
        patched.syspath_prepend(tmp_path)
        program = importlib.import_module("program")
    load(tmp_path)
    load(tmp_path)
    assert sys.modules["program"] is program


@pytest.mark.parametrize("place", ["configs", "./configs", "configs/../configs", "link"])
def test_the_directory_may_be_named_in_any_way(tmp_path: Path, monkeypatch, place: str):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "configs", "from helper import LABEL")
    (tmp_path / "configs" / "helper.py").write_text("LABEL = '7'\n")
    (tmp_path / "link").symlink_to(tmp_path / "configs")
    assert "LABEL = '7'" in load(Path(place)).source
