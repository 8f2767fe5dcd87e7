"""Tests run the same whatever settings the developer has exported."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environment import for_tests

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "common", "deploy", "experiment_configs", "forests", "metrics", "preferences", "prm_site",
    "rollouts",
)  # fmt: skip
# Of this machine, not of the developer: without them no server with TLS can be reached.
OF_THE_MACHINE = {"SSL_CERT_FILE", "SSL_CERT_DIR"}


def settings_in_code() -> Iterator[str]:
    """Yield the variables that our code reads from the environment."""
    read = re.compile(r'\b(?:os\.environ|env)(?:\.\w+\(|\[)\s*"([A-Z][A-Z0-9_]+)"')
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            yield from read.findall(path.read_text(encoding="utf-8"))


def test_no_setting_of_the_site_reaches_a_test():
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    names = {*re.findall(r"^#?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE), *settings_in_code()}
    names -= OF_THE_MACHINE

    assert len(names) > 50
    assert {"PRM_HOME", "MATH_500_CHAT_TEMPLATE", "DATABASE_ENGINE", "HF_TOKEN"} <= names
    assert for_tests(dict.fromkeys(names, "mine")) == {}


@pytest.mark.parametrize(
    "name",
    [
        "DJANGO_SETTINGS_MODULE", "DJANGO_SUPERUSER_PASSWORD", "HF_DATASETS_CACHE", "HF_ENDPOINT",
        "HUGGING_FACE_HUB_TOKEN", "GRANIAN_HOST", "PROMETHEUS_MULTIPROC_DIR", "MPLBACKEND",
        "COLUMNS", "FORCE_COLOR", "GIT_DIR", "GIT_INDEX_FILE",
    ],
)  # fmt: skip
def test_no_setting_of_a_library_reaches_a_test(name: str):
    assert for_tests({name: "mine"}) == {}


def test_what_tests_and_tools_need_stays():
    needed = {"PATH": "/bin", "HOME": "/home/me", "TEST_MONGODB_URI": "mongodb://a", "INTEROP": "x",
              "PIP_INDEX_URL": "https://pypi.example.org"}  # fmt: skip

    assert for_tests(needed) == needed


def test_a_proxy_is_not_asked_for_servers_of_this_machine():
    proxy = {"HTTPS_PROXY": "http://proxy:1"}
    direct = "127.0.0.1,localhost"

    assert for_tests(proxy) == proxy | {"no_proxy": direct, "NO_PROXY": direct}
    assert for_tests(proxy | {"NO_PROXY": "a.example.org"})["no_proxy"] == f"a.example.org,{direct}"


def test_settings_are_gone_before_a_module_of_ours_reads_them(tmp_path: Path):
    (tmp_path / "test_places.py").write_text(
        "import os\n\nfrom common.places import HOME_DIR\n\n\n"
        "def test():\n"
        '    assert HOME_DIR.name != "of_the_developer"\n'
        '    assert os.environ["DJANGO_SETTINGS_MODULE"] == "prm_site.settings"\n'
    )
    settings = {"PRM_HOME": "of_the_developer", "DJANGO_SETTINGS_MODULE": "of_the_developer"}
    words = ["-m", "pytest", "-q", "-n", "0", "--rootdir", str(ROOT), "-c", "pyproject.toml"]
    done = subprocess.run(
        [sys.executable, *words, "-p", "no:cacheprovider", tmp_path],
        env=os.environ | settings, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout
