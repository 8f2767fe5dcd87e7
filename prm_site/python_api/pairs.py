"""Preference pairs of one tree, as the Python API gives them."""

from dataclasses import dataclass, fields
from typing import Any, TypedDict

from forests.core.reading import ReadError
from forests.core.tree import NodePath
from preferences.core.pairing import PairingOptions, Side


class PairingArguments(TypedDict, total=False):
    """What `pairs` takes: the fields of `preferences.core.pairing.PairingOptions`."""

    pairing: str
    min_margin: float
    min_leaves: int
    min_confidence: float
    min_edit_distance: float
    level: str
    drop_same_answer: bool
    max_pairs_per_tree: int | None
    max_pairs_per_prefix: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class TreePair:
    """Two continuations of one prefix, the better one chosen."""

    tree_index: int
    prompt: Any
    """The root prompt: a text, or a list of chat messages."""
    prefix: NodePath
    """The node that both sides continue; () is the root."""
    prefix_text: str
    """What the model wrote from the root prompt to that node; empty at the root."""
    chosen: Side
    """`path`, `text`, `value`, and `leaves`, the samples that the value rests on."""
    rejected: Side
    confidence: float | None = None
    """Probability that the chosen side is truly better; None for scores and for hard values."""

    @property
    def margin(self) -> float:
        """The value of the chosen side minus that of the rejected side."""
        return self.chosen.value - self.rejected.value


def pairing_options(arguments: PairingArguments) -> PairingOptions:
    """Return the options of `pairs`.

    Raises:
        ReadError: an option is unknown, or cannot have its value.
    """
    known = [one.name for one in fields(PairingOptions)]
    if unknown := [name for name in arguments if name not in known]:
        raise ReadError(f"pairs have no option {unknown[0]!r}: they have {', '.join(known)}")
    try:
        return PairingOptions(**arguments)
    except (TypeError, ValueError) as error:
        raise ReadError(f"pairs cannot be made: {error}") from error
