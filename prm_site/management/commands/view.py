import os
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, add_port_argument
from common.places import to_type
from prm_site.services.definitions import MONGODB
from prm_site.serving import demo_login, serve_site


class Command(ProjectCommand):
    help = "Serve the pages on this machine until stopped, and print their address."
    examples = "manage.py view"

    def add_arguments(self, parser: CommandParser) -> None:
        add_port_argument(parser)

    def handle(self, *, port: int, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError(
                "view serves this machine alone, without HTTPS: unset PRM_PRODUCTION, or serve "
                "the site as docs/deployment.md says"
            )
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        serve_site(settings.BASE_DIR, port, self._welcome)

    def _welcome(self, address: str) -> None:
        self.say(f"The forests: {address}{settings.URL_PREFIX}/")
        if MONGODB.named_addresses(os.environ):
            self.say(f"Log in as a user of the site; `{to_type('add_user')}` makes one")
        else:  # the embedded database of this machine
            login = demo_login(settings.BASE_DIR)
            self.say(f"Log in as {login['username']} with password {login['password']}")
        self.say("Ctrl-C stops it")
