"""Find the answer in a solution."""

import re

from experiment_configs.answers.plain import MAX_ANSWER_LENGTH

_MARKER = re.compile(r"(?<!#)####(?!#)|\\boxed\s*\{|\banswer\s+is\b", re.IGNORECASE)
_BRACE = re.compile(r"(\\boxed\s*\{)|\\.|[{}]", re.DOTALL)
_HEADING = re.compile(r"(?:step|part|case)\b.*|.*:", re.IGNORECASE)
_END_OF_SENTENCE = re.compile(r"\.(?=\s|$)")


def extract_last_answer(text: str) -> str | None:
    r"""Return the answer that a solution states last, or None where it states none.

    Recognised are `#### x`, `\boxed{x}` with balanced braces, and "The answer is x", which ends
    with its line or sentence. Markdown headings such as `#### Step 2` are no answers. Takes time
    in proportion to the length of the text.
    """
    boxes = _boxes(text)
    end = len(text)
    for marker in reversed(list(_MARKER.finditer(text))):
        if marker.start() in boxes:
            found = text[marker.end() : boxes[marker.start()]]
        elif marker[0].startswith("\\"):
            found = ""  # a box that is never closed
        else:
            found = _stated(marker[0], text[marker.end() : end])
        answer = _without_markup(found) if len(found) <= MAX_ANSWER_LENGTH else ""
        if answer:
            return answer
        end = marker.start()
    return None


def _boxes(text: str) -> dict[int, int]:
    """Return where each closed box begins and where its content ends."""
    boxes: dict[int, int] = {}
    open_braces: list[int | None] = []
    for token in _BRACE.finditer(text):
        if token[1]:
            open_braces.append(token.start())
        elif token[0] == "{":
            open_braces.append(None)
        elif token[0] == "}" and open_braces and (start := open_braces.pop()) is not None:
            boxes[start] = token.start()
    return boxes


def _stated(marker: str, rest: str) -> str:
    """Return what follows `####` or "answer is" up to the end of the line or sentence."""
    if marker == "####":
        line = rest.partition("\n")[0].strip()
        return "" if _HEADING.fullmatch(line) else line
    rest = rest.lstrip(" \t")
    if rest.startswith(":"):
        rest = rest[1:].lstrip()
    line = rest.partition("\n")[0]
    return _END_OF_SENTENCE.split(line, maxsplit=1)[0]


def _without_markup(text: str) -> str:
    """Return an answer without emphasis, math delimiters and a final full stop."""
    before = None
    while text != before:
        before = text
        text = text.strip().strip("*`").rstrip(".,;").strip()
        for opening, closing in (("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
            if len(text) >= 2 * len(opening) and text.startswith(opening):  # noqa: SIM102
                if text.endswith(closing):
                    text = text[len(opening) : -len(closing)]
    return text
