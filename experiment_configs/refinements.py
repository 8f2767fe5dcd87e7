"""What `refine_forest` stores in a forest's settings, so that all workers plan alike."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

RefinementGoal: TypeAlias = Literal["labels", "pairs"]

GOALS: tuple[RefinementGoal, ...] = get_args(RefinementGoal)


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """Which rollouts are added to trees that their strategy has completed."""

    goal: RefinementGoal
    most_rollouts: int
    """Most rollouts drawn from one step."""
    infers_later: bool = False
    """Goal `labels`: whether steps after a wrong one count as wrong without rollouts of their own.
    """
    target_confidence: float | None = None
    """Goal `pairs`: a pair with at least this confidence is decided."""
    prior: Mapping[str, Any] | None = None
    """Goal `pairs`: how much siblings differ, as `SiblingPrior.as_dict` gave it for the forest when
    `refine_forest` ran."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, the form that a forest stores."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> "Refinement":
        """Return the refinement that `as_dict` wrote.

        Raises:
            ValueError: `as_dict` cannot have written it.
        """
        if not isinstance(values, Mapping) or {*values} != {field.name for field in fields(cls)}:
            raise ValueError("not what refine_forest writes")
        is_pairs = values["goal"] == "pairs"
        if not (
            values["goal"] in GOALS
            and type(values["most_rollouts"]) is int
            and values["most_rollouts"] >= 1
            and isinstance(values["infers_later"], bool)
            and (_is_prior(values["prior"]) if is_pairs else values["prior"] is None)
            and (
                _is_chance(values["target_confidence"])
                if is_pairs
                else values["target_confidence"] is None
            )
        ):
            raise ValueError("not what refine_forest writes")
        return cls(**values)


def _is_chance(value: object) -> bool:
    return isinstance(value, float) and 0 < value < 1


def _is_prior(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and {*value} == {"num_groups", "pooled", "depths"}
        and type(value["num_groups"]) is int
        and isinstance(value["depths"], Mapping)
        and all(str(depth).isdecimal() for depth in value["depths"])
        and all(map(_are_weights, [value["pooled"], *value["depths"].values()]))
    )


def _are_weights(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and all(str(position).isdecimal() for position in value)
        and all(isinstance(weight, float) and 0 <= weight <= 1 for weight in value.values())
        and sum(value.values()) > 0
    )


def is_refinement(values: object) -> bool:
    """Return whether a value is None or something that `Refinement.as_dict` returns."""
    try:
        return values is None or bool(Refinement.from_dict(values))
    except ValueError:
        return False
