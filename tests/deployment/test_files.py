"""Files of the deployment that cannot run here: the tests check all that the files name."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import granian.cli
import pytest
import yaml
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command, get_commands, load_command_class
from django.urls import resolve

from deploy.healthcheck import PORT
from prm_site.views import healthz
from prm_site.wsgi import application

COMPOSE: dict[str, Any] = yaml.safe_load(Path("compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = Path("Dockerfile").read_text()
UNITS = sorted(Path("deploy/systemd").glob("prm-[sw]*.service"))
"""The units that stay up; `prm-clearsessions@` runs once a day and ends."""
CLEARING = Path("deploy/systemd/prm-clearsessions@.service")
ALL_UNITS = sorted(Path("deploy/systemd").glob("prm-*"))
OURS = ("migrate", "web", "worker", "clearsessions")
EXAMPLE = Path(".env.example").read_text()


def instructions(name: str) -> list[str]:
    """Return the arguments of each instruction of the Dockerfile with this name."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name}\s+(.*)$", joined, re.MULTILINE)


def starts(unit: Path) -> list[str]:
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    return shlex.split(line)


def said(unit: Path) -> dict[str, list[str]]:
    """Return the values of each setting of a unit."""
    values: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            values.setdefault(name, []).append(value)
    return values


def command_lines() -> list[list[str]]:
    """Return every command line that the deployment runs with our packages."""
    found = [SERVICES[name].get("command", []) for name in OURS if name != "clearsessions"]
    found += clearing()
    found += [service["healthcheck"].get("test", []) for service in SERVICES.values()
              if "healthcheck" in service]  # fmt: skip
    found += [starts(unit) for unit in UNITS]
    found += [json.loads(line) for line in instructions("CMD") if line.startswith("[")]
    found += [json.loads(line.partition("CMD")[2]) for line in instructions("HEALTHCHECK")]
    found += [shlex.split(part) for line in instructions("RUN") for part in re.split("&&|;", line)]
    return found


def clearing() -> list[list[str]]:
    """Return the command lines that delete ended sessions: that of the unit, and of compose."""
    shell, option, loop = SERVICES["clearsessions"]["command"]
    assert (shell, option) == ("sh", "-c")
    once = re.fullmatch(r"while :; do (.*); sleep 86400; done", loop)
    assert once
    return [starts(CLEARING), shlex.split(once[1])]


def after(word: str) -> list[list[str]]:
    """Return the words after a word, for each command line that has it."""
    return [line[line.index(word) + 1 :] for line in command_lines() if word in line]


class TestCompose:
    @pytest.mark.parametrize("name", SERVICES)
    def test_a_service_is_started_again_and_says_whether_it_is_well(self, name: str):
        service = SERVICES[name]
        runs_once = name == "migrate"
        assert service["restart"] == ("no" if runs_once else "unless-stopped")
        from_image = name == "web"  # the Dockerfile's own check
        if runs_once or name == "clearsessions":  # it waits for a day at a time
            assert service["healthcheck"] == {"disable": True}
        elif not from_image:
            assert service["healthcheck"]["test"]

    @pytest.mark.parametrize("name", SERVICES)
    def test_an_image_has_a_version(self, name: str):
        image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", SERVICES[name]["image"])
        _, separator, tag = image.rpartition(":")
        assert separator
        assert tag not in ("", "latest")

    def test_nothing_but_the_site_can_be_reached_and_only_from_this_machine(self):
        ports = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
        assert list(ports) == ["web"]
        assert all(port.startswith("127.0.0.1:") for port in ports["web"])

    def test_our_containers_run_without_rights(self):
        for name in OURS:
            assert SERVICES[name]["read_only"] is True
            assert SERVICES[name]["cap_drop"] == ["ALL"]
            assert "user" not in SERVICES[name]  # the image sets it

    def test_every_variable_is_explained_and_no_secret_has_a_default(self):
        text = Path("compose.yaml").read_text()
        used = re.findall(r"\$\{(\w+)(?::([?-])([^}]*))?\}", text)
        assert len(used) == text.count("${") > 20
        explained = set(re.findall(r"^#?(\w+)=", EXAMPLE, re.MULTILINE))
        assert {name for name, _, _ in used} - explained == set()
        for name, kind, default in used:
            if re.search(r"PASSWORD|KEY|TOKEN|SECRET", name):
                assert kind == "?" or default == "", name

    def test_no_secret_is_written_out(self):
        secrets = [
            value
            for service in SERVICES.values()
            for name, value in service.get("environment", {}).items()
            if re.search(r"PASSWORD|KEY|TOKEN|AUTH|SECRET", name)
        ]
        words = SERVICES["valkey"]["command"]
        secrets.append(words[words.index("--requirepass") + 1])
        secrets += re.findall(r"://\w*:([^@]*)@", Path("compose.yaml").read_text())
        assert len(secrets) > 15
        variable = re.compile(r"\$\{\w+(:\?[^}]*|:-)\}")
        assert [one for one in secrets if not variable.fullmatch(one)] == []

    def test_what_it_mounts_and_joins_is_there(self):
        for service in SERVICES.values():
            assert set(service.get("networks", [])) <= {"default", *COMPOSE["networks"]}
            for volume in service.get("volumes", []):
                source, target, *_ = volume.split(":")
                assert Path(source).exists() if source[0] == "." else source in COMPOSE["volumes"]
                assert target.startswith("/")
        mounted = {f"/deploy/{path.name}" for path in Path("deploy/mongodb").iterdir()}
        asked = re.findall(r"/deploy/[\w.-]+", Path("compose.yaml").read_text())
        assert set(asked) - {"/deploy/mongodb"} <= mounted

    def test_every_setting_of_the_site_can_be_set(self):
        read = set(re.findall(r'"(PRM_[A-Z_]+)"', Path("prm_site/settings.py").read_text()))
        fixed = {
            # the image sets them, or their default is right wherever compose runs
            "PRM_ENV_FILE", "PRM_DATA_DIR", "PRM_DEBUG", "PRM_MONGODB_TIMEOUT_SECONDS",
            "PRM_MONGODB_WRITE_TIMEOUT_SECONDS", "PRM_MONGODB_POOL_SIZE",
            "PRM_MONGODB_READ_PREFERENCE",
        }  # fmt: skip
        given = SERVICES["web"]["environment"].keys()
        assert read - fixed - given == set()

    def test_what_waits_for_something_waits_until_it_is_well(self):
        for name in ("web", "worker"):
            waits = {one: how["condition"] for one, how in SERVICES[name]["depends_on"].items()}
            assert waits == {
                "migrate": "service_completed_successfully",
                "mongodb": "service_healthy",
                "valkey": "service_healthy",
            }

    @pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker client")
    def test_docker_itself_can_read_it(self, tmp_path: Path):
        required = re.findall(r"\$\{(\w+):\?", Path("compose.yaml").read_text())
        (tmp_path / "env").write_text("".join(f"{name}=x1\n" for name in required))
        command = ["docker", "compose", "--env-file", str(tmp_path / "env"), "--profile", "vllm"]
        if subprocess.run([*command[:2], "version"], capture_output=True, check=False).returncode:
            pytest.skip("the docker client has no compose")

        done = subprocess.run(
            [*command, "config", "--quiet"], capture_output=True, text=True, check=False
        )

        assert (done.returncode, done.stderr) == (0, "")


class TestImage:
    def test_it_runs_as_nobody_in_particular_and_checks_its_health(self):
        (user,) = instructions("USER")
        assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
        assert "/healthz" in instructions("HEALTHCHECK")[0]

    def test_all_that_is_copied_is_there_and_let_through(self):
        let_through = {
            line[1:] for line in Path(".dockerignore").read_text().splitlines() if line[:1] == "!"
        }
        copied = {
            source
            for line in instructions("COPY")
            if not line.startswith("--from")
            for source in line.split()[:-1]
        }
        assert copied == let_through
        assert [one for one in copied if not Path(one).exists()] == []

    def test_every_app_of_the_site_is_in_it(self):
        copied = " ".join(instructions("COPY")).split()
        apps = {app.partition(".")[0] for app in settings.INSTALLED_APPS}
        own = {app for app in apps if Path(app).is_dir()} | {"experiment_configs", "templates"}
        assert own >= {"forests", "rollouts", "metrics", "preferences", "prm_site"}
        assert own - set(copied) == set()

    def test_what_the_packages_are_built_from_is_copied_before_they_are_installed(self):
        project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
        first_stage = DOCKERFILE[: DOCKERFILE.index("pip install")]
        for name in ("pyproject.toml", project["readme"], *project["license-files"]):
            assert re.search(rf"^COPY .*\b{re.escape(name)}\b", first_stage, re.MULTILINE), name

    def test_both_stages_use_one_python_that_the_project_supports(self):
        images = {line.split()[0] for line in instructions("FROM")}
        assert len(instructions("FROM")) == 2
        (image,) = images
        version = re.findall(r"^python:(\d+\.\d+)-slim-bookworm$", image)[0]
        project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
        assert project["requires-python"] == f">={version}"


class TestUnits:
    @pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
    def test_it_runs_without_rights_and_is_stopped_gently(self, unit: Path):
        values = said(unit)
        assert values["User"] == ["prm"]
        assert values["NoNewPrivileges"] == ["yes"]
        assert values["CapabilityBoundingSet"] == [""]
        assert values["ProtectSystem"] == ["strict"]
        assert values["KillSignal"] == ["SIGTERM"]
        assert values["KillMode"] == ["mixed"]
        assert int(values["TimeoutStopSec"][0]) >= 30

    def test_sessions_are_cleared_without_rights_once_a_day(self):
        site, values = said(Path("deploy/systemd/prm-site@.service")), said(CLEARING)
        ended = {"Type", "TimeoutStartSec", "ExecStart", "Description"}
        assert {name: values[name] for name in values if name not in ended}.items() <= site.items()
        assert (values["Type"], values["TimeoutStartSec"]) == (["oneshot"], ["10min"])
        timer = said(CLEARING.with_suffix(".timer"))
        assert (timer["OnCalendar"], timer["Persistent"]) == (["daily"], ["true"])

    @pytest.mark.parametrize("unit", [*UNITS, CLEARING], ids=lambda unit: unit.name)
    def test_an_instance_is_a_release(self, unit: Path):
        values = said(unit)
        assert values["WorkingDirectory"] == ["/opt/prm-site/%i"]
        assert starts(unit)[0] == "/opt/prm-site/%i/.venv/bin/python"
        assert values["EnvironmentFile"] == ["/etc/prm-site/env"]

    def test_the_proxy_of_the_guide_asks_the_sockets_of_the_units(self):
        site = starts(Path("deploy/systemd/prm-site@.service"))
        socket = site[site.index("--uds") + 1]
        guide = Path("docs/deployment.md").read_text()
        assert re.findall(r"server unix:(\S+) ", guide) == [
            socket.replace("%i", "a"), socket.replace("%i", "b"),
        ]  # fmt: skip
        assert f"--unix-socket {socket.replace('%i', 'b')} " in guide

    @pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
    @pytest.mark.parametrize("unit", ALL_UNITS, ids=lambda unit: unit.name)
    def test_systemd_itself_can_read_it(self, unit: Path, tmp_path: Path):
        """The program of the unit is not installed here, so `/bin/true` replaces it."""
        for one in {unit, unit.with_suffix(".service")}:  # a timer starts it
            text = re.sub(
                r"^ExecStart=\S+", "ExecStart=/bin/true", one.read_text(), flags=re.MULTILINE
            )
            (tmp_path / one.name.replace("@", "@a")).write_text(text)
        copy = tmp_path / unit.name.replace("@", "@a")

        done = subprocess.run(
            ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
        )

        about_it = [line for line in done.stderr.splitlines() if copy.name in line]
        assert about_it == []


@pytest.mark.django_db
@pytest.mark.parametrize("line", clearing(), ids=["systemd", "compose"])
def test_what_the_deployment_runs_each_day_deletes_ended_sessions_and_no_others(line: list[str]):
    ended, lasting = SessionStore(), SessionStore()
    ended.set_expiry(-1)
    for session in (ended, lasting):
        session.create()

    call_command(*line[line.index("manage.py") + 1 :])

    assert [one.session_key for one in Session.objects.all()] == [lasting.session_key]


def test_every_command_exists_and_takes_its_arguments():
    lines = after("manage.py")
    assert sorted(line[0] for line in lines) == [
        "clearsessions", "clearsessions", "collectstatic", "migrate", "rqworker-pool",
        "rqworker-pool",
    ]  # fmt: skip
    for name, *arguments in lines:
        command = load_command_class(get_commands()[name], name)
        parser = command.create_parser("manage.py", name)
        numbers = [re.sub(r"\$\{PRM_WORKER_PROCESSES.*\}", "4", one) for one in arguments]
        options = parser.parse_args(numbers)
        if name == "rqworker-pool":
            assert options.args == [settings.ROLLOUT_QUEUE]
            assert options.num_workers == 4


def test_every_health_check_asks_for_something_that_is_there():
    checks = after("deploy/healthcheck.py")
    assert len(checks) == 2
    for check in checks:
        match check:
            case ["site", path]:
                assert resolve(path).func is healthz
            case ["workers", queue]:
                assert queue == settings.ROLLOUT_QUEUE
            case _:
                pytest.fail(f"not a check: {check}")


def test_the_site_is_served_alike_by_image_and_unit():
    """Granian itself checks the options; only the place where it listens differs."""
    served = after("granian")
    assert len(served) == 2
    places = (r"--host 0\.0\.0\.0 --port (\d+) ", r"--uds \S+ --uds-permissions 0o666 ")
    others = [
        re.sub(place, "", " ".join(line)) for place, line in zip(places, served[::-1], strict=True)
    ]
    assert others[0] == others[1]
    assert others[0].endswith(" prm_site.wsgi:application")
    assert callable(application)
    for line in served:
        granian.cli.cli.make_context("granian", list(line))
    assert re.findall(places[0], " ".join(served[1])) == [str(PORT)] == instructions("EXPOSE")
