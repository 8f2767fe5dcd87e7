"""Evaluation of a scorer against the Monte Carlo values of a forest, or against labels."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from forests.core.model_counts import as_fields
from forests.core.naming import scorer_id
from forests.core.opinions.verdicts import GIVE_VERDICTS
from forests.core.tree import Scores
from forests.models import Forest, TreeStatus
from forests.storage.scores import get_scorer, iter_scored_trees, read_scores
from forests.storage.trees import count_models, in_batches
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
    against: str = ""
    """The scorer whose labels are the reference; empty: the Monte Carlo values."""
    searches: EvaluationOptions = field(default_factory=EvaluationOptions)

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON types."""
        return {
            "scorer": self.scorer,
            "label_threshold": self.label_threshold,
            "against": self.against,
            **self.searches.as_dict(),
        }


def report_id(forest_name: str, scorer: str, against: str) -> str:
    """Return the id of the latest report on a scorer against a reference."""
    return scorer_id(forest_name, scorer) + (f"/against/{against}" if against else "")


def _labels(forest: Forest, scorer: str) -> Iterator[Scores]:
    """Yield the labels of each tree, in the order of the dataset; empty without a scorer."""
    for batch in in_batches(range(forest.num_trees)):
        found = read_scores(forest, scorer, batch) if scorer else {}
        yield from (found.get(index, {}) for index in batch)


def judge_scorer(
    forest: Forest, options: JudgingOptions, report: Callable[[int], None]
) -> ScorerReport:
    """Return an unsaved report on a scorer from the complete trees that have its scores.

    Against labels, the quality is measured on the trees that the reference labels, also those that
    the scorer did not judge. The searches always use all trees that have scores. `report` gets the
    number of trees done.
    """
    given = options.searches.values
    kind = get_scorer(forest, options.scorer).kind
    quality = ScorerQuality(
        options.label_threshold, given.ungraded, gives_verdicts=kind in GIVE_VERDICTS
    )
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
    pairs = zip(
        iter_scored_trees(forest, options.scorer), _labels(forest, options.against), strict=True
    )
    num_scored = 0
    for done, ((stored, scores), labels) in enumerate(pairs, start=1):
        if stored.status == TreeStatus.COMPLETE:
            if labels:
                quality.add_labelled(stored.tree, labels, scores)
            for name, evaluation in evaluations.items() if scores else ():
                searches = functions[name](stored.id, stored.tree, scores)
                evaluation.add(stored.id, stored.tree, searches)
                if name == "labelled" and not options.against:
                    [oracle] = searches
                    quality.add(stored.tree, oracle.values, scores)
            num_scored += bool(scores)
        report(done)
    return ScorerReport(
        id=report_id(forest.name, options.scorer, options.against),
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
        num_trees_used=quality.trees if num_scored else 0,
        num_uncompared=evaluations["labelled"].num_uncompared,
        num_ungrouped=evaluations["labelled"].num_ungrouped,
        created_at=datetime.now(UTC),
    )
