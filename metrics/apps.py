import importlib

from django.apps import AppConfig


class MetricsConfig(AppConfig):
    name = "metrics"
    verbose_name = "Metrics"

    def ready(self) -> None:
        importlib.import_module("metrics.receivers")  # it needs the models
