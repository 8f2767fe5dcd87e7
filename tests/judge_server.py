"""A real HTTP server with a chat model that judges solutions as its prompt asks."""

import re
from collections.abc import Callable
from typing import Any

from tests.openai_server import OpenAIServer
from tests.reward_server import distrust_wrong_sums

Critic = Callable[[list[str], int], str]
"""Gets the paragraphs and the seed, returns the reply."""

_PARAGRAPH = re.compile(r"<paragraph_(\d+)>\n(.*?)\n</paragraph_\1>", re.DOTALL)


def is_wrong(step: str) -> bool:
    return distrust_wrong_sums(step) < 0.5


def name_first_error(steps: list[str], _seed: int = 0) -> str:
    """Reply as a critic of ProcessBench that knows which sums are wrong."""
    first = next((number for number, step in enumerate(steps) if is_wrong(step)), -1)
    why = "All sums hold." if first < 0 else f"Paragraph {first} has a wrong sum."
    return f"<think>Maybe \\boxed{{7}}?</think>{why} \\boxed{{{first}}}"


def judge_each(steps: list[str], _seed: int = 0) -> str:
    """Reply with one line for each step."""
    return "\n".join(
        f"{number}: I checked it. \\boxed{{{'incorrect' if is_wrong(step) else 'correct'}}}"
        for number, step in enumerate(steps)
    )


class JudgeServer(OpenAIServer):
    """Answers `/chat/completions` with what the critic writes about the tagged paragraphs."""

    def __init__(self, critic: Critic = name_first_error) -> None:
        super().__init__()
        self.critic = critic
        self.tokens = (100, 20)
        """Prompt and completion tokens of each answer."""

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        text = body["messages"][-1]["content"]
        steps = [match[2] for match in _PARAGRAPH.finditer(text)]
        reply = self.critic(steps, body.get("seed") or 0)
        prompt, completion = self.tokens
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": reply},
        }
        self.spoil(0, choice)
        return {
            "model": body["model"],
            "choices": [choice],
            "usage": {"prompt_tokens": prompt, "completion_tokens": completion},
        }
