"""Permissions to label steps, and to decide where people disagree."""

from django.contrib.auth.models import User


def may_label(user: object) -> bool:
    """Return whether a user may label steps; anonymous users of a public site can only read."""
    return isinstance(user, User) and user.has_perm("forests.label_step")


def may_decide(user: object) -> bool:
    """Return whether a user may decide where people disagree."""
    return isinstance(user, User) and user.has_perm("forests.decide_label")
