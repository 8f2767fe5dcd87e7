"""The known limits of a dataset, in sentences for its card."""

from collections.abc import Iterator, Mapping
from typing import Any

FEW_SAMPLES = 8
"""If the median number of samples is below this, a card warns of few samples."""


def known_limits(manifest: Mapping[str, Any]) -> list[str]:
    """Return the limits of a dataset as sentences, from its manifest."""
    return [
        *_of_values(manifest),
        *_of_evidence(manifest),
        *_of_texts(manifest),
        *_of_the_forest(manifest),
    ]


def _of_values(manifest: Mapping[str, Any]) -> Iterator[str]:
    parameters = _parameters(manifest)
    scorer, agree = parameters.get("scorer"), parameters.get("agree")
    if scorer:
        yield f"The values are what `{scorer}` says. Where it is wrong, so are they."
    else:
        yield (
            "Monte Carlo values see only final answers. A wrong step in a solution with the right "
            "answer counts as good, and such solutions exist: in ProcessBench's MATH part 94 of "
            "500 solutions with a right answer have a wrong step."
        )
        yield (
            "A value is the chance of the models above to end correctly. Other models have other "
            "values at the same step."
        )
    if agree:
        yield f"Only steps on which {', '.join(agree)} agree too are included."
    if parameters.get("is_progress"):
        yield "A step without progress may be right: its value says only that it adds nothing."
    if manifest["format"] == "processbench" and not scorer:
        yield "Every solution with a right answer has label -1, even if one of its steps is wrong."


def _of_evidence(manifest: Mapping[str, Any]) -> Iterator[str]:
    evidence = manifest.get("evidence") or {}
    median = evidence.get("median_samples")
    if median is not None and median < FEW_SAMPLES:
        yield (
            f"Half of the values rest on {median} samples or fewer. A value of {median} samples "
            "differs much from one forest to the next."
        )
    if evidence.get("undecided"):
        yield (
            f"{evidence['undecided']} of {evidence['steps']} labels are undecided: the 95 % "
            "interval of the value contains the threshold."
        )
    if unknown := (evidence.get("confidence") or {}).get("unknown"):
        yield f"Nobody knows the confidence of {unknown} pairs."
    if manifest["preference_set"]:
        yield (
            "The chosen side was chosen by the values that the row shows, so these are too high on "
            "average, and the values of rejected sides too low. The confidence allows for that."
        )


def _of_texts(manifest: Mapping[str, Any]) -> Iterator[str]:
    parameters = _parameters(manifest)
    yield "All continuations were written by language models. Nobody checked them one by one."
    if manifest["format"] in ("trl", "trl_conversational") and parameters.get("level") == "step":
        yield (
            "Both sides are single steps. A trainer that appends an end-of-sequence token teaches "
            "the model to stop after every step; create the set with `--level step_to_end` instead."
        )
    if not parameters.get("decontaminate"):
        yield "The prompts were not compared with the questions of any benchmark."
    if manifest["left_out"].get("thoughts"):
        yield "The thoughts of the models are left out, so steps may rest on what is not shown."


def _of_the_forest(manifest: Mapping[str, Any]) -> Iterator[str]:
    forest = manifest["forest"]
    if uncompared := forest["num_uncompared"]:
        yield f"{uncompared} samples have no result: their answer could not be compared."
    if missing := forest["num_trees"] - forest["num_complete"]:
        yield f"{missing} of {forest['num_trees']} trees were not complete and are left out."
    if len(manifest["models"]) > 1:
        yield "Several models wrote the steps, and the values mix them."


def _parameters(manifest: Mapping[str, Any]) -> dict[str, Any]:
    chosen = manifest["preference_set"]
    return {**(chosen["parameters"] if chosen else {}), **manifest["parameters"]}
