"""What `refine_forest` notes in the settings of a forest, so that every worker plans the same."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

RefinementGoal: TypeAlias = Literal["labels"]

GOALS: tuple[RefinementGoal, ...] = get_args(RefinementGoal)


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """Which rollouts are added to trees that their strategy has completed."""

    goal: RefinementGoal
    most_rollouts: int
    """Most rollouts drawn from one step."""
    infers_later: bool = False
    """Whether steps after a wrong one count as wrong without a rollout of their own."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, the form that a forest stores."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> "Refinement":
        """Return the refinement that `as_dict` wrote.

        Raises:
            ValueError: it is not one.
        """
        if not isinstance(values, Mapping) or {*values} != {field.name for field in fields(cls)}:
            raise ValueError("not what refine_forest writes")
        if not (
            values["goal"] in GOALS
            and type(values["most_rollouts"]) is int
            and values["most_rollouts"] >= 1
            and isinstance(values["infers_later"], bool)
        ):
            raise ValueError("not what refine_forest writes")
        return cls(**values)


def is_refinement(values: object) -> bool:
    """Return whether a forest may have these settings: `Refinement.as_dict`, or None."""
    try:
        return values is None or bool(Refinement.from_dict(values))
    except ValueError:
        return False
