import importlib

from django.apps import AppConfig


class RolloutsConfig(AppConfig):
    name = "rollouts"
    verbose_name = "Rollouts"

    def ready(self) -> None:
        importlib.import_module("rollouts.workers.queue_guard")  # after the models are loaded
