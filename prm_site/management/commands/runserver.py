from whitenoise.runserver_nostatic.management.commands import runserver

from common.storage_problems import STORAGE_ERRORS, is_of_storage, storage_problem


class Command(runserver.Command):
    def check_migrations(self) -> None:
        """Start without a database, too: pages say that it is away, until it is there."""
        try:
            super().check_migrations()
        except STORAGE_ERRORS as error:
            if not is_of_storage(error):
                raise
            self.stderr.write(f"{storage_problem(error)}; pages answer 503 until it is there")
