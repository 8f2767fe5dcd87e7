"""Database router that creates no collections for unused models."""

from typing import Any


class LoginAttemptsRouter:
    """Skips the models of django-axes: it counts in the cache, so they would stay empty."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:  # noqa: ARG002
        return False if app_label == "axes" else None
