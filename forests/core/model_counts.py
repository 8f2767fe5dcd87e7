"""How many nodes each model wrote, and how a document holds that.

Models are named as the answers of their servers named them; "" stands for those that named none.
"""

from collections import Counter
from collections.abc import Mapping
from urllib.parse import unquote

from forests.core.tree import ReasoningTree

_NO_NAME = "%"
"""Stands for "", which no document takes as the name of a field; no other name becomes this."""
_ESCAPED = {ord(one): f"%{ord(one):02X}" for one in "%.$\0"}
"""What the path to a field of a document cannot hold."""


def count_models(tree: ReasoningTree) -> dict[str, int]:
    """Return the nodes below the root by the model that wrote them."""
    return dict(Counter(node.model for node in tree if node.path))


def field_of(model: str) -> str:
    """Return the name of the field that counts a model's nodes."""
    return model.translate(_ESCAPED) or _NO_NAME


def as_fields(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return nodes by model as a document holds them."""
    return {field_of(model): number for model, number in numbers.items()}


def from_fields(stored: Mapping[str, int] | None) -> dict[str, int]:
    """Return nodes by model from what a document holds, the busiest model first.

    None stands for a document that has no such field, as an older version wrote it.
    """
    named = {
        "" if key == _NO_NAME else unquote(key): number for key, number in (stored or {}).items()
    }
    return busiest_first(named)


def busiest_first(numbers: Mapping[str, int]) -> dict[str, int]:
    """Return nodes by model without models that wrote none, the busiest first."""
    found = ((model, number) for model, number in numbers.items() if number)
    return dict(sorted(found, key=lambda one: (-one[1], one[0])))


def in_words(numbers: Mapping[str, int]) -> str:
    """Return "one (12 nodes), other (3 nodes)"."""
    return ", ".join(
        f"{model or 'not named'} ({number} {'node' if number == 1 else 'nodes'})"
        for model, number in numbers.items()
    )
