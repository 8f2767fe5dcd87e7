"""What no engine or machine is here to run is at least checked against what it names."""

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class

COMPOSE: dict[str, Any] = yaml.safe_load(Path("compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = Path("Dockerfile").read_text()
UNITS = sorted(Path("deploy/systemd").iterdir())
EXAMPLE = Path(".env.example").read_text()


def instructions(name: str) -> list[str]:
    """Return the arguments of each such instruction of the Dockerfile."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(rf"^{name}\s+(.*)$", joined, re.MULTILINE)


def starts(unit: Path) -> list[str]:
    return re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)


def commands() -> list[list[str]]:
    """Return every command line for manage.py that the deployment runs."""
    found = [service.get("command", []) for service in SERVICES.values()]
    found += [shlex.split(line) for line in instructions("RUN")]
    for unit in UNITS:
        found += [
            shlex.split(one)
            for one in re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
        ]
    lines = []
    for words in found:
        if "manage.py" in words:
            line = words[words.index("manage.py") + 1 :]
            lines.append(line[: line.index("&&")] if "&&" in line else line)
    return lines


class TestCompose:
    @pytest.mark.parametrize("name", SERVICES)
    def test_a_service_is_started_again_and_says_whether_it_is_well(self, name: str):
        service = SERVICES[name]
        runs_once = name == "migrate"
        assert service["restart"] == ("no" if runs_once else "unless-stopped")
        from_image = name == "web"  # the Dockerfile's own check
        if runs_once:
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
        for name in ("migrate", "web", "worker"):
            assert SERVICES[name]["read_only"] is True
            assert SERVICES[name]["cap_drop"] == ["ALL"]
            assert "user" not in SERVICES[name]  # that of the image

    def test_every_variable_is_explained_and_no_secret_has_a_default(self):
        text = Path("compose.yaml").read_text()
        used = re.findall(r"\$\{(\w+)(?::([?-])([^}]*))?\}", text)
        assert [name for name, _, _ in used if name not in EXAMPLE] == []
        for name, kind, default in used:
            if re.search(r"PASSWORD|KEY|TOKEN|SECRET", name):
                assert kind == "?" or default == "", name

    def test_every_setting_of_the_site_can_be_set(self):
        read = set(re.findall(r'"(PRM_[A-Z_]+)"', Path("prm_site/settings.py").read_text()))
        fixed = {
            # those of the image, and those whose default is right wherever compose runs
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
        assert own - set(copied) == set()

    def test_it_uses_a_python_that_the_project_supports(self):
        (version,) = {
            re.findall(r"python:(\d+\.\d+)", line)[0] for line in instructions("FROM")[:1]
        }
        assert version == "3.11"

    def test_scripts_are_python(self):
        ast.parse(Path("deploy/healthcheck.py").read_text())


class TestUnits:
    @pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
    def test_it_runs_without_rights_and_is_stopped_gently(self, unit: Path):
        said = dict(
            line.split("=", 1)
            for line in unit.read_text().splitlines()
            if "=" in line and line[:1] != "#"
        )
        assert said["User"] == "prm"
        assert said["NoNewPrivileges"] == "yes"
        assert said["ProtectSystem"] == "strict"
        assert said["KillSignal"] == "SIGTERM"
        assert said["KillMode"] == "mixed"
        assert int(said["TimeoutStopSec"]) >= 30

    @pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
    @pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
    def test_systemd_itself_can_read_it(self, unit: Path, tmp_path: Path):
        """Its program is not installed here, so another one stands in its place."""
        text = re.sub(
            r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE
        )
        copy = tmp_path / unit.name.replace("@", "@a")
        copy.write_text(text)

        done = subprocess.run(
            ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
        )

        about_it = [line for line in done.stderr.splitlines() if copy.name in line]
        assert about_it == []


def test_every_command_exists_and_takes_its_arguments():
    assert {line[0] for line in commands()} >= {"migrate", "rqworker-pool", "collectstatic"}
    for name, *arguments in commands():
        command = load_command_class(get_commands()[name], name)
        parser = command.create_parser("manage.py", name)
        numbers = [re.sub(r"\$\{PRM_WORKER_PROCESSES.*\}", "4", one) for one in arguments]
        parser.parse_args(numbers)


def test_the_site_is_served_as_by_the_demo():
    served = [shlex.split(" ".join(re.findall(r'"([^"]*)"', instructions("CMD")[-1])))]
    served += [
        shlex.split(line)
        for line in re.findall(r"^ExecStart=(.*granian.*)$", UNITS[0].read_text(), re.MULTILINE)
    ]
    assert len(served) == 2
    for words in served:
        assert words[-1] == "prm_site.wsgi:application"
        assert words[words.index("--interface") + 1] == "wsgi"
