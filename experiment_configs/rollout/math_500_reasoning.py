"""MATH-500 for a reasoning model: over completions, with its own chat template and its thoughts.

For another model, change `model` and `chat_template` in a copy in `PRM_CONFIG_PATH`.
"""

import os
from typing import Any

from experiment_configs.chat_templates.chat_template import ChatTemplate
from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from experiment_configs.rollout.math_500 import Config as Math500

MODEL = "Qwen/Qwen3-4B"
INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."


class Config(Math500):
    """A paragraph per step, in the thought and in the answer; the model ends its solutions itself.

    The limits allow thoughts of hundreds of paragraphs; the server's context must have room for
    them.
    """

    rollout_worker_config = RolloutWorkerConfig(
        model=MODEL,
        api="completions",
        strategy="branching",
        step_delimiter="\n\n",
        reasoning="grow",
        stop_at_answer=False,
        temperature=0.6,
        top_p=0.95,
        branching=(4, 2, 1),
        max_depth=1000,
        max_nodes=20_000,
        max_tokens_per_step=16_384,
        max_tokens_per_rollout=16_384,
        request_timeout_seconds=1800,
    )
    chat_template = ChatTemplate(os.environ.get("MATH_500_CHAT_TEMPLATE", MODEL))

    def get_root_prompt(self, item: dict[str, Any]) -> Prompt:
        # The makers of reasoning models advise against a system message.
        question = f"{item['problem']}\n\n{INSTRUCTION}"
        return self.chat_template.render([{"role": "user", "content": question}])
