from whitenoise.runserver_nostatic.management.commands import runserver

from common.storage_problems import STORAGE_ERRORS, is_of_storage, storage_problem


class Command(runserver.Command):
    def check_migrations(self) -> None:
        """Start even without a database: pages answer 503 until it is up."""
        try:
            super().check_migrations()
        except STORAGE_ERRORS as error:
            if not is_of_storage(error):
                raise
            self.stderr.write(f"{storage_problem(error)}; pages answer 503 until it is up")
