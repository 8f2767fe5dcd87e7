"""Prices of models, by the name that their server lists."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forests.costs.budgets import Prices
from prm_site.configuration.environment import refuse

SETTING = "PRM_PRICES"
_FIELDS = {"in", "out"}


def prices_of(text: str) -> dict[str, Prices]:
    """Return the prices of a million prompt tokens and of a million completion tokens, by model.

    `text` is JSON such as `{"gpt-4o-mini": {"in": 0.15, "out": 0.6}}`, or the path of a JSON or
    TOML file with the same content. An empty text means no prices.

    Raises:
        ImproperlyConfigured: `text` is neither, or a price is not a number of at least 0.
    """
    if not text:
        return {}
    found = _read(text)
    if not isinstance(found, Mapping):
        refuse(f'{SETTING} is not of the form {{"model": {{"in": 0.15, "out": 0.6}}}}')
    return {name: _prices(name, one) for name, one in found.items()}


def _read(text: str) -> Any:
    try:
        if text.startswith("{"):
            return json.loads(text)
        path = Path(text).expanduser()
        content = path.read_bytes().decode("utf-8-sig")
        return tomllib.loads(content) if path.suffix == ".toml" else json.loads(content)
    except OSError as error:
        refuse(f"{SETTING}={text} cannot be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        refuse(f"{SETTING} is neither JSON nor a file of JSON or TOML: {error}")


def _prices(name: str, told: Any) -> Prices:
    if (
        not isinstance(told, Mapping)
        or set(told) != _FIELDS
        or not all(map(_is_price, told.values()))
    ):
        refuse(f'{SETTING}: {name!r} needs "in" and "out", numbers of at least 0')
    return Prices(float(told["in"]), float(told["out"]))


def _is_price(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < float("inf")
