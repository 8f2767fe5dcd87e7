"""The dataset card (README.md) and the manifest of an exported dataset."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
from django.conf import settings
from huggingface_hub import DatasetCardData

from forests.core.model_counts import in_words
from forests.costs.amounts import format_money
from forests.models import Forest
from forests.progress.grown_by import entries_of
from preferences.core.statistics import MARGIN_BINS
from preferences.export.formats.base import Format
from preferences.export.formats.left_out import words_of
from preferences.export.limits import known_limits
from preferences.export.provenance import commands_of
from preferences.export.trainers import loading_sections, recipes_of

CARD = "README.md"
PICTURE = "margins.png"

_ON_THE_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_SIZES = (
    (10**3, "1K"), (10**4, "10K"), (10**5, "100K"), (10**6, "1M"), (10**7, "10M"), (10**8, "100M"),
)  # fmt: skip
"""Numbers of rows at which the hub's categories of size change, and their names."""

_REVIEWED = {
    "accepted": "only pairs that reviewers accepted",
    "not_rejected": "all pairs except those that reviewers rejected",
}

_LEVELS = {
    "step": "single steps. A trainer that ends each with an end-of-sequence token teaches a model "
    "to stop after one step",
    "step_to_end": "next steps of a prefix, each continued to the end of a solution",
    "trajectory": "whole solutions",
}

_SOLUTIONS = {
    "all": "all rollouts",
    "annotated": "only what the strategy annotated, without the rollouts that it drew for that",
}


def dataset_card(
    manifest: Mapping[str, Any],
    schema: pa.Schema,
    used: Format,
    files: Mapping[str, str],
    *,
    repository: str = "",
) -> str:
    """Return the text of the card.

    Args:
        manifest: what was exported.
        schema: the columns.
        used: the format.
        files: paths by split, for `datasets.load_dataset`.
        repository: the name of the dataset on the hub; empty if it stays a folder.
    """
    # Import late: it takes a second, and refused arguments should be reported before.
    from datasets import DatasetInfo, Features  # noqa: PLC0415
    from datasets.info import DatasetInfosDict  # noqa: PLC0415

    forest = manifest["forest"]
    source = forest["dataset_source"]
    data = DatasetCardData(
        pretty_name=f"{forest['name']} ({manifest['format']})",
        license=forest["dataset_licence"] or None,
        annotations_creators=["machine-generated"],
        language_creators=["machine-generated"],
        size_categories=[_size_category(sum(manifest["rows"].values()))],
        source_datasets=[f"extended|{source}"] if _ON_THE_HUB.fullmatch(source) else None,
        task_categories=[used.task],
        tags=_tags(used, schema),
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": path} for split, path in files.items()],
            }
        ],
    )
    # Explicit types: a reader might take a label for a number, or a text for a date.
    info = DatasetInfo(features=Features.from_arrow_schema(schema))
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    return f"---\n{data.to_yaml()}\n---\n\n{_body(manifest, schema, repository)}"


def _tags(used: Format, schema: pa.Schema) -> list[str]:
    """Return the tags by which people search for such datasets on the hub."""
    trainers = {one.trainer.split()[0].lower() for one in recipes_of(used.name)}
    has_pairs = used.source == "pairs" or "chosen" in schema.names
    kind = ["preference", "dpo"] if has_pairs else ["prm"]
    return [
        *kind,
        "process-reward-model",
        *(name for name in ("trl", "axolotl") if name in trainers),
        "monte-carlo",
        "reasoning",
        "prm-forests",
        used.name,
    ]


def _size_category(rows: int) -> str:
    """Return the hub's name for this number of rows."""
    if rows < _SIZES[0][0]:
        return f"n<{_SIZES[0][1]}"
    for (_, low), (end, high) in pairwise(_SIZES):
        if rows < end:
            return f"{low}<n<{high}"
    return f"n>{_SIZES[-1][1]}"


def _body(manifest: Mapping[str, Any], schema: pa.Schema, repository: str) -> str:
    forest, chosen = manifest["forest"], manifest["preference_set"]
    parameters = {**(chosen["parameters"] if chosen else {}), **manifest["parameters"]}
    sections = [
        f"# {forest['name']} ({manifest['format']})",
        "Made by rollouts of a language model, graded against the labels of the source; "
        f"{_origin(parameters)}",
        *loading_sections(manifest["format"], manifest["containers"], repository),
        "## Splits",
        _table(("split", "rows"), manifest["rows"].items()),
        "Splits share no prompts.",
        "## Columns",
        _table(("column", "type"), ((column.name, f"`{column.type}`") for column in schema)),
        "## Origin",
        _table(("", ""), _facts(manifest).items()),
        "### Models",
        _table(("model", "nodes"), _models(manifest["models"])),
        "### Commands",
        "\n".join(["```sh", *commands_of(manifest), "```"]),
        "### Parameters",
        _table(("parameter", "value"), parameters.items()),
        *_evidence(manifest["evidence"]),
    ]
    if statistics := manifest.get("statistics"):
        sections += _statistics(statistics)
    if manifest["left_out"]:
        left_out = [(words_of(reason), count) for reason, count in manifest["left_out"].items()]
        sections += ["## Left out", _table(("what", "number"), left_out)]
    sections += [
        "## Known limits",
        "\n".join(f"- {limit}" for limit in known_limits(manifest)),
        "## Licence",
        _licence(forest),
    ]
    return "\n\n".join(sections) + "\n"


def _facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    forest, chosen = manifest["forest"], manifest["preference_set"]
    facts = {
        "Forest": forest["name"],
        "Source": forest["dataset_source"] or "not given",
        "Split of the source": forest["dataset_split"],
        "Config": f"{forest['config_name']} (SHA-256 `{forest['config_sha256']}`)",
        "Commit of the config": _commit(forest),
        "Models": in_words(manifest["models"]),
        "Trees complete": f"{forest['num_complete']} of {forest['num_trees']}",
        "Requests and tokens": _used(forest["used"]),
        "Cost": _cost(forest),
        "Samples without a result": _without_result(forest),
        "Preference set": chosen["name"] if chosen else "none: every step is labelled",
    }
    facts |= _changed_settings(forest)
    if number := forest["num_hit_max_nodes"]:
        facts["Trees at the node limit"] = (
            f"{number}: they lack samples that the strategy wanted "
            f"(max_nodes {forest['worker_config'].get('max_nodes')})"
        )
    if number := manifest["thoughts"]:
        facts["Thoughts"] = (
            f"{number}, between `<think>` and `</think>` unless the model marks its own"
        )
    elif number := manifest["left_out"].get("thoughts"):
        facts["Thoughts"] = f"{number}, left out"
    facts |= _made_for(manifest) | _ratio(manifest)
    if words := _SOLUTIONS.get(manifest["parameters"].get("solutions")):
        facts["Solutions"] = words
    if chosen and (words := _REVIEWED.get(manifest["parameters"].get("reviewed"))):
        facts["Reviewed"] = (
            f"{words}; of the set's {chosen['num_pairs']} pairs, reviewers accepted "
            f"{chosen['num_accepted']} and rejected {chosen['num_rejected']}"
        )
    return facts


def _commit(forest: Mapping[str, Any]) -> str:
    commit, branch = forest["config_git_commit"], forest["config_git_branch"]
    if not commit:
        return "not in a repository"
    return f"`{commit}`{f' on {branch}' if branch else ''}"


def _models(numbers: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    for model, number in numbers.items():
        yield (f"`{model}`" if model else "not named in answers"), number


def _licence(forest: Mapping[str, Any]) -> str:
    source = forest["dataset_source"] or "The source"
    licence = forest["dataset_licence"]
    told = f"has the licence {licence}" if licence else "has no licence that is known here"
    return (
        f"{source} {told}. Language models wrote the continuations: their "
        "licences may limit what you may do with the texts, and are not recorded here."
    )


def _evidence(found: Mapping[str, Any]) -> list[str]:
    """Return the section about the samples and the confidence behind the values."""
    sections = []
    if confidence := found.get("confidence"):
        sections += [
            "Pairs by confidence, the probability that the chosen side is truly better:",
            _table(("confidence", "pairs"), confidence.items()),
        ]
    if steps := found.get("steps"):
        sections += [
            f"{found['good']} of {steps} values are those of good steps. The 95 % interval of "
            f"{found['undecided']} contains both good and bad values, so more samples may change "
            "the label.",
        ]
    if found["median_samples"] is not None:
        sections += [
            f"Values by the samples that they rest on (median {found['median_samples']}):",
            _table(("samples", "values"), found["samples"].items()),
        ]
    return ["## How sure", *sections] if sections else []


def _made_for(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return which trainers read the rows, and where the sides of a pair end."""
    facts = {"Read by": ", ".join(manifest["trainers"])} if manifest["trainers"] else {}
    chosen = manifest["preference_set"]
    level = chosen["parameters"].get("level") if chosen else ""
    return facts | ({"Sides of a pair": _LEVELS[level]} if level in _LEVELS else {})


def _ratio(manifest: Mapping[str, Any]) -> dict[str, str]:
    ratio = manifest.get("tree_token_ratio")
    return {} if ratio is None else {"tree_token_ratio": f"{ratio:.3f}"}


def _used(used: Mapping[str, int]) -> str:
    return (
        f"{used['requests']} requests, {used['prompt_tokens']} prompt and "
        f"{used['completion_tokens']} completion tokens"
    )


def _cost(forest: Mapping[str, Any]) -> str:
    """Return the cost of the forest, and the prices behind it."""
    cost, currency = forest["cost"], forest["currency"]
    if cost is None:
        return format_money(None, currency)
    prices = [format_money(forest["prices"][name], currency) for name in ("in", "out")]
    return (
        f"{format_money(cost, currency)} ({prices[0]} per million prompt tokens, {prices[1]} "
        "per million completion tokens)"
    )


def _origin(parameters: Mapping[str, Any]) -> str:
    """Return the source of the values of steps, as the end of a sentence."""
    progress = "what it adds to that of its prefix, where the value of a prefix is "
    meaning = progress if parameters.get("is_progress") else ""
    if scorer := parameters.get("scorer"):
        return f"the value of a step is {meaning}the score that `{scorer}` gave it."
    return f"the value of a step is {meaning}estimated from the solutions below it."


def _without_result(forest: Mapping[str, Any]) -> str:
    uncompared = forest["num_uncompared"] or 0
    return f"{uncompared} of {forest['num_leaves'] + uncompared}"


def _statistics(by_split: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return sections about margins, lengths and depths, with a column for each split."""
    facts = {
        "pairs": "pairs",
        "mean_margin": "mean margin",
        "mean_chosen_characters": "mean characters of the chosen side",
        "mean_rejected_characters": "mean characters of the rejected side",
        "chosen_longer": "pairs whose chosen side is longer",
        "chosen_shorter": "pairs whose chosen side is shorter",
    }
    figures = [
        (words, *(_figure(found[name]) for found in by_split.values()))
        for name, words in facts.items()
    ]
    margins = [
        (
            f"{number / 10:.1f}-{(number + 1) / 10:.1f}",
            *(f["margins"][number] for f in by_split.values()),
        )
        for number in range(MARGIN_BINS)
    ]
    depths = sorted({int(depth) for found in by_split.values() for depth in found["depths"]})
    by_depth = [
        (depth, *(found["depths"].get(str(depth), 0) for found in by_split.values()))
        for depth in depths
    ]
    return [
        "## Pairs",
        _table(("", *by_split), figures),
        f"![Pairs by margin]({PICTURE})",
        _table(("margin", *by_split), margins),
        _table(("steps before the pair", *by_split), by_depth),
    ]


def _figure(value: int | float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def _changed_settings(forest: Mapping[str, Any]) -> dict[str, str]:
    told = "; ".join(
        f"{name} {_setting(forest['worker_config'].get(name))}, seeded with {json.dumps(old)}"
        for name, old in (forest["replaced_settings"] or {}).items()
    )
    return {"Settings changed since seeding": told} if told else {}


def _setting(value: Any) -> str:
    """Return a setting as JSON, without the prior of a refinement, which is many numbers."""
    if isinstance(value, Mapping):
        value = {key: one for key, one in value.items() if key != "prior"}
    return json.dumps(value)


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines: list[Sequence[object]] = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def forest_facts(forest: Forest) -> dict[str, Any]:
    """Return the facts about a forest for the manifest of its datasets."""
    names = (
        "name", "config_name", "config_sha256", "config_git_commit", "config_git_branch",
        "dataset_split", "dataset_source", "dataset_licence", "worker_config", "replaced_settings",
        "num_trees", "num_complete", "num_hit_max_nodes", "num_leaves", "num_correct",
        "num_uncompared",
    )  # fmt: skip
    facts = {name: getattr(forest, name) for name in names}
    # Addresses of servers are private and say nothing about the samples.
    of_a_model = ("model", "chat_template_sha256", "answered_as")
    grown_by = [{key: one.get(key) for key in of_a_model} for one in entries_of(forest)]
    return facts | {
        "grown_by": grown_by,
        "cost": forest.cost,
        "currency": settings.CURRENCY,
        "used": forest.used.as_dict(),
        "prices": {"in": forest.price_in, "out": forest.price_out},
        "worker_config": {k: v for k, v in forest.worker_config.items() if k != "base_urls"},
    }
