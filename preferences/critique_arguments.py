"""Command-line options for the critiques of a dataset."""

from pathlib import Path
from typing import Any, NamedTuple

from django.core.management.base import CommandError, CommandParser

from forests.core.opinions.verdicts import GIVE_VERDICTS, JUDGE
from forests.models import Scorer
from forests.storage.reader import ForestReader
from preferences.core.value_sources import ValueSource
from preferences.export.formats.base import CRITIQUES, Critique, Format
from rollouts.scoring.judge_prompts import read_prompt


class Critics(NamedTuple):
    """The scorer behind critiques, their form and their prompt."""

    critic: str = ""
    """The scorer that gave the reasons; empty: critiques have only verdicts."""
    critique: Critique = "per_step"
    prompt: str = ""
    """The prompt of the user or of the critic; empty: the prompt of the format."""


def add_critique_arguments(parser: CommandParser) -> None:
    group = parser.add_argument_group("critiques", "Only for critique_sft and critique_pairs.")
    group.add_argument(
        "--critic",
        metavar="NAME",
        help="the scorer whose reasons critiques have, such as a judge; default: that of --values, "
        "or the forest's only judge",
    )
    group.add_argument(
        "--critique",
        choices=CRITIQUES,
        help="per_step: a verdict on each step; first_error: the number of the first wrong step, "
        "or -1 (default: as the critic was asked, else per_step)",
    )
    group.add_argument(
        "--critique_prompt",
        type=Path,
        metavar="FILE",
        help="text in place of the format's prompt, with {problem} and {solution}; also for fapo, "
        "where it may contain {ground_truth}",
    )


def choose_critics(
    reader: ForestReader, chosen: Format, source: ValueSource, options: dict[str, Any]
) -> Critics:
    """Return the critic, the form and the prompt of a format's critiques.

    Raises:
        CommandError: the options do not fit the format or the critic, or no critic is known.
        ConfigError: the forest has no such scorer.
        JudgePromptError: the prompt cannot be used.
    """
    file = options["critique_prompt"]
    _refuse_other_formats(chosen, options)
    own_prompt = read_prompt(file) if file else ""
    if not chosen.has_critiques:
        return Critics(prompt=own_prompt)
    scorer = _critic(reader, source, options["critic"])
    if scorer is None:
        if chosen.name == "critique_pairs":
            raise CommandError(
                f"critique_pairs compares what a judge said, and forest {reader.forest.name!r} has "
                "no judge: run score_nodes --kind judge --votes 4 first"
            )
        return Critics(critique=options["critique"] or "per_step", prompt=own_prompt)
    asked: Critique = scorer.parameters.get("template") or "per_step"
    if options["critique"] not in (None, asked):
        raise CommandError(
            f"scorer {scorer.name!r} was asked for {asked}, and its reasons fit nothing else: "
            "leave --critique out, or name another --critic",
            returncode=2,
        )
    if chosen.name == "critique_sft" or asked == "first_error":
        own_prompt = own_prompt or str(scorer.parameters.get("prompt") or "")
    return Critics(scorer.name, asked, own_prompt)


def _refuse_other_formats(chosen: Format, options: dict[str, Any]) -> None:
    allowed = {
        "critic": chosen.has_critiques,
        "critique": chosen.has_critiques,
        "critique_prompt": chosen.has_critiques or chosen.name == "fapo",
    }
    for name, is_allowed in allowed.items():
        if options[name] and not is_allowed:
            raise CommandError(
                f"--{name} is for critiques, and {chosen.name} has none: leave it out, or choose "
                "critique_sft or critique_pairs",
                returncode=2,
            )


def _critic(reader: ForestReader, source: ValueSource, name: str | None) -> Scorer | None:
    """Return the critic of this name; without a name, that of the values or the only judge."""
    if name:
        scorer = reader.scorer(name)
        if scorer.kind not in GIVE_VERDICTS:
            raise CommandError(
                f"scorer {name!r} gives no verdicts: name a judge, people or imported labels",
                returncode=2,
            )
        return scorer
    if source.scorer and (used := reader.scorer(source.scorer)).kind in GIVE_VERDICTS:
        return used
    judges = [one for one in reader.verdict_scorers if one.kind == JUDGE]
    if len(judges) > 1:
        names = ", ".join(one.name for one in judges)
        raise CommandError(
            f"forest {reader.forest.name!r} has several judges: choose one by --critic: {names}",
            returncode=2,
        )
    return judges[0] if judges else None
