"""An export appears whole, from one writer, and replaces nothing but an earlier export."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.directories import Output, OutputError, checksums, written_aside

FORMAT = "prm_site forest"


def write(directory: Path, text: str = "new", *, overwrite: bool = False) -> None:
    with written_aside(Output(directory, frozenset({FORMAT}), overwrite)) as aside:
        fill(aside, text)


def fill(directory: Path, text: str) -> None:
    (directory / "part").mkdir()
    (directory / "part" / "data.txt").write_text(text)
    manifest = {"format": FORMAT, "files": checksums(directory)}
    (directory / "manifest.json").write_text(json.dumps(manifest))


def below(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_of_two_that_write_to_one_output_one_does_and_the_other_says_so(tmp_path: Path):
    output = tmp_path / "out"
    with written_aside(Output(output, frozenset({FORMAT}), overwrite=True)) as aside:
        (aside / "half").touch()
        with pytest.raises(OutputError, match=r"another export writes to .*out: wait for it"):
            write(output, "second", overwrite=True)
        (aside / "half").unlink()
        fill(aside, "first")
    assert (output / "part" / "data.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from common.directories import OutputError
from tests.common.test_directories import write
sys.stdin.readline()
try:
    write(Path(sys.argv[1]), "x" * 10**6)
except OutputError as error:
    sys.exit(str(error))
"""


def test_of_many_processes_exactly_one_succeeds_and_its_export_is_whole(tmp_path: Path):
    for round_ in range(3):
        output = tmp_path / str(round_)
        root = str(Path(__file__).parents[2])
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(output), root],
                stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(3)
        ]  # fmt: skip
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        said = [writer.communicate()[1] for writer in writers]
        assert sorted(writer.returncode for writer in writers) == [0, 1, 1], said
        assert all(text.count("\n") == 1 for text in said if text)
        files = json.loads((output / "manifest.json").read_text())["files"]
        assert checksums(output / "part")["data.txt"] == files["part/data.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def test_what_a_killed_writer_has_left_is_in_nobody_s_way(tmp_path: Path):
    (tmp_path / ".out.lock").touch()
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / "half").touch()
    write(tmp_path / "out")
    assert sorted(below(tmp_path)) == ["out/manifest.json", "out/part/data.txt"]


def listed(*names: str) -> dict[str, Any]:
    return {"format": FORMAT, "files": {name: {} for name in names}}


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({}, "its manifest.json belongs to something else"),
        ([], "its manifest.json belongs to something else"),
        ("{", "its manifest.json belongs to something else"),
        ({"format": [FORMAT], "files": {}}, "belongs to something else"),
        ({"format": "trl", "files": {"thesis.tex": {}}}, "belongs to something else"),
        ({"name": "an extension of a browser", "version": 3}, "belongs to something else"),
        (listed(), "holds 'thesis.tex', which no export wrote"),
        (listed("trees.parquet"), "holds 'thesis.tex', which no export wrote"),
    ],
)
def test_a_manifest_alone_makes_no_export(tmp_path: Path, manifest: Any, message: str):
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.tex").write_text("years of work")
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (output / "manifest.json").write_text(text)
    before = below(tmp_path)
    with pytest.raises(OutputError, match=message) as caught:
        write(output, overwrite=True)
    assert "\n" not in str(caught.value)
    assert below(tmp_path) == before


@pytest.mark.parametrize("name", ["notes.txt", "part/notes.txt", "other/notes.txt", "empty"])
def test_what_somebody_put_into_an_export_is_not_deleted_with_it(tmp_path: Path, name: str):
    write(tmp_path / "out", "old")
    mine = tmp_path / "out" / name
    mine.parent.mkdir(exist_ok=True)
    if name == "empty":
        mine.mkdir()
    else:
        mine.write_text("mine")
    with pytest.raises(OutputError, match="which no export wrote"):
        write(tmp_path / "out", overwrite=True)
    assert mine.exists()


def test_what_was_put_there_while_the_export_was_written_stays(tmp_path: Path):
    output = tmp_path / "out"

    def write_late() -> None:
        with written_aside(Output(output, frozenset({FORMAT}), overwrite=True)) as aside:
            fill(aside, "new")
            output.mkdir()
            (output / "thesis.tex").write_text("years of work")

    with pytest.raises(OutputError, match="exists and is not an export"):
        write_late()
    assert below(tmp_path) == {"out/thesis.tex": "years of work"}


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("name", ["", ".", "..", "/", "../here", "./", "../here/.", "sub/.."])
def test_the_directory_that_one_is_in_is_no_output_nor_one_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, overwrite: bool
):
    here = tmp_path / "here"
    (here / "sub").mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(OutputError, match="name a new directory") as caught:
        write(Path(name), overwrite=overwrite)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["here", "sub"]


@pytest.mark.parametrize("target", ["empty", "export", "missing", "file"])
def test_a_link_is_no_output(tmp_path: Path, target: str):
    (tmp_path / "empty").mkdir()
    write(tmp_path / "export", "old")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / target)
    before = below(tmp_path / "export")
    with pytest.raises(OutputError, match="link is a link: give the directory itself"):
        write(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").readlink() == tmp_path / target
    assert below(tmp_path / "export") == before
    assert not any((tmp_path / "empty").iterdir())


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OutputError, match=r"cannot lock files \(Function not implemented\)"):
        write(tmp_path / "out")
