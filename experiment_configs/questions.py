"""Find the question that a root prompt asks."""

import re
from typing import Any

_WORKED_QUESTIONS = 2
"""A prompt with at least this many questions contains examples."""
_POSES_A_QUESTION = re.compile(
    r"^[^\w\n]*+(?:question|problem|q)\b\W{0,3}\d*\s*[:.]", re.IGNORECASE | re.MULTILINE
)
_LONG = 600
_MUCH_LONGER = 3
"""A prompt longer than `_LONG` and longer than this many copies of its item contains more."""


def looks_few_shot(prompt: Any, item_text: str) -> bool:
    """Return whether the default question of a prompt seems to hold more, such as examples.

    Args:
        prompt: a text, or chat messages.
        item_text: the item as the config shows it.
    """
    question = question_of_prompt(prompt)
    poses = len(_POSES_A_QUESTION.findall(question))
    is_long = len(question) > max(_LONG, _MUCH_LONGER * len(item_text))
    return poses >= _WORKED_QUESTIONS or is_long


def question_of_prompt(prompt: Any) -> str:
    """Return the question that a root prompt seems to ask, stripped of surrounding whitespace.

    For chat messages this is the last user message; for a text it is the whole text. If that also
    holds examples or instructions, only the config can separate them: see
    `RolloutConfig.get_question`.
    """
    if isinstance(prompt, str):
        return prompt.strip()
    asked = [str(message["content"]) for message in prompt if message["role"] == "user"]
    return (asked[-1] if asked else str(prompt[-1]["content"])).strip()
