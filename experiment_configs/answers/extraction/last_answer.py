r"""Find the answer in a solution by ranking the evidence.

There are three ranks of evidence, strongest first. Within a rank the last one in the text counts:

1. marked: a closed `\boxed{…}`, `<answer>…</answer>`, or a line `#### x` (`marked`);
2. stated: "The answer is x", "Final answer: x", "**Answer:** x", where x is a value: a number, a
   formula, a choice letter, yes or no (`statements`);
3. named: the same with a few words for x, as in "The answer is Paris", or a last line `#### Paris`.

Thoughts are left out (`thoughts`).
"""

import itertools
import re
from collections.abc import Sequence

from experiment_configs.answers.extraction.cleaning import Found
from experiment_configs.answers.extraction.marked import (
    first_end_with_mark,
    last_heading,
    marked_answers,
)
from experiment_configs.answers.extraction.statements import last_statement
from experiment_configs.answers.extraction.thoughts import (
    is_thinking,
    outside_thoughts,
    without_thoughts,
)

_NEXT_QUESTION = re.compile(
    r"\n[ \t]*(?:#+[ \t]*)?(?:\*\*)?(?:Question|Problem|Q)(?:[ \t]*\d+)?[ \t]*(?:\*\*)?:",
    re.IGNORECASE,
)
_MARK = re.compile(r"\\boxed|\\fbox|####|answer\s{0,2}>", re.IGNORECASE)
_CHOICE = re.compile(r"\(?[A-J]\)?")


def extract_last_answer(text: str) -> str | None:
    """Return the answer that a solution states, or None if it states none.

    docs/answers.md lists the forms of answers. Takes time linear in the length of the text.
    """
    text = without_thoughts(text)
    marked = marked_answers(text)
    if marked and (next_question := _NEXT_QUESTION.search(text, marked[0].start)):
        # Some models continue with a question of their own, and answer it.
        text = text[: next_question.start()]
        marked = [found for found in marked if found.start < len(text)]
    stated = last_statement(text)
    if marked and not (stated and _chooses_later(stated, marked[-1], text)):
        return marked[-1].answer
    return stated.answer if stated else last_heading(text)


def has_final_answer(text: str) -> bool:
    """Return whether a solution so far marks its answer, so that it is finished.

    Only evidence of the first rank counts, outside thoughts: prose in the middle of a solution does
    not end it.
    """
    if not _MARK.search(text) or is_thinking(text):
        return False
    return bool(marked_answers(without_thoughts(text)))


def steps_to_final_answer(before: str, steps: Sequence[str]) -> int | None:
    """Return the smallest number of these steps for which `has_final_answer(before + steps)` holds.

    Returns None if there is none. Takes time linear in the length of the text, for any number of
    steps.
    """
    text = before + "".join(steps)
    if not _MARK.search(text):
        return None
    lengths = map(len, steps)
    ends = list(itertools.accumulate(lengths, initial=len(before)))[1:]
    for start, said in outside_thoughts(text, ends):
        stretch = text[start : said[-1]] if said else ""
        end = first_end_with_mark(stretch, [end - start for end in said])
        if end is not None:
            return ends.index(start + end) + 1
    return None


def _chooses_later(stated: Found, marked: Found, text: str) -> bool:
    """Return whether the last line states a choice letter, and the mark before it holds none."""
    return (
        stated.start > marked.start
        and "\n" not in text[stated.start :].strip()
        and bool(_CHOICE.fullmatch(stated.answer))
        and not _CHOICE.fullmatch(marked.answer)
    )
