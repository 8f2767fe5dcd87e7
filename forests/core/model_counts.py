"""How many nodes each model wrote, and how a document stores that.

Models have the names that their servers' answers give; "" is for answers without a model name.
"""

from collections import Counter
from collections.abc import Mapping
from urllib.parse import unquote

from forests.core.tree import ReasoningTree

_NO_NAME = "%"
"""Stored instead of "", which is not a valid field name. No other name is encoded to this."""
_ESCAPED = {ord(one): f"%{ord(one):02X}" for one in "%.$\0"}
"""Characters that the path to a field of a document cannot contain."""


def count_models(tree: ReasoningTree) -> dict[str, int]:
    """Return the number of nodes below the root for each model that wrote some."""
    return dict(Counter(node.model for node in tree if node.path))


def field_of(model: str) -> str:
    """Return the name of the field that counts a model's nodes."""
    return model.translate(_ESCAPED) or _NO_NAME


def as_fields(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return nodes by model as a document stores them."""
    return {field_of(model): number for model, number in numbers.items()}


def from_fields(stored: Mapping[str, int] | None) -> dict[str, int]:
    """Return nodes by model from a document, the busiest model first.

    None means that the document, written by an older version, has no such field.
    """
    named = {
        "" if key == _NO_NAME else unquote(key): number for key, number in (stored or {}).items()
    }
    return busiest_first(named)


def busiest_first(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return nodes by model, busiest first, without models that wrote none."""
    found = ((model, number) for model, number in numbers.items() if number)
    return dict(sorted(found, key=lambda one: (-one[1], one[0])))


def in_words(numbers: Mapping[str, int]) -> str:
    """Return "one (12 nodes), other (3 nodes)"."""
    return ", ".join(
        f"{model or 'not named'} ({number} {'node' if number == 1 else 'nodes'})"
        for model, number in numbers.items()
    )
