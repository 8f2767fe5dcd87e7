r"""Find the answer in a solution, by the evidence that a text is one.

Three ranks of evidence, the strongest first; within a rank the last in the text counts:

1. marked: a closed `\boxed{…}`, `<answer>…</answer>`, or a line `#### x` (`marked`);
2. stated: "The answer is x", "Final answer: x", "**Answer:** x", where x is a value: a number, a
   formula, a choice letter, yes or no (`statements`);
3. named: the same with a few words for x, as in "The answer is Paris", or a last line `#### Paris`.

Thoughts are left out (`thoughts`).
"""

import re

from experiment_configs.answers.extraction.cleaning import Found
from experiment_configs.answers.extraction.marked import last_heading, marked_answers
from experiment_configs.answers.extraction.statements import last_statement
from experiment_configs.answers.extraction.thoughts import without_thoughts

_NEXT_QUESTION = re.compile(
    r"\n[ \t]*(?:#+[ \t]*)?(?:\*\*)?(?:Question|Problem|Q)(?:[ \t]*\d+)?[ \t]*(?:\*\*)?:",
    re.IGNORECASE,
)
_MARK = re.compile(r"\\boxed|\\fbox|####|answer\s{0,2}>", re.IGNORECASE)
_CHOICE = re.compile(r"\(?[A-J]\)?")


def extract_last_answer(text: str) -> str | None:
    """Return the answer that a solution states, or None where it states none.

    docs/answers.md lists the forms in which an answer is recognised. Takes time in proportion to
    the length of the text.
    """
    text = without_thoughts(text)
    marked = marked_answers(text)
    if marked and (next_question := _NEXT_QUESTION.search(text, marked[0].start)):
        # Some models go on to invent the next question, and answer it.
        text = text[: next_question.start()]
        marked = [found for found in marked if found.start < len(text)]
    stated = last_statement(text)
    if marked and not (stated and _chooses_later(stated, marked[-1], text)):
        return marked[-1].answer
    return stated.answer if stated else last_heading(text)


def has_final_answer(text: str) -> bool:
    """Return whether a solution so far marks its answer, so that nothing more is to be expected.

    Only evidence of the first rank counts: prose in the middle of a solution ends nothing.
    """
    return bool(_MARK.search(text) and marked_answers(without_thoughts(text)))


def _chooses_later(stated: Found, marked: Found, text: str) -> bool:
    """Return whether the last line chooses a letter, where the box before it holds none."""
    return (
        stated.start > marked.start
        and "\n" not in text[stated.start :].strip()
        and bool(_CHOICE.fullmatch(stated.answer))
        and not _CHOICE.fullmatch(marked.answer)
    )
