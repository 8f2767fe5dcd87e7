"""The columns of the list of trees, and which of them a URL asks for."""

from collections.abc import Sequence
from enum import StrEnum


class TreeColumn(StrEnum):
    """A column beside the number and the item, by its name in the URL."""

    LABEL = "label"
    STATUS = "status"
    NODES = "nodes"
    SAMPLES = "samples"
    VALUE = "value"
    MAJORITY = "majority"
    DISAGREEMENT = "disagreement"
    PROMPT_TOKENS = "prompt-tokens"
    COMPLETION_TOKENS = "completion-tokens"
    REQUESTS = "requests"
    RETRIES = "retries"

    @property
    def title(self) -> str:  # type: ignore[override]  # as a heading, not as a method of texts
        return _TITLES.get(self, str(self).replace("-", " ").capitalize())

    @property
    def is_number(self) -> bool:
        return self not in (TreeColumn.LABEL, TreeColumn.STATUS, TreeColumn.MAJORITY)


_TITLES = {
    TreeColumn.SAMPLES: "Correct samples",
    TreeColumn.MAJORITY: "Majority vote",
}
USUAL = (
    TreeColumn.LABEL, TreeColumn.STATUS, TreeColumn.NODES, TreeColumn.SAMPLES, TreeColumn.VALUE,
    TreeColumn.DISAGREEMENT, TreeColumn.PROMPT_TOKENS, TreeColumn.COMPLETION_TOKENS,
)  # fmt: skip


def read_columns(names: Sequence[str]) -> list[TreeColumn]:
    """Return the columns that a URL names, in the usual order; the usual ones if it names none.

    Raises:
        ValueError: a column is unknown; the message lists the known ones.
    """
    known = [str(one) for one in TreeColumn]
    for name in names:
        if name not in known:
            raise ValueError(f"unknown column {name!r}: use {', '.join(known)}")
    return [one for one in TreeColumn if one in names] if names else list(USUAL)
