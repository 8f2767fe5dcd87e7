from typing import Any, cast

from django.core.management.commands import migrate
from django.db import connections
from django_mongodb_backend.base import DatabaseWrapper
from django_mongodb_backend.schema import DatabaseSchemaEditor


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, even if an interrupted run or an earlier command left collections.

        MongoDB runs migrations without a transaction, so a killed one leaves its collections.
        """
        database = cast("DatabaseWrapper", connections[options["database"]])
        database.SchemaEditorClass = RepeatableSchemaEditor
        super().handle(*args, **options)


class RepeatableSchemaEditor(DatabaseSchemaEditor):
    """Completes an existing collection instead of refusing to create it."""

    def create_model(self, model: Any) -> None:
        if model._meta.db_table not in self.connection.introspection.table_names():  # noqa: SLF001
            super().create_model(model)
            return
        # MongoDB ignores requests for indexes that exist.
        self._create_model_indexes(model)  # type: ignore[no-untyped-call]
        for field in model._meta.local_many_to_many:  # noqa: SLF001
            through = field.remote_field.through
            if through._meta.auto_created:  # noqa: SLF001
                self.create_model(through)
