"""Evaluation of a scorer against the Monte Carlo values of a forest."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from forests.core.model_counts import as_fields
from forests.core.naming import scorer_id
from forests.models import Forest, TreeStatus
from forests.storage.scores import iter_scored_trees
from forests.storage.trees import count_models
from metrics.core.evaluation import Evaluation, EvaluationOptions
from metrics.core.scorers.scorer_quality import ScorerQuality
from metrics.core.search.value_functions import ValueFunctionName, value_function
from metrics.models import ScorerReport

COMPARED: tuple[ValueFunctionName, ...] = ("prm", "labelled", "random")
"""Value functions to compare: the scorer, the oracle and the floor."""


@dataclass(frozen=True, kw_only=True)
class JudgingOptions:
    """All parameters that determine the report on a scorer."""

    scorer: str
    label_threshold: float = 0.0
    """A step is good if its Monte Carlo value is above this."""
    searches: EvaluationOptions = field(default_factory=EvaluationOptions)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON types."""
        return {
            "scorer": self.scorer,
            "label_threshold": self.label_threshold,
            **self.searches.as_dict(),
        }


def judge_scorer(
    forest: Forest, options: JudgingOptions, report: Callable[[int], None]
) -> ScorerReport:
    """Return an unsaved report on a scorer from the complete trees that have its scores.

    `report` gets the number of trees done.
    """
    given = options.searches.values
    quality = ScorerQuality(options.label_threshold, given.ungraded)
    evaluations = {
        name: Evaluation(
            replace(
                options.searches,
                values=replace(
                    given, value_function=name, scorer=options.scorer if name == "prm" else ""
                ),
            )
        )
        for name in COMPARED
    }
    functions = {name: value_function(one.options.values) for name, one in evaluations.items()}
    for done, (stored, scores) in enumerate(iter_scored_trees(forest, options.scorer), start=1):
        if stored.status == TreeStatus.COMPLETE and scores:
            for name, evaluation in evaluations.items():
                searches = functions[name](stored.id, stored.tree, scores)
                evaluation.add(stored.id, stored.tree, searches)
                if name == "labelled":
                    [oracle] = searches
                    quality.add(stored.tree, oracle.values, scores)
        report(done)
    return ScorerReport(
        id=scorer_id(forest.name, options.scorer),
        forest_id=forest.name,
        forest_created_at=forest.created_at,
        scorer=options.scorer,
        parameters=options.as_dict(),
        quality=quality.as_dict(),
        searches={
            name: [asdict(row) for row in evaluation.rows()]
            for name, evaluation in evaluations.items()
        },
        nodes_by_model=as_fields(count_models(forest)),
        num_trees=forest.num_trees,
        num_trees_used=quality.trees,
        num_uncompared=evaluations["labelled"].num_uncompared,
        num_ungrouped=evaluations["labelled"].num_ungrouped,
        created_at=datetime.now(UTC),
    )
