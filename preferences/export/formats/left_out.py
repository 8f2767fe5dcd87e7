"""Reasons why exports leave something out."""

from metrics.core.tree_filters import TREES_LEFT_OUT

LEFT_OUT = {
    "solutions_without_result": "solutions whose last step has no result",
    "solutions_not_judged": "solutions with a step that has no score or on which sources disagree",
    "sides_without_result": "sides whose end has no result",
    "solutions_repeated": "solutions with the steps of another solution of the tree",
    "solutions_with_step_tag": "solutions in which the step tag or `Step 1:` is part of the text",
    "solutions_without_steps": "solutions in which nothing is written",
    "trees_without_steps": "trees in which nothing is written",
    "rollouts_that_only_annotate": "rollouts drawn only to value a step",
    "solutions_not_fully_annotated": "solutions with a step from which no rollout was drawn",
    "trees_without_annotated_steps": "trees in which no step was annotated",
    "solutions_without_first_error": "incorrect solutions whose first error was not searched for",
    "solutions_without_verdicts": "solutions whose first step has no verdict",
    "solutions_with_paragraph_tag": "solutions that contain the tag of a paragraph",
    "critiques_cut_at_a_step_without_verdict": "steps from the first one without a verdict, of as "
    "many solutions",
    "critiques_with_paragraph_tag": "critiques of a text that contains the tag of a paragraph",
    "critiques_of_steps_without_verdict": "critiques of steps without a verdict, or a neutral one",
    "critiques_without_another": "steps or solutions whose critiques all agree with the label, or "
    "none does (ask the judge for more votes)",
    "critiques_repeated": "pairs of critiques that equal another pair",
    "reasons_of_merged_steps": "reasons for steps that are merged into one",
    "reasons_of_shared_steps": "reasons that may be about another solution with the same step",
    "reasons_that_hide_verdicts": "reasons beside which the verdict could not be read",
    "alternatives_repeated": "alternatives of a step that differ from another only in whitespace",
    "thoughts": "thoughts",
    "pairs_within_a_thought": "pairs with a side that is only a thought",
    "pairs_that_differ_in_thoughts_alone": "pairs whose sides differ only in thoughts",
    "pairs_repeated_without_thoughts": "pairs that equal another pair without thoughts",
    "solutions_cut_in_a_thought": "solutions that end in the middle of a thought",
    "pairs_with_turns_out_of_order": "pairs after a chat in which user and assistant do not take "
    "turns, with a user last",
    "pairs_that_tell_by_length": "pairs dropped to balance lengths",
    "pairs_over_max_length": "pairs with more than --max_length tokens",
    "pairs_rejected_by_reviewers": "pairs that reviewers rejected",
    "pairs_not_reviewed": "pairs that no reviewer accepted",
    "trees_in_the_benchmark": "trees whose question is in the benchmark",
    "trees_without_prompt_ids": "trees whose prompt has no token ids",
    "trees_without_tokens": "trees without a solution whose token ids are all known",
    "solutions_without_tokens": "solutions with a step whose token ids the server did not tell",
    "solutions_tokenized_otherwise": "solutions whose steps the server tokenized in another way",
    "steps_without_advantage": "advantages of steps of which, or before which, no value is known",
    "trees_without_scores": "trees without scores of the scorer",
}
"""Reasons as shown, by the name under which they are counted."""


def words_of(reason: str) -> str:
    """Return a reason as shown; an unknown reason is its name with spaces."""
    return {**LEFT_OUT, **TREES_LEFT_OUT}.get(reason, reason.replace("_", " "))
