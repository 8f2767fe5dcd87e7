"""Where a reasoning model thinks, before it says anything.

What a model tries in its thoughts is not its answer.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

_NAMES = r"(?:think|thinking|thought|thoughts|reasoning|reflection|seed:think|analysis)"
_OPENING = re.compile(
    rf"<\s*{_NAMES}\s*>|\[THINK\]|<\|begin_of_thought\|>|◁think▷|<\|START_THINKING\|>",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    rf"<\s*/\s*{_NAMES}\s*>|\[/THINK\]|<\|end_of_thought\|>|◁/think▷|<\|END_THINKING\|>",
    re.IGNORECASE,
)


def without_thoughts(text: str) -> str:
    """Return what a solution says after its last thought.

    A solution may begin inside a thought, as where the prompt opens it: everything up to the last
    closing mark is thought. A thought that is never closed leaves what was said before it. Linear
    in the length of the text.
    """
    end = _end_of_last_thought(text)
    opening = _OPENING.search(text, end)
    return text[end : opening.start()] if opening else text[end:]


def is_thinking(text: str) -> bool:
    """Return whether a solution so far is in the middle of a thought that it opened itself."""
    return _OPENING.search(text, _end_of_last_thought(text)) is not None


def outside_thoughts(text: str, ends: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield where each stretch outside thoughts begins, and the ends in it, of some that ascend.

    For such an end `text[:end]` is not in the middle of a thought, and `without_thoughts` of it
    begins where the stretch does. Linear in the length of the text.
    """
    closings = [closing.end() for closing in _CLOSING.finditer(text)]
    openings = [opening.end() for opening in _OPENING.finditer(text)]
    for start, next_start in zip([0, *closings], [*closings, len(text) + 1], strict=True):
        number = bisect_left(openings, start)
        thinks_at = openings[number] if number < len(openings) else next_start
        first = bisect_left(ends, start)
        yield start, ends[first : bisect_left(ends, min(thinks_at, next_start))]


def _end_of_last_thought(text: str) -> int:
    return max((closing.end() for closing in _CLOSING.finditer(text)), default=0)
