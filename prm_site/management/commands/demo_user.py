import json
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management.base import CommandError

from common.commands import ProjectCommand
from prm_site.configuration.secret_key import read_or_create_secret

USERNAME = "demo"


class Command(ProjectCommand):
    help = "Make the demo's user with a random password, and print both as JSON."

    def handle(self, **options: Any) -> None:
        path = settings.DATA_DIR / "demo_password"
        try:
            password = read_or_create_secret(path, num_bytes=12)
        except OSError as error:
            raise CommandError(f"{path} cannot be read or written: {error.strerror}") from error
        # Of two processes that make the user at once, the later one gets the user of the other.
        user, _ = User.objects.get_or_create(
            username=USERNAME,
            defaults={
                "password": make_password(password), "is_staff": True, "is_superuser": True,
            },
        )  # fmt: skip
        if not user.check_password(password):
            user.is_staff = user.is_superuser = True
            user.set_password(password)
            user.save()
        self.stdout.write(json.dumps({"username": USERNAME, "password": password}))
