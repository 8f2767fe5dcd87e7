import json
import os
import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User

from common.commands import ProjectCommand

USERNAME = "demo"


class Command(ProjectCommand):
    help = "Make the demo's user with a random password, and print both as JSON."

    def handle(self, **options: Any) -> None:
        path = settings.DATA_DIR / "demo_password"
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(12))
        password = path.read_text()
        user = User.objects.filter(username=USERNAME).first() or User(username=USERNAME)
        if not user.check_password(password):
            user.is_staff = user.is_superuser = True
            user.set_password(password)
            user.save()
        self.stdout.write(json.dumps({"username": USERNAME, "password": password}))
