"""Permissions of users and groups, read without joins: the embedded MongoDB gets joins wrong."""

from collections.abc import Iterable

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model


class FlatModelBackend(ModelBackend):
    """Django's own login and permissions, read one collection after the other.

    Django reads a permission's app through two joins. The embedded MongoDB then returns "1" as the
    app's name, so that only superusers would have permissions.
    """

    def get_user_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the user's own permissions, without those of groups, as `<app>.<codename>`."""
        if not _has_permissions(user_obj, obj):
            return set()
        if getattr(user_obj, "is_superuser", False):
            return _names(Permission.objects.all())
        of_user = User.user_permissions.through.objects.filter(user_id=user_obj.pk)
        return _names_of(of_user.values_list("permission_id", flat=True))

    def get_group_permissions(
        self, user_obj: AbstractBaseUser | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return the permissions of the user's groups, as `<app>.<codename>`."""
        if not _has_permissions(user_obj, obj):
            return set()
        if getattr(user_obj, "is_superuser", False):
            return _names(Permission.objects.all())
        memberships = User.groups.through.objects.filter(user_id=user_obj.pk)
        groups = list(memberships.values_list("group_id", flat=True))
        if not groups:
            return set()
        of_groups = Group.permissions.through.objects.filter(group_id__in=groups)
        return _names_of(of_groups.values_list("permission_id", flat=True))


def _has_permissions(user: AbstractBaseUser | AnonymousUser, obj: Model | None) -> bool:
    return user.is_authenticated and user.is_active and obj is None


def _names_of(ids: Iterable[object]) -> set[str]:
    known = set(ids)
    return _names(Permission.objects.filter(pk__in=known)) if known else set()


def _names(permissions: Iterable[Permission]) -> set[str]:
    apps = ContentType.objects  # caches each type after its first query
    return {
        f"{apps.get_for_id(one.content_type_id).app_label}.{one.codename}" for one in permissions
    }
