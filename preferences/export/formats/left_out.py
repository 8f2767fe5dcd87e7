"""What exports leave out, and how that is said."""

LEFT_OUT = {
    "solutions_without_result": "solutions whose last step has no result",
    "solutions_repeated": "solutions with the steps of another solution of the tree",
    "solutions_with_step_tag": "solutions in which the step tag or `Step 1:` is part of the text",
    "solutions_without_steps": "solutions in which nothing is written",
    "trees_without_steps": "trees in which nothing is written",
    "rollouts_that_only_annotate": "rollouts drawn to value a step, no solutions of the dataset",
    "solutions_not_fully_annotated": "solutions with a step from which no rollout was drawn",
    "trees_without_annotated_steps": "trees in which no step was annotated",
    "solutions_without_first_error": "wrong solutions whose first error was not searched for",
    "alternatives_repeated": "alternatives of a step that differ from another in blanks alone",
    "thoughts": "thoughts",
    "pairs_within_a_thought": "pairs of which a side is thought alone",
    "pairs_that_differ_in_thoughts_alone": "pairs whose sides differ in thoughts alone",
    "pairs_repeated_without_thoughts": "pairs that are the same as another without thoughts",
    "solutions_cut_in_a_thought": "solutions that were cut in a thought",
    "pairs_that_tell_by_length": "pairs whose better side can be told by its length",
    "pairs_over_max_length": "pairs with more than --max_length",
    "pairs_rejected_by_reviewers": "pairs that reviewers rejected",
    "pairs_not_reviewed": "pairs that no reviewer accepted",
    "trees_in_the_benchmark": "trees whose question is in the benchmark",
    "trees_without_scores": "trees without scores of the scorer",
}
"""Why rows are missing from an export, as counted and as said."""


def words_of(reason: str) -> str:
    """Return how a reason is said; one that has no words of its own as it is counted."""
    return LEFT_OUT.get(reason, reason.replace("_", " "))
