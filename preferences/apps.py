import importlib

from django.apps import AppConfig


class PreferencesConfig(AppConfig):
    name = "preferences"
    verbose_name = "Preferences"

    def ready(self) -> None:
        importlib.import_module("preferences.receivers")  # it needs the models
