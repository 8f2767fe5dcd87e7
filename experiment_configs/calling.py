"""Call the methods of a config, which are users' code and may raise anything."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from common.text import describe
from experiment_configs.answers import NotComparedError
from experiment_configs.interfaces import ConfigError

P = ParamSpec("P")
R = TypeVar("R")


def call_method(method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what a config's method returns, which may be of another type than it should.

    Raises:
        ConfigError: the method failed; the message is one line that names it.
        NotComparedError: the method raised it.
    """
    try:
        return method(*args, **kwargs)
    except (ConfigError, NotComparedError):
        raise
    except Exception as error:
        raise ConfigError(f"{method.__name__} failed: {describe(error)}") from error
