"""Find the thoughts of a reasoning model in its text.

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

    The prompt may open a thought, so everything up to the last closing mark is thought. If a later
    thought is never closed, only the text before it remains. Takes time linear in the length of the
    text.
    """
    end = _end_of_last_thought(text)
    opening = _OPENING.search(text, end)
    return text[end : opening.start()] if opening else text[end:]


def is_thinking(text: str) -> bool:
    """Return whether a solution so far is in the middle of a thought that it opened itself."""
    return _open_mark(text) is not None


def closes_thought(text: str) -> bool:
    """Return whether a text closes a thought that it did not open itself."""
    closing, opening = _CLOSING.search(text), _OPENING.search(text)
    return closing is not None and (opening is None or closing.start() < opening.start())


def closing_mark(text: str) -> str:
    """Return the mark that closes the last opened thought; `</think>` if there is none."""
    marks = _OPENING.findall(text)
    mark = marks[-1] if marks else "<think>"
    if mark.startswith("<|"):
        return mark.replace("begin_of", "end_of").replace("START", "END")
    return mark[0] + "/" + mark[1:].strip()


def split_thoughts(text: str, *, is_inside: bool = False) -> list[tuple[str, bool]]:
    """Split a text into pieces, each with whether it is thought. Joined, the pieces are the text.

    As in `without_thoughts`, everything up to the last closing mark is thought. So is everything
    after the next opening mark. `is_inside` says whether the text begins in a thought. Marks belong
    to thoughts. No piece is blank unless the whole text is.
    """
    end = _end_of_last_thought(text)
    if is_inside and not end:
        return [(text, True)] if text else []
    opening = _OPENING.search(text, end)
    start = opening.start() if opening else len(text)
    pieces = [(text[:end], True), (text[end:start], False), (text[start:], True)]
    joined: list[tuple[str, bool]] = []
    blank = ""
    for piece, is_thought in pieces:
        if piece.strip():
            joined.append((blank + piece, is_thought))
            blank = ""
        elif joined:
            joined[-1] = (joined[-1][0] + piece, joined[-1][1])
        else:
            blank += piece
    return joined or ([(blank, False)] if blank else [])


def opens_with_thought(text: str) -> bool:
    """Return whether a text begins with the mark that opens a thought."""
    return _OPENING.match(text.lstrip()) is not None


def closes_with_thought(text: str) -> bool:
    """Return whether a text ends with the mark that closes a thought."""
    return bool(text.strip()) and _end_of_last_thought(text) == len(text.rstrip())


def starts_with_closing(text: str) -> bool:
    """Return whether a text begins with the mark that closes a thought."""
    return _CLOSING.match(text.lstrip()) is not None


def ends_with_opening(text: str) -> bool:
    """Return whether a text ends with the mark that opens a thought."""
    opening = _open_mark(text)
    return opening is not None and not text[opening.end() :].strip()


def without_open_thought(text: str) -> str:
    """Return a text without the thought that is open at its end; all of it if none is open."""
    opening = _open_mark(text)
    return text[: opening.start()] if opening else text


def outside_thoughts(text: str, ends: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield the start of each stretch outside thoughts, with the `ends` in it. `ends` must ascend.

    For each of these ends, `text[:end]` is not in the middle of a thought, and
    `without_thoughts(text[:end])` is `text[start:end]`. Takes time linear in the length of the
    text.
    """
    closings = [closing.end() for closing in _CLOSING.finditer(text)]
    openings = [opening.end() for opening in _OPENING.finditer(text)]
    for start, next_start in zip([0, *closings], [*closings, len(text) + 1], strict=True):
        number = bisect_left(openings, start)
        thinks_at = openings[number] if number < len(openings) else next_start
        first = bisect_left(ends, start)
        yield start, ends[first : bisect_left(ends, min(thinks_at, next_start))]


def _open_mark(text: str) -> re.Match[str] | None:
    """Return the opening mark of the thought that is open at the end of a text."""
    return _OPENING.search(text, _end_of_last_thought(text))


def _end_of_last_thought(text: str) -> int:
    return max((closing.end() for closing in _CLOSING.finditer(text)), default=0)
