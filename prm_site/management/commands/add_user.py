import secrets
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import IntegrityError

from common.commands import ProjectCommand
from common.places import to_type
from prm_site.access.roles import OPERATOR, ROLES


class Command(ProjectCommand):
    help = (
        "Make a user with one role, or change a user's role. Prints a new user's password once, as "
        "JSON. Users change it on the site (Password); `changepassword` changes it too."
    )
    examples = "python manage.py add_user --username ada --role reviewer"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--username", required=True)
        parser.add_argument(
            "--role",
            required=True,
            choices=list(ROLES),
            help="viewer: reads pages; reviewer: also judges pairs; operator: also pauses, "
            "resumes, retries and deletes forests, in the admin",
        )

    def handle(self, *, username: str, role: str, **options: Any) -> None:
        group = Group.objects.filter(name=role).first()
        if group is None:
            raise CommandError(f"there is no group {role!r}: run `{to_type('migrate')}`")
        user = User.objects.filter(username=username).first()
        password = None
        if user is None:
            password = secrets.token_urlsafe(12)
            user = User(username=username)
            user.set_password(password)
        user.is_staff = user.is_superuser or role == OPERATOR
        try:
            user.full_clean()
        except ValidationError as error:
            raise CommandError(f"--username {username!r}: {' '.join(error.messages)}") from None
        try:
            user.save()
        except IntegrityError:
            raise CommandError(
                f"--username {username!r}: another command has just made this user. To change the "
                "role, run this command again"
            ) from None
        user.groups.remove(*Group.objects.filter(name__in=list(ROLES)))
        user.groups.add(group)
        made = {"username": username, "role": role}
        self.show_json(made | ({"password": password} if password else {}))
