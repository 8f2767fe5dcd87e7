"""Choice of the steps that a page compares: a step and some of those after the same prefix."""

from collections.abc import Sequence

from forests.core.tree import NodePath, format_path

MAX_COMPARED = 6
"""Most steps that one page compares."""
COMPARED_AT_FIRST = 4
"""Most steps that it compares before a reader chooses."""


def compared(
    path: NodePath, siblings: Sequence[NodePath], wanted: Sequence[NodePath]
) -> list[NodePath]:
    """Return the steps to compare, at most `MAX_COMPARED`: `path` first, others in their order.

    Args:
        path: the step.
        siblings: all steps after its prefix, with the step itself.
        wanted: those to compare it with; if there are none, those next to it.

    Raises:
        ValueError: a wanted step comes after another prefix, or does not exist.
    """
    for one in wanted:
        if one not in siblings:
            raise ValueError(
                f"step {format_path(path)} has no sibling {format_path(one)}: "
                f"its siblings are {format_path(siblings[0])} to {format_path(siblings[-1])}"
            )
    others = sorted({*wanted} - {path}) or _nearest(path, siblings)
    return [path, *others[: MAX_COMPARED - 1]]


def _nearest(path: NodePath, siblings: Sequence[NodePath]) -> list[NodePath]:
    """Return the siblings around a step."""
    start = max(0, min(path[-1] - COMPARED_AT_FIRST // 2, len(siblings) - COMPARED_AT_FIRST))
    return [one for one in siblings[start : start + COMPARED_AT_FIRST] if one != path]
