r"""Answers that a solution marks: `\boxed{…}`, `<answer>…</answer>`, a line `#### x`."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from experiment_configs.answers.comparison.equivalence import MAX_ANSWER_LENGTH
from experiment_configs.answers.extraction.cleaning import Found, clean, is_value
from experiment_configs.answers.extraction.statements import last_statement

_BRACE = re.compile(r"(\\(?:boxed|fbox)\s*\{)|\\.|[{}]", re.DOTALL)
_TAG = re.compile(r"<\s{0,2}(/?)\s{0,2}(?:final[_ ]?)?answer\s{0,2}>", re.IGNORECASE)
_HASHES = re.compile(r"(?<![#\w])####(?!#)[^\S\n]*([^\n]*)")

_SPACE = r"(?:\s|~|\\[,;:! ]|\\q?quad(?![a-z]))"
_PLACEHOLDER = re.compile(
    rf"(?:{_SPACE}|[$.…?_□]|\\_|\{{\s*\}}|\\[hv]?phantom\s*\{{[^{{}}]*\}}"
    r"|\\(?:[lc]?dots|square|Box|cdot)(?![a-z])"
    r"|\\(?:text|mathrm|textbf)\s*\{\s*(?:your|the|final|answer|here|\s)*\}"
    r"|\b(?:your|the|final|answer|here|goes|x{3,})\b)*",
    re.IGNORECASE,
)
_AROUND = rf"(?:{_SPACE}|[$&.]|\\[()\[\]]|\*\*|\\\\)*"
_SEPARATOR = r"(?:[,;]|\b(?:and|or)\b|\\text\s*\{[\s,]*(?:and|or)[\s,]*\}|\\l(?:or|and)(?![a-z]))"
_BETWEEN_BOXES = re.compile(
    rf"{_AROUND}(?:{_SEPARATOR}{_AROUND})+"
    r"(?:\(?[A-Za-z0-9]\)\s*)?(?:\\?[A-Za-z]{1,5}(?:_\{?\w+\}?)?\s*=\s*)?\$?\s*"
)
_MAX_BETWEEN_BOXES = 80

_NUMBERED_HEADING = re.compile(r"\d+\s*[.):]\s+[A-Za-z]{2}|\d+(?:\.\d+)+\s+[A-Z]")
_HEADING = re.compile(
    r"(?:step|part|case|method|approach|solution|question|problem|option|example|phase|note"
    r"|conclusion|summary|explanation|verification|analysis|reasoning|given|check|proof|[a-z]+ing)"
    r"\b.*|.*:",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"((?:\\[A-Za-z]+\s*\{|\s|\*|\bthe\b)*)(?:\bfinal\s+)?\banswer[\s*_]*(?:is\b|[:=])[\s*_:]*",
    re.IGNORECASE,
)


def marked_answers(text: str) -> list[Found]:
    """Return the marked answers of a text, in its order. Takes time linear in its length."""
    return sorted([*_boxed(text), *_tagged(text), *_behind_hashes(text)])


def first_end_with_mark(text: str, ends: Sequence[int]) -> int | None:
    """Return the first of these ascending ends for which `marked_answers(text[:end])` is not empty.

    Takes time linear in the length of the text, for any number of ends.
    """
    found = (_end_with_box(text, ends), _end_with_tag(text, ends), _end_with_hashes(text, ends))
    return min((end for end in found if end is not None), default=None)


def last_heading(text: str) -> str | None:
    """Return the words of a last line `#### Evelyn`; None for a heading, which has text below."""
    last = next(reversed(list(_HASHES.finditer(text))), None)
    if last is None or text[last.end() :].strip():
        return None
    return _line_of_hashes(last[1]) or None


def _boxed(text: str) -> Iterator[Found]:
    """Yield the filled boxes. Adjacent boxes, as in a list, are one answer."""
    group: list[str] = []
    group_start = group_end = 0
    for box in _boxes(text):
        if box.closed_by is not None or not (answer := _in_box(text, box)):
            continue
        between = text[group_end : box.start]
        if group and not (len(between) <= _MAX_BETWEEN_BOXES and _BETWEEN_BOXES.fullmatch(between)):
            yield Found(group_start, ", ".join(group))
            group = []
        if not group:
            group_start = box.start
        if answer not in group:
            group.append(answer)
        group_end = box.end
    if group:
        yield Found(group_start, ", ".join(group))


@dataclass(slots=True)
class _Box:
    start: int
    content: int
    end: int = 0
    """Position after the closing brace."""
    closed_by: int | None = None
    """End of the box around this one, if the outer box counts instead."""


def _boxes(text: str) -> list[_Box]:
    """Return the closed boxes: those that count in the order of their ends, then the others.

    Of nested boxes the outer one counts, unless it holds only the inner one.
    """
    counting: list[_Box] = []
    replaced: list[_Box] = []
    open_braces: list[_Box | None] = []
    for brace in _BRACE.finditer(text):
        if brace[1]:
            open_braces.append(_Box(brace.start(), brace.end()))
        elif brace[0] == "{":
            open_braces.append(None)
        elif brace[0] == "}" and open_braces and (box := open_braces.pop()):
            box.end = brace.end()
            inside = []
            while counting and counting[-1].start > box.start:
                inside.append(counting.pop())
            first = inside[-1] if inside else None
            if first and (first.start, first.end) == (box.content, brace.start()):
                counting.append(first)
                continue
            for inner in inside:
                inner.closed_by = box.end
            replaced += inside
            counting.append(box)
    return counting + replaced


def _in_box(text: str, box: _Box) -> str:
    content = text[box.content : box.end - 1]
    if len(content) > MAX_ANSWER_LENGTH or _PLACEHOLDER.fullmatch(content):
        return ""
    return clean(_without_label(content))


def _end_with_box(text: str, ends: Sequence[int]) -> int | None:
    for box in sorted(_boxes(text), key=lambda box: box.end):
        end = _first_from(box.end, ends)
        counts = end is not None and (box.closed_by is None or end < box.closed_by)
        if counts and _in_box(text, box):
            return end
    return None


def _tagged(text: str) -> Iterator[Found]:
    return (found for found, _ in _tags(text))


def _tags(text: str) -> Iterator[tuple[Found, int]]:
    """Yield the text between tags, and where the closing tag ends."""
    opened: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if not tag[1]:
            opened = tag
        elif opened:
            content = text[opened.end() : tag.start()]
            if len(content) <= MAX_ANSWER_LENGTH and (answer := _in_tag(content)):
                yield Found(opened.start(), answer), tag.end()
            opened = None


def _end_with_tag(text: str, ends: Sequence[int]) -> int | None:
    first = next(_tags(text), None)
    return _first_from(first[1], ends) if first else None


def _in_tag(content: str) -> str:
    if _PLACEHOLDER.fullmatch(content):
        return ""
    stated = next(reversed(list(_boxed(content))), None) or last_statement(content)
    return stated.answer if stated else clean(content)


def _behind_hashes(text: str) -> Iterator[Found]:
    for match in _HASHES.finditer(text):
        if answer := _value_of_hashes(match[1]):
            yield Found(match.start(), answer)


def _value_of_hashes(line: str) -> str:
    answer = _line_of_hashes(line)
    return answer if is_value(answer) and not _NUMBERED_HEADING.match(answer) else ""


def _end_with_hashes(text: str, ends: Sequence[int]) -> int | None:
    for match in _HASHES.finditer(text):
        start, line_end = match.span(1)
        for number in range(bisect_right(ends, start), len(ends)):
            end = ends[number]
            if min(end, line_end) - start > MAX_ANSWER_LENGTH:
                break
            if _value_of_hashes(text[start : min(end, line_end)]):
                return end
            if end >= line_end:
                break
    return None


def _first_from(position: int, ends: Sequence[int]) -> int | None:
    number = bisect_left(ends, position)
    return ends[number] if number < len(ends) else None


def _line_of_hashes(line: str) -> str:
    """Return the text of a line after `####`; "" if its words make it a heading."""
    if len(line) > MAX_ANSWER_LENGTH:
        return ""
    line = clean(line) if not line.rstrip().endswith(":") else line.strip()
    answer = clean(_without_label(line))
    return "" if _HEADING.fullmatch(line) and answer == clean(line) else answer


def _without_label(text: str) -> str:
    r"""Return what follows "the answer is" in a box; these words may be inside `\text{}`."""
    label = _LABEL.match(text)
    if label is None:
        return text
    open_groups = label[1].count("{")
    kept, depth = [], 0
    for piece in re.split(r"(\\.|[{}])", text[label.end() :]):
        depth += (piece == "{") - (piece == "}")
        if depth < 0 and open_groups:  # the end of a group that held the words
            depth, open_groups = 0, open_groups - 1
            continue
        kept.append(piece)
    return "".join(kept)
