"""Growth strategies by name. A new one: its module here, and a line below."""

from collections.abc import Mapping

from rollouts.core.growing import GrowthStrategy
from rollouts.core.strategies.branching import Branching
from rollouts.core.strategies.math_shepherd import MathShepherd
from rollouts.core.strategies.omega_prm import OmegaPRM
from rollouts.core.strategies.sampled import Sampled

STRATEGIES: Mapping[str, type[GrowthStrategy]] = {
    "branching": Branching,
    "math_shepherd": MathShepherd,
    "omega_prm": OmegaPRM,
    "sampled": Sampled,
}
