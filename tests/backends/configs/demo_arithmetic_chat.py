"""The demo's word problems over the chat API."""

from dataclasses import replace

from experiment_configs.rollout import demo_arithmetic


class Config(demo_arithmetic.Config):
    """The same prompts, as a message of the user."""

    rollout_worker_config = replace(demo_arithmetic.Config.rollout_worker_config, api="chat")
