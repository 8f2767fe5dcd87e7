"""Settings at the start of a process: which values are allowed, and what the process says."""

import os
import re
import runpy
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from prm_site.configuration.secret_key import read_or_create_secret_key
from tests.forked_commands import run_command

PRODUCTION = {
    "PRM_PRODUCTION": "1",
    "PRM_SECRET_KEY": "0123456789" * 6,
    "PRM_ALLOWED_HOSTS": "forests.example.org",
    "MONGODB_URI": "mongodb://127.0.0.1:1/",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
}


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    return run_command(["check", "--deploy"], env=os.environ | environment)


def refusal(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Return why the settings refuse an environment: the line that a process would print."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as caught:
        runpy.run_path("prm_site/settings.py")
    return str(caught.value)


def test_a_process_with_a_wrong_setting_says_so_in_one_line():
    done = check(PRM_PUBLIC="ture", MONGODB_URI="")

    assert done.returncode == 1
    assert done.stderr.startswith("PRM_PUBLIC")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("missing", [name for name in PRODUCTION if name != "PRM_PRODUCTION"])
def test_production_refuses_to_start_without_a_needed_setting(
    monkeypatch: pytest.MonkeyPatch, missing: str
):
    said = refusal(monkeypatch, **(PRODUCTION | {missing: ""}))

    assert said.startswith(f"{missing} is not set, but PRM_PRODUCTION=1 needs it")
    assert len(said.splitlines()) == 1


def test_production_with_all_settings_passes_the_deployment_checks():
    done = check(**PRODUCTION)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("chosen", "header"),
    [
        ({}, "max-age=31536000"),
        ({"PRM_HSTS_SUBDOMAINS": "1"}, "max-age=31536000; includeSubDomains"),
        (
            {"PRM_HSTS_SUBDOMAINS": "1", "PRM_HSTS_PRELOAD": "1"},
            "max-age=31536000; includeSubDomains; preload",
        ),
        ({"PRM_HSTS_SECONDS": "0", "PRM_HSTS_SUBDOMAINS": "1"}, "None"),
    ],
)
def test_hosts_below_the_sites_and_lists_of_browsers_are_chosen(
    chosen: dict[str, str], header: str
):
    ask = (
        "import django; django.setup(); from django.test import Client; "
        "answer = Client().get('/healthz', secure=True, headers={'host': 'forests.example.org'}); "
        "print(answer.status_code, answer.headers.get('Strict-Transport-Security'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask],
        env=os.environ | PRODUCTION | chosen | {"DJANGO_SETTINGS_MODULE": "prm_site.settings"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == f"200 {header}"


def test_a_host_is_not_preloaded_without_those_below_it(monkeypatch: pytest.MonkeyPatch):
    said = refusal(monkeypatch, **PRODUCTION, PRM_HSTS_PRELOAD="1")

    assert said.startswith("PRM_HSTS_PRELOAD=1 needs PRM_HSTS_SUBDOMAINS=1")


def test_production_refuses_to_show_tracebacks(monkeypatch: pytest.MonkeyPatch):
    assert "PRM_DEBUG=1 shows secrets" in refusal(monkeypatch, **PRODUCTION, PRM_DEBUG="1")


def test_djongo_is_refused_in_one_line_that_says_where_to_read_why(
    monkeypatch: pytest.MonkeyPatch,
):
    said = refusal(monkeypatch, DATABASE_ENGINE="djongo")

    assert "DATABASE_ENGINE=djongo is not supported" in said
    assert "docs/decisions/001-database-engine.md" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PRM_URL_PREFIX", "prm", "a path such as /prm"),
        ("PRM_URL_PREFIX", "https://host/prm", "a path such as /prm"),
        ("PRM_URL_PREFIX", "/a//b", "a path such as /prm"),
        ("PRM_URL_PREFIX", "/../a", "a path such as /prm"),
        ("REDIS_URL", "garbage", "redis:// or rediss:// or unix://"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:port/0", "redis:// or rediss:// or unix://"),
        ("MONGODB_URI", "mongodb://[bad", "mongodb:// or mongodb+srv://"),
        ("MONGODB_URI", "postgres://me:hunter2@127.0.0.1/", "mongodb:// or mongodb+srv://"),
        ("MONGODB_URI", "mongodb://a:27017,b:hunter2/", "mongodb:// or mongodb+srv://"),
        ("OPENAI_BASE_URL", "127.0.0.1:8000/v1", "http:// or https://"),
        ("OPENAI_BASE_URLS", "http://a/v1,hunter2", "http:// or https://"),
        ("OPENAI_BASE_URLS", "http://a/v1,http://u:hunter2@b/v1", "take a key, OPENAI_API_KEY"),
        ("SCORER_BASE_URL", "http://hunter2@b/v1", "take a key, SCORER_API_KEY"),
        ("PRM_MONGODB_TIMEOUT_SECONDS", "abc", "whole number"),
        ("PRM_MONGODB_TIMEOUT_SECONDS", "-5", "whole number"),
        ("PRM_MONGODB_TIMEOUT_SECONDS", "9" * 30, "whole number of at most 9 digits"),
        ("PRM_LOGIN_FAILURES", "0", "the least is 1"),
        ("PRM_LOGIN_WAIT_MINUTES", "0", "the least is 1"),
        ("PRM_LOG_LEVEL", "foo", "DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("PRM_LOG_FORMAT", "xml", "line, json"),
        ("PRM_MONGODB_READ_PREFERENCE", "secondary", "primary, primaryPreferred"),
        ("PRM_PRODUCTION", "maybe", "1, true, yes, on, 0, false, no, off"),
        ("PRM_PUBLIC", "ture", "1, true, yes, on, 0, false, no, off"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
):
    said = refusal(monkeypatch, **{name: value})

    assert re.match(rf"{name}\b", said)
    assert allowed in said
    assert "hunter2" not in said
    assert len(said.splitlines()) == 1


def test_one_and_several_model_servers_together_are_refused(monkeypatch: pytest.MonkeyPatch):
    said = refusal(
        monkeypatch, OPENAI_BASE_URL="http://a/v1", OPENAI_BASE_URLS="http://b/v1,http://c/v1"
    )

    assert "OPENAI_BASE_URL and OPENAI_BASE_URLS are both set: set one of them" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PRM_PRODUCTION", "On"),
        ("REDIS_URL", "unix:///run/queue.sock?db=1"),
        ("REDIS_URL", "rediss://:p%40ss@[::1]:6379/0"),
        ("MONGODB_URI", "mongodb://me:secret@a:27017,[::1]:27018/?replicaSet=rs0"),
        ("MONGODB_URI", "mongodb+srv://me:secret@db.example.org/"),
        ("MONGODB_URI", "mongodb://%2Frun%2Fmongodb.sock"),
        ("PRM_LOG_LEVEL", "error"),
        ("PRM_MONGODB_TIMEOUT_SECONDS", ""),
        ("PRM_SSL_REDIRECT", ""),
    ],
)
def test_every_form_of_a_value_is_allowed(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    for setting, given in (PRODUCTION | {name: value}).items():
        monkeypatch.setenv(setting, given)
    settings = runpy.run_path("prm_site/settings.py")

    assert settings["PRODUCTION"] is True
    assert settings["SECURE_SSL_REDIRECT"] is True
    assert settings["DATABASES"]["default"]["OPTIONS"]["serverSelectionTimeoutMS"] == 5000
    assert settings["LOGGING"]["root"]["level"] in {"WARNING", "ERROR"}
    if name in {"REDIS_URL", "MONGODB_URI"}:
        assert settings[name] == value


def test_the_first_of_several_model_servers_is_the_one_for_a_single(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("OPENAI_BASE_URLS", "http://b/v1, http://c/v1,")
    settings = runpy.run_path("prm_site/settings.py")

    assert settings["OPENAI_BASE_URL"] == "http://b/v1"
    assert settings["OPENAI_BASE_URLS"] == ["http://b/v1", "http://c/v1"]


def test_blanks_between_hosts_and_origins_do_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PRM_ALLOWED_HOSTS", "a.example.org, b.example.org,")
    monkeypatch.setenv("PRM_CSRF_TRUSTED_ORIGINS", " https://a.example.org ,https://b.example.org")
    settings = runpy.run_path("prm_site/settings.py")

    assert settings["ALLOWED_HOSTS"] == ["a.example.org", "b.example.org"]
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://a.example.org", "https://b.example.org"]


def test_the_page_that_explains_the_database_engine_is_there():
    assert Path("docs/decisions/001-database-engine.md").is_file()


def test_the_development_key_is_made_once_and_is_nobodys_to_read(tmp_path: Path):
    data = tmp_path / "data"
    key = read_or_create_secret_key(data)

    assert read_or_create_secret_key(data) == key
    assert len(key) >= 50
    assert stat.S_IMODE((data / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_processes_that_make_the_development_key_at_once_use_one_key(tmp_path: Path):
    for number in range(50):
        with ThreadPoolExecutor(4) as threads:
            keys = set(threads.map(read_or_create_secret_key, [tmp_path / str(number)] * 4))
        assert keys == {(tmp_path / str(number) / "secret_key").read_text()}


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
sys.argv = ["manage.py", "check"]
runpy.run_path("manage.py", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", interrupt], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
