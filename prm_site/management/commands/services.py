import json
import os
import signal
import subprocess
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand
from common.places import module_command
from common.storage_problems import without_password
from prm_site.services import registry
from prm_site.services.definitions import ALL, MODEL, MONGODB, Service
from prm_site.services.supervisor import ServiceError, Supervisor


class Command(ProjectCommand):
    help = (
        "Run the embedded services (MongoDB, queue, model server) until stopped. "
        "A service whose server .env names is not started, only checked."
    )
    needs_database = False
    examples = """
manage.py services
manage.py services --only mongodb,queue --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--only",
            default="",
            help="services to run, separated by commas: mongodb, queue, model (default: all)",
        )
        parser.add_argument("--json", action="store_true", help="print the addresses as JSON")

    def handle(self, **options: Any) -> None:
        chosen = _chosen(options["only"])
        embedded = [service for service in chosen if not service.named_addresses(os.environ)]
        for service in chosen:
            if service not in embedded:
                self._check(service)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # unwinds, so all are stopped
        with Supervisor(settings.DATA_DIR, embedded, self.say) as supervisor:
            if MONGODB in chosen:
                _migrate()
            self._show_addresses(chosen, as_json=options["json"])
            supervisor.mark_ready()
            supervisor.watch()

    def _check(self, service: Service) -> None:
        """Check the servers that .env names; a missing model server is only a warning.

        Raises:
            CommandError: the named database or queue does not answer.
        """
        setting = service.named_by(os.environ)
        for address in service.named_addresses(os.environ):
            if service.is_ready(address):
                continue
            problem = (
                f"{without_password(address)} of {setting} does not answer: check it, or unset "
                f"{setting} to use the embedded one"
            )
            if service is not MODEL:
                raise CommandError(problem)
            self.say(f"warning: {problem}")

    def _show_addresses(self, services: list[Service], *, as_json: bool) -> None:
        running = registry.running_addresses(settings.DATA_DIR)
        addresses = {
            service.name: ",".join(map(without_password, service.named_addresses(os.environ)))
            or running[service.name]
            for service in services
        }
        if as_json:
            self.stdout.write(json.dumps(addresses))
        else:
            for name, address in addresses.items():
                self.stdout.write(f"{name}: {address}")
        self.stdout.flush()
        self.say("running; Ctrl-C stops them")


def _chosen(names: str) -> list[Service]:
    known = {service.name: service for service in ALL}
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(known)
    if unknown := [name for name in wanted if name not in known]:
        raise CommandError(
            f"--only: unknown service {', '.join(unknown)}; use {', '.join(known)}", returncode=2
        )
    return [service for service in ALL if service.name in wanted]


def _migrate() -> None:
    """Prepare the database in a new process, whose settings see the running service."""
    done = subprocess.run(  # noqa: S603
        module_command("prm_site", "migrate", "-v", "0"),
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise ServiceError(f"the database cannot be prepared: {lines[-1]}")
