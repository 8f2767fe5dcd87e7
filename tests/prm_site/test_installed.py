"""`prm` after `pip install`, in a directory of the user outside any checkout."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest
from datasets import load_from_disk

from prm_site.services import registry
from prm_site.services.supervisor import holder
from tests.openai_server import Fault, OpenAIServer
from tests.prm_site.demos import Demos, stages
from tests.waiting import wait_until

PACKAGES = (
    "common", "experiment_configs", "forests", "metrics", "preferences", "prm_site", "rollouts",
)  # fmt: skip
NOT_INSTALLED = ("PRM_", "OPENAI_", "MONGODB_URI", "REDIS_URL", "DJANGO_", "PYTHONPATH")


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with our wheel; its dependencies are those of this environment."""
    root = tmp_path_factory.mktemp("installed")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in (*PACKAGES, "templates", "tests", "benchmarks"):
        shutil.copytree(name, root / "checkout" / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "manage.py"):
        shutil.copy(name, root / "checkout")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run(
        [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", root, root / "checkout"],
        check=True,
    )
    venv.create(root / "env", with_pip=False)
    python = root / "env" / "bin" / "python"
    (wheel,) = root.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", *offline, wheel], check=True)
    (found,) = (root / "env" / "lib").glob("python*/site-packages")
    (found / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    shutil.rmtree(root / "checkout")
    return found


@pytest.fixture
def program(site_packages: Path) -> Path:
    return site_packages.parents[2] / "bin" / "prm"


@pytest.fixture
def users_own(tmp_path: Path) -> Path:
    """A directory with packages that have the names of ours."""
    for name in ("common", "metrics"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not this one')")
    return tmp_path


def environment() -> Mapping[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith(NOT_INSTALLED)}


def run(program: Path, directory: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [program, *words],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def written(directory: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}


def test_what_is_installed_is_the_packages_with_their_types_and_pages(site_packages: Path):
    ours = {path.name for path in site_packages.iterdir() if path.is_dir()}
    (told,) = site_packages.glob("prm_site-*.dist-info")

    assert ours - {told.name} == set(PACKAGES)
    assert all((site_packages / name / "py.typed").is_file() for name in PACKAGES)
    assert (told / "licenses" / "LICENSE").is_file()
    for source, folder in ((Path(), "templates"), (Path("prm_site"), "static")):
        expected = {path.relative_to(source) for path in (source / folder).rglob("*.*")}
        there = site_packages / "prm_site"
        assert {path.relative_to(there) for path in (there / folder).rglob("*.*")} == expected


def test_the_overview_leaves_the_directory_as_it_was(program: Path, users_own: Path):
    before = written(users_own)

    status, out, err = run(program, users_own, "--help")

    assert (status, err) == (0, "")
    assert out.startswith("usage: prm COMMAND [options]\n")
    assert "seed_forest [seed]" in out
    version = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    assert run(program, users_own, "--version") == (0, f"prm {version}\n", "")
    status, out, err = run(program, users_own, "verify", "--help")
    assert (status, err) == (0, "")
    assert "\n  prm verify_config --config_name gsm8k_baseline " in out
    assert written(users_own) == before


def test_hints_name_the_program_that_is_there(program: Path, users_own: Path):
    status, _, err = run(program, users_own, "recount-forest", "--forest-name", "x")

    assert status == 1
    assert err == (
        "CommandError: no database: set MONGODB_URI in .env, or start the embedded services with "
        "`prm services`\n"
    )


@pytest.mark.slow
def test_an_interrupted_demo_stops_all_and_the_next_one_ends_with_a_dataset(
    site_packages: Path, program: Path, users_own: Path, model_server: OpenAIServer
):
    data_dir = users_own / "data"
    (users_own / ".env").write_text(f"OPENAI_BASE_URL={model_server.url}\n")
    installed = written(site_packages)
    with Demos([str(program)], users_own, environment()) as demos:
        demo, log = demos.start()
        wait_until(lambda: stages(log)[-1:] == ["seed_forest"], 120)
        asked = len(model_server.requests)
        model_server.faults.extend([Fault(hangs_seconds=120)] * 50)
        wait_until(lambda: len(model_server.requests) > asked, 60)
        assert set(registry.running_addresses(data_dir)) == {"mongodb", "queue"}

        demo.send_signal(signal.SIGINT)

        assert demo.wait(60) == 130
        assert registry.running_addresses(data_dir) == {}
        assert holder(data_dir) == ""
        assert stages(log)[-1] == "rollout_worker"
        assert "Traceback" not in log.read_text()

        model_server.faults.clear()
        demo, log = demos.start()

        assert demo.wait(240) == 0, log.read_text()
    assert stages(log) == [
        "verify_config", "seed_forest", "rollout_worker", "beam_search", "refine_forest",
        "rollout_worker", "create_preferences", "export_preferences",
    ]  # fmt: skip
    rows = list(load_from_disk(str(demos.output / "dataset"))["train"])
    assert rows
    assert all(row["chosen"] != row["rejected"] for row in rows)
    assert registry.running_addresses(data_dir) == {}
    assert written(site_packages) == installed
