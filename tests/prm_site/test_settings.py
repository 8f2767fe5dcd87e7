"""Settings are read when a process starts, so each case is a process."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from prm_site.secret_key import read_or_create_secret_key

PRODUCTION = {
    "PRM_PRODUCTION": "1",
    "PRM_SECRET_KEY": "0123456789" * 6,
    "PRM_ALLOWED_HOSTS": "forests.example.org",
    "MONGODB_URI": "mongodb://127.0.0.1:1/",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
}


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("missing", [name for name in PRODUCTION if name != "PRM_PRODUCTION"])
def test_production_refuses_to_start_without_a_needed_setting(missing: str):
    done = check(**(PRODUCTION | {missing: ""}))

    assert done.returncode == 1
    assert done.stderr.startswith(f"{missing} is not set, and PRM_PRODUCTION=1 needs it")
    assert len(done.stderr.strip().splitlines()) == 1


def test_production_with_all_settings_passes_the_deployment_checks():
    done = check(**PRODUCTION)

    assert (done.returncode, done.stderr) == (0, "")


def test_production_refuses_to_show_tracebacks():
    assert "PRM_DEBUG=1 shows secrets" in check(**PRODUCTION, PRM_DEBUG="1").stderr


def test_djongo_is_refused_in_one_line_that_says_where_to_read_why():
    done = check(DATABASE_ENGINE="djongo")

    assert done.returncode == 1
    assert "DATABASE_ENGINE=djongo is not supported" in done.stderr
    assert "docs/decisions/001-database-engine.md" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_page_that_explains_the_database_engine_is_there():
    assert Path("docs/decisions/001-database-engine.md").is_file()


def test_the_development_key_is_made_once_and_is_nobodys_to_read(tmp_path: Path):
    key = read_or_create_secret_key(tmp_path)

    assert read_or_create_secret_key(tmp_path) == key
    assert len(key) >= 50
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_every_setting_is_explained_in_the_example():
    source = Path("prm_site/settings.py").read_text()
    example = Path(".env.example").read_text()
    names = set(re.findall(r'"(PRM_[A-Z_]+|[A-Z]+_(?:URI|URL|API_KEY|ENGINE))"', source))

    assert len(names) > 10
    assert [name for name in sorted(names) if name not in example] == []


def test_ctrl_c_while_django_loads_ends_quietly():
    interrupt = """
import runpy, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "django.core.management":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
runpy.run_path("manage.py", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", interrupt], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
