"""Growth strategies by name. To add one, add its module here and a line below."""

from collections.abc import Mapping

from rollouts.strategies.base import GrowthStrategy
from rollouts.strategies.branching import Branching
from rollouts.strategies.math_shepherd import MathShepherd
from rollouts.strategies.omega_prm import OmegaPRM
from rollouts.strategies.sampled import Sampled

STRATEGIES: Mapping[str, type[GrowthStrategy]] = {
    "branching": Branching,
    "math_shepherd": MathShepherd,
    "omega_prm": OmegaPRM,
    "sampled": Sampled,
}
