"""Growth strategies by name: built-in ones, and those of plugins (docs/extending.md).

A built-in strategy is a module of this package and a line below.
"""

from common.plugins import Registry
from forests.core.values import ESTIMATORS
from rollouts.strategies.base import GrowthStrategy
from rollouts.strategies.branching import Branching
from rollouts.strategies.math_shepherd import MathShepherd
from rollouts.strategies.omega_prm import OmegaPRM
from rollouts.strategies.sampled import Sampled


def _problem(_name: str, loaded: object) -> str:
    if isinstance(loaded, type) and issubclass(loaded, GrowthStrategy):
        lacking = ", ".join(sorted(loaded.__abstractmethods__))
        if lacking:
            return f"lacks {lacking}"
        estimators: object = loaded.estimators
        if isinstance(estimators, tuple) and estimators and set(estimators) <= {*ESTIMATORS}:
            return ""
        return f"needs estimators, of {', '.join(ESTIMATORS)}, and has {estimators!r:.100}"
    return "is not a class derived from GrowthStrategy"


STRATEGIES: Registry[type[GrowthStrategy]] = Registry(
    "prm.strategies",
    "growth strategy",
    {
        "branching": Branching,
        "math_shepherd": MathShepherd,
        "omega_prm": OmegaPRM,
        "sampled": Sampled,
    },
    _problem,
)
