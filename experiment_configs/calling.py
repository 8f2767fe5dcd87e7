"""Call the methods of a config: they are users' code and may raise anything."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from common.text import describe
from experiment_configs.answers import NotComparedError
from experiment_configs.interfaces import ConfigError

P = ParamSpec("P")
R = TypeVar("R")


def call_method(method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return the result of a config's method. Its type is not checked.

    Raises:
        ConfigError: the method failed. The message is one line that names the method.
        NotComparedError: the method raised it.
    """
    try:
        return method(*args, **kwargs)
    except (ConfigError, NotComparedError):
        raise
    except Exception as error:
        raise ConfigError(f"{method.__name__} failed: {describe(error)}") from error
