"""The demo's word problems for a model that thinks before each answer, over the chat API.

The packaged model cannot think, so the server forces its text into the form of a thought and an
answer. Each server has its own field for this, and ignores the fields of the others.
"""

from dataclasses import replace

from experiment_configs.rollout import demo_arithmetic

_FORM = r"[a-zA-Z0-9 ,.+=-]{20,80}</think>\n\n[A-Z][a-zA-Z0-9 ,.+=-]{10,60}\n#### [0-9]{1,2}"
_GRAMMAR = r"""
root ::= words{20,80} "</think>\n\n" [A-Z] words{10,60} "\n#### " [0-9]{1,2}
words ::= [a-zA-Z0-9 ,.+=-]
"""


class Config(demo_arithmetic.Config):
    """Whole solutions, each with its thought in one step."""

    rollout_worker_config = replace(
        demo_arithmetic.Config.rollout_worker_config,
        api="chat",
        strategy="sampled",
        num_rollouts=6,
        max_tokens_per_rollout=160,
        reasoning="fold",
        extra_body={
            "structured_outputs": {"regex": _FORM},  # vLLM
            "regex": _FORM,  # SGLang
            "grammar": _GRAMMAR,  # llama.cpp
        },
    )
