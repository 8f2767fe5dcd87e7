import hashlib
import subprocess
from pathlib import Path

import pytest

from experiment_configs.interfaces import ConfigError
from experiment_configs.loading import config_names, load_config

GOOD = """
from experiment_configs.interfaces import RolloutConfig

class Config(RolloutConfig):
    def get_dataset_iterator(self, dataset_split):
        yield 1
    def get_root_prompt(self, item):
        return "Q"
    def get_label(self, item):
        return "1"
"""


def write(directory: Path, source: str, name: str = "mine") -> Path:
    path = directory / f"{name}.py"
    path.write_text(source)
    return path


def test_a_built_in_config_is_found_by_name():
    loaded = load_config("demo_arithmetic")

    assert loaded.sha256 == hashlib.sha256(loaded.path.read_bytes()).hexdigest()
    assert next(loaded.config.get_dataset_iterator("train"))


def test_directories_add_configs_and_come_first(tmp_path: Path):
    write(tmp_path, GOOD, "demo_arithmetic")

    assert load_config("demo_arithmetic", [tmp_path]).source == GOOD
    assert "gsm8k_baseline" in config_names([tmp_path])


def test_a_config_may_import_helpers_beside_it(tmp_path: Path):
    write(tmp_path, "LABEL = '7'", "helper_of_mine")
    write(tmp_path, GOOD.replace("return \"1\"", "return LABEL").replace(
        "\nclass", "\nfrom helper_of_mine import LABEL\n\nclass"
    ))  # fmt: skip

    assert load_config("mine", [tmp_path]).config.get_label(1) == "7"


def git(directory: Path, *commands: str) -> None:
    for command in commands:
        subprocess.run(["git", *command.split()], cwd=directory, check=True)


COMMIT = ("add .", "-c user.name=a -c user.email=a@b commit -q -m a")


def test_the_commit_of_the_config_is_recorded(tmp_path: Path):
    path = write(tmp_path, GOOD)
    git(tmp_path, "init -q -b topic")
    unborn = load_config("mine", [tmp_path])
    git(tmp_path, *COMMIT)
    clean = load_config("mine", [tmp_path])
    path.write_text(GOOD + "# changed\n")
    changed = load_config("mine", [tmp_path])
    git(tmp_path, "checkout -q --detach")
    detached = load_config("mine", [tmp_path])

    assert (unborn.git_commit, unborn.git_branch) == ("", "")
    assert len(clean.git_commit) == 40
    assert clean.git_branch == "topic"
    assert changed.git_commit == detached.git_commit == f"{clean.git_commit}-dirty"
    assert detached.git_branch == "HEAD"


def test_a_config_that_git_does_not_track_is_dirty(tmp_path: Path):
    (tmp_path / "other").touch()
    git(tmp_path, "init -q", *COMMIT)
    write(tmp_path, GOOD)

    assert load_config("mine", [tmp_path]).git_commit.endswith("-dirty")


def test_a_config_that_the_repository_ignores_has_no_commit(tmp_path: Path):
    """Built-in configs may be installed in an environment that a user's repository ignores."""
    installed = tmp_path / ".venv"
    installed.mkdir()
    write(installed, GOOD)
    write(tmp_path, GOOD, "own")
    write(tmp_path, GOOD)
    (tmp_path / ".gitignore").write_text(".venv/\n/own.py\n")
    git(tmp_path, "init -q", *COMMIT)

    assert load_config("mine", [installed]).git_commit == ""
    assert load_config("own", [tmp_path]).git_commit == ""
    assert load_config("mine", [tmp_path]).git_commit


def test_a_config_outside_a_repository_has_no_commit(tmp_path: Path):
    write(tmp_path, GOOD)

    assert load_config("mine", [tmp_path]).git_commit == ""


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch):
    write(tmp_path, GOOD)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert load_config("mine", [tmp_path]).git_commit == ""


@pytest.mark.parametrize("name", ["Mine", "2nd", "a-b", "a/b", "../a", "", "a.b"])
def test_a_name_that_is_not_allowed_is_refused_with_the_rule(name: str):
    with pytest.raises(ConfigError, match="use a-z, digits after the first letter, and _"):
        load_config(name)


def test_an_unknown_name_is_refused_with_those_known():
    with pytest.raises(ConfigError, match=r"known: .*gsm8k_baseline"):
        load_config("nothing_like_it")


def test_a_directory_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="not a directory"):
        load_config("mine", [tmp_path / "missing"])


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1", r"needs a class named Config\(RolloutConfig\)"),
        ("class Config: pass", r"needs a class named Config\(RolloutConfig\)"),
        (GOOD.replace("def get_label", "def label"), "does not define get_label"),
        ("def broken(:", r"SyntaxError: .* \(line 1\)"),
        ("\nimport not_there_at_all", r"ModuleNotFoundError: .* \(line 2\)"),
        ("1 / 0", r"ZeroDivisionError: .* \(line 1\)"),
        (GOOD + "    rollout_worker_config = 7\n", "must be a RolloutWorkerConfig, not int"),
        (GOOD + "    def __init__(self):\n        raise OSError('gone')\n", "OSError: gone"),
        ("import sys\nsys.exit(0)", r"cannot be imported: SystemExit: 0 \(line 2\)"),
        (GOOD + "    def __init__(self):\n        exit(0)\n", "cannot be created: SystemExit: 0"),
    ],
)
def test_a_module_that_is_no_config_is_refused_in_one_line(
    tmp_path: Path, source: str, complaint: str
):
    write(tmp_path, source)

    with pytest.raises(ConfigError, match=complaint) as caught:
        load_config("mine", [tmp_path])

    assert "\n" not in str(caught.value)


def test_a_config_that_is_not_utf8_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "mine.py").write_bytes(b"NAME = 'caf\xe9'\n" + GOOD.encode())

    with pytest.raises(ConfigError, match=r"mine\.py is not UTF-8: save it as UTF-8$"):
        load_config("mine", [tmp_path])


def test_a_config_that_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path, GOOD)

    def refuse(*_arguments: object, **_options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(ConfigError, match=r"mine\.py cannot be read: Permission denied$"):
        load_config("mine", [tmp_path])
