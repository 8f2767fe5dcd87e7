"""Which models have no collection."""

from typing import Any


class LoginAttemptsRouter:
    """django-axes counts in the cache: its models would be collections that stay empty."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:  # noqa: ARG002
        return False if app_label == "axes" else None
