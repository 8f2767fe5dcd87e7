"""The same word problems, each solved 16 times: measures a model."""

from dataclasses import replace

from two_steps import Config as Trees


class Config(Trees):
    """Whole solutions."""

    rollout_worker_config = replace(
        Trees.rollout_worker_config, strategy="sampled", num_rollouts=16
    )
