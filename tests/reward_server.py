"""A real HTTP server that judges steps, as servers of reward models do."""

from collections.abc import Callable
from math import log
from typing import Any

from tests.openai_server import OpenAIServer

Judge = Callable[[str], float]
"""Gets the text of a step, returns the probability that the step is good."""


def distrust_wrong_sums(step: str) -> float:
    return 0.2 if any(wrong in step for wrong in ("13", "19", "26", "4 more")) else 0.9


class RewardServer(OpenAIServer):
    """Serves the log-probabilities of verdicts, vLLM's pooling, and scores of pairs."""

    def __init__(self, judge: Judge = distrust_wrong_sums, step_tag: str = "ки") -> None:
        super().__init__()
        self.judge = judge
        self.step_tag = step_tag
        self.llama_form = False
        self.listed: list[str] = ["+", "-"]

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/pooling":
            text = body.get("input") or body["messages"][-1]["content"]
            rows = [[1 - p, p] for p in map(self.judge, text.split(self.step_tag)[:-1])]
            return {"object": "list", "data": [{"index": 0, "object": "pooling", "data": rows}]}
        if path == "/v1/score":
            return {"data": [{"index": 0, "object": "score", "score": self.judge(body["text_2"])}]}
        if path.endswith("/chat/completions"):
            return {"choices": [self._verdict(body["messages"][-1]["content"], is_chat=True)]}
        step = body["prompt"].removesuffix(self.step_tag).rpartition(self.step_tag)[2]
        return {"choices": [self._verdict(step, is_chat=self.llama_form)]}

    def _verdict(self, step: str, *, is_chat: bool) -> dict[str, Any]:
        good = self.judge(step)
        known = {"+": log(0.8 * good), "-": log(0.8 * (1 - good)), "the": log(0.15)}
        tops = {f" {token}": known[token] for token in (*self.listed, "the")}
        if is_chat:
            listed = [{"token": token, "logprob": value} for token, value in tops.items()]
            return {"logprobs": {"content": [{"token": " +", "top_logprobs": listed}]}}
        return {"logprobs": {"tokens": [" +"], "top_logprobs": [tops]}}
