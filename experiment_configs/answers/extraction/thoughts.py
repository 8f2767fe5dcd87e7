"""Where a reasoning model thinks, before it says anything.

What a model tries in its thoughts is not its answer.
"""

import re

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


def closes_thought(text: str) -> bool:
    """Return whether a text closes a thought that it did not open itself."""
    closing, opening = _CLOSING.search(text), _OPENING.search(text)
    return closing is not None and (opening is None or closing.start() < opening.start())


def closing_mark(text: str) -> str:
    """Return the mark that closes the thought which a text opened last; `</think>` without one."""
    marks = _OPENING.findall(text)
    mark = marks[-1] if marks else "<think>"
    if mark.startswith("<|"):
        return mark.replace("begin_of", "end_of").replace("START", "END")
    return mark[0] + "/" + mark[1:].strip()


def split_thoughts(text: str, *, is_inside: bool = False) -> list[tuple[str, bool]]:
    """Return a text in pieces, whose concatenation it is, and of each whether it is thought.

    As in `without_thoughts`, all up to the last closing mark is thought, and what comes after an
    opening one behind it. `is_inside`: whether the text begins in a thought. Marks are thought, and
    no piece is blank unless the text is.
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


def _end_of_last_thought(text: str) -> int:
    return max((closing.end() for closing in _CLOSING.finditer(text)), default=0)
