"""Command that exports datasets for trainers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, add_json_argument, names_among, positive_integer
from common.directories import check_output
from common.progress_bar import shown_progress
from common.storage_problems import first_line
from common.text import as_percent
from forests.core.estimators import AUTO
from forests.core.opinions.verdicts import JUDGE_STEPS, SCORES, Verdict
from forests.forest_arguments import FOREST_NAME_HELP
from forests.models import Forest
from forests.storage.reader import ForestReader
from metrics.arguments import add_tree_filter_arguments, tree_filter
from metrics.forest_choice import ARCHIVE_HELP, open_archive, open_graded
from preferences.arguments import (
    Values,
    add_source_arguments,
    choose_source,
    hint_at_imported_values,
)
from preferences.core.decontamination import USUAL_NGRAM
from preferences.core.pairing import STEP
from preferences.core.value_sources import ValueSource
from preferences.critique_arguments import add_critique_arguments, choose_critics
from preferences.export.containers import CONTAINERS
from preferences.export.dataset_rows import (
    ALL_TREES,
    REVIEWED,
    SOLUTIONS,
    Solutions,
    is_annotated,
    usual_solutions,
)
from preferences.export.filters import Filters, read_benchmark, token_counter
from preferences.export.formats.annotation import ANNOTATES
from preferences.export.formats.base import Format, RowOptions
from preferences.export.formats.chat_pairs import CHAT_PAIR_FORMATS
from preferences.export.formats.critiques import CRITIQUE_FORMATS
from preferences.export.formats.left_out import words_of
from preferences.export.formats.prm800k import labeler_id
from preferences.export.formats.thought_marks import THOUGHTS
from preferences.export.hub import check_hub, push_to_hub
from preferences.export.writing import FORMATS, ExportRequest, export, output_of
from preferences.models import PreferenceSet
from preferences.pairing_arguments import (
    add_pairing_arguments,
    check_pairing,
    given_pairing,
    pairing_for,
    parameters_of,
)
from preferences.sets.storage import has_open_ends, sets_of
from preferences.sets.unstored import UnstoredSet

_LOOK_FOR_ERRORS = ("processbench", *(one.name for one in CRITIQUE_FORMATS))
_CHAT_FORMATS = ("trl_conversational", *(one.name for one in CHAT_PAIR_FORMATS))
FILTER_OPTIONS = (
    "critique_prompt",
    "with_values",
    "single_steps",
    "rank_siblings",
    "cut_at_first_error",
    "decontaminate",
    "max_length",
    "tokenizer",
    "balance_length",
)


class Command(ProjectCommand):
    help = (
        "Export a preference set, or the labelled steps of a forest, as a dataset with card and "
        "manifest. An interrupted export leaves nothing behind."
    )
    examples = """
python manage.py export_preferences --forest_name F --format trl --container parquet --output out
python manage.py export_preferences --forest_name F --format trl --container jsonl,parquet,dataset --output out
python manage.py export_preferences --set F/S --reviewed accepted --output accepted
python manage.py export_preferences --forest_name F --format trl_stepwise --test_fraction 0.1 --output steps
python manage.py export_preferences --forest_name F --format trl_stepwise --values scorer:imported --output steps
python manage.py export_preferences --archive backups/first --format trl --min_margin 0.5 --output pairs
"""  # noqa: E501

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--forest_name", help=FOREST_NAME_HELP)
        parser.add_argument("--archive", type=Path, metavar="DIR", help=ARCHIVE_HELP)
        parser.add_argument(
            "--set",
            dest="set_name",
            help="preference set: its name, or <forest>/<name>; default: the forest's only set "
            "(formats of steps use its values)",
        )
        parser.add_argument("--format", choices=FORMATS, default="trl", help="default: %(default)s")
        parser.add_argument(
            "--container",
            type=names_among(CONTAINERS),
            default=("parquet",),
            metavar="NAME,NAME",
            help=f"kinds of files: {', '.join(CONTAINERS)} (default: parquet)",
        )
        parser.add_argument("--output", required=True, type=Path, help="directory to create")
        parser.add_argument(
            "--overwrite", action="store_true", help="replace an earlier export in the directory"
        )
        parser.add_argument(
            "--test_fraction",
            type=float,
            default=0.0,
            help="share of the prompts in the split test, 0 to below 1 (default: 0)",
        )
        parser.add_argument(
            "--seed",
            type=int,
            default=0,
            help="seed of the splits, and with --archive of the choice of pairs that a limit keeps "
            "(default: 0)",
        )
        parser.add_argument(
            "--label_threshold",
            type=float,
            help="a label is positive if the value is above this "
            "(default: 0 for steps and for progress, 0.5 for trl_unpaired and for scores of a "
            "reward model, a judge or people)",
        )
        parser.add_argument(
            "--reviewed",
            choices=REVIEWED,
            default="all",
            help="which pairs to write, by their reviews: all; not_rejected, all except those "
            "that reviewers rejected; accepted, only those that reviewers accepted "
            "(default: %(default)s)",
        )
        parser.add_argument(
            "--solutions",
            choices=("auto", *SOLUTIONS),
            default="auto",
            help="for formats of steps: all, all rollouts; annotated, only what math_shepherd or "
            "omega_prm annotated, without the rollouts that they drew for that; auto, annotated "
            "if the forest's strategy annotates, else all (default: %(default)s)",
        )
        parser.add_argument(
            "--thoughts",
            choices=THOUGHTS,
            help="thoughts of reasoning models: keep, between <think> and </think>; drop, which "
            "leaves only texts and labels of the answers (default: keep for formats of pairs, "
            "drop for formats of steps)",
        )
        parser.add_argument(
            "--single_steps",
            action="store_true",
            help="write a set of the level step for a trainer that adds an end-of-sequence token: "
            "for a reward model, or if your trainer is set not to add it",
        )
        parser.add_argument(
            "--rank_siblings",
            action="store_true",
            help="nemo_rl: one row for all siblings of a prefix that the pairs put in an order, "
            "instead of one for each pair; its trainers take rows of two",
        )
        parser.add_argument(
            "--cut_at_first_error",
            action="store_true",
            help="trl_stepwise, math_shepherd, openrlhf_prm, rlhflow, critique_sft: end a solution "
            "at its first step that is not good",
        )
        parser.add_argument(
            "--with_values",
            action="store_true",
            help="trl_stepwise: columns `values`, `n` (samples), `low` and `high` (95 %% interval) "
            "beside the labels; openrlhf_prm: `values`; formats of pairs: values, leaves, margin "
            "and confidence. Reward trainers of TRL, OpenRLHF and ms-swift change their loss by "
            "`margin`",
        )
        add_critique_arguments(parser)
        _add_filter_arguments(parser)
        parser.add_argument(
            "--push_to_hub",
            metavar="REPO",
            help="also upload to this dataset repository of the Hugging Face hub",
        )
        add_source_arguments(parser)
        add_pairing_arguments(
            parser.add_argument_group(
                "pairs of an archive",
                "Only with --archive, which holds no preference sets. The pairs are those that "
                "create_preferences would make with these options.",
            )
        )
        add_json_argument(parser)

    def handle(self, *, output: Path, overwrite: bool, **options: Any) -> None:
        try:
            check_output(output_of(output, overwrite=overwrite))
            repository = options["push_to_hub"]
            if repository:
                check_hub()
            request = _request(output, options, self)
            with shown_progress("rows", total=None) as report:
                manifest = export(request, overwrite=overwrite, report=report)
            url = push_to_hub(output, repository) if repository else None
        except OSError as error:
            raise CommandError(
                f"{output} could not be written: {first_line(error)}; nothing is left behind"
            ) from error
        self._show(output, manifest, url, as_json=options["json"])

    def _show(
        self, output: Path, manifest: dict[str, Any], url: str | None, *, as_json: bool
    ) -> None:
        if as_json:
            self.show_json({"output": str(output), "url": url, **manifest})
            return
        self.stdout.write(f"output: {output}")
        if url:
            self.stdout.write(f"url: {url}")
        rows = [(path, f"{file['bytes']:,}") for path, file in manifest["files"].items()]
        self.show_table(("file", "bytes"), rows)
        for split, count in manifest["rows"].items():
            self.say(f"{split}: {count} rows")
        if manifest["thoughts"]:
            self.say(f"thoughts in the texts: {manifest['thoughts']}")
        if manifest["pairs_inside_thoughts"] and _is_of_chats(manifest):
            self.say(
                f"{manifest['pairs_inside_thoughts']} pairs end in the middle of a thought, and "
                "many chat templates close or move it: check the output of your template, or "
                "use --level trajectory or step_to_end in create_preferences"
            )
        self._warn(manifest)
        self._say_consensus(manifest.get("consensus"))
        self._say_ratio(manifest.get("tree_token_ratio"))
        for reason, count in manifest["left_out"].items():
            self.say(f"left out: {count} {words_of(reason)}")
        self.say(f"read it back: {_how_to_read(output, manifest['containers'])}")

    def _warn(self, manifest: dict[str, Any]) -> None:
        if _has_rejected(manifest):
            self.say(
                f"reviewers rejected {manifest['preference_set']['num_rejected']} of the pairs: "
                "--reviewed not_rejected leaves them out"
            )
        if "margin" in manifest["columns"]:
            self.say(
                "the column `margin` changes the loss of the reward trainers of TRL, OpenRLHF and "
                "ms-swift: drop it, or leave out --with_values, if you do not want that"
            )

    def _say_ratio(self, ratio: float | None) -> None:
        if ratio is not None:
            self.say(f"tree_token_ratio: {ratio:.3f}")

    def _say_consensus(self, found: dict[str, Any] | None) -> None:
        if found:
            self.say(
                f"all sources have an opinion of {found['compared']} of {found['steps']} steps "
                f"({as_percent(found['coverage'])}), and agree on {found['agreed']} of these "
                f"({as_percent(found['agreement'])})"
            )


def _has_rejected(manifest: dict[str, Any]) -> bool:
    """Return whether the dataset contains pairs that reviewers rejected."""
    chosen, parameters = manifest["preference_set"], manifest["parameters"]
    return bool(chosen and chosen["num_rejected"] and parameters.get("reviewed") == "all")


def _is_of_chats(manifest: dict[str, Any]) -> bool:
    """Return whether trainers apply a chat template to the dataset."""
    is_chat = bool(manifest["forest"]["worker_config"].get("api") == "chat")
    name = str(manifest["format"])
    return name in _CHAT_FORMATS or (name == "trl_unpaired" and is_chat)


def _how_to_read(output: Path, containers: list[str]) -> str:
    if containers == ["dataset"]:
        return f'datasets.load_from_disk("{output / "dataset"}")'
    return f'datasets.load_dataset("{output}")'


def _request(output: Path, options: dict[str, Any], command: ProjectCommand) -> ExportRequest:
    if not 0 <= options["test_fraction"] < 1:
        raise CommandError("--test_fraction must be a number from 0 to below 1", returncode=2)
    chosen_format = FORMATS[options["format"]]
    reads_pairs = chosen_format.source == "pairs"
    if options["reviewed"] != "all" and not reads_pairs:
        raise CommandError(
            f"--reviewed chooses pairs, and {chosen_format.name} has none: leave it out, or choose "
            "a format of pairs",
            returncode=2,
        )
    if options["solutions"] != "auto" and reads_pairs:
        raise CommandError(
            f"--solutions is for formats of steps, and {chosen_format.name} has pairs: leave it "
            "out, or choose a format of steps",
            returncode=2,
        )
    _check_containers(chosen_format, options["container"])
    _check_pairing(chosen_format, options)
    reader, preference_set = _reader_and_set(options, needs_set=reads_pairs)
    forest = reader.forest
    source = (
        _source_of_set(reader, preference_set, options, command)
        if preference_set
        else choose_source(reader, options, command)
    )
    _refuse_errors_of_progress(source, options)
    pairs: PreferenceSet | UnstoredSet | None = preference_set if reads_pairs else None
    if options["archive"] and reads_pairs:
        parameters = parameters_of(pairing_for(source, options), source, ALL_TREES)
        pairs = UnstoredSet(reader, parameters)
        preference_set = pairs.record
    if pairs and not options["single_steps"]:
        _refuse_single_steps(chosen_format, pairs)
    critics = choose_critics(reader, chosen_format, source, options)
    if chosen_format.needs_tokens:
        _require_tokens(forest, chosen_format, options)
    threshold = options["label_threshold"]
    if threshold is None:
        threshold = _usual_threshold(reader, source, chosen_format)
    return ExportRequest(
        reader=reader,
        format=chosen_format,
        containers=options["container"],
        output=output,
        pairs=pairs,
        options=RowOptions(
            label_threshold=threshold,
            with_values=options["with_values"],
            cut_at_first_error=options["cut_at_first_error"],
            level=preference_set.parameters.get("level", STEP) if preference_set else "",
            rank_siblings=options["rank_siblings"],
            critic=critics.critic,
            critique=critics.critique,
            critique_prompt=critics.prompt,
            labeler=labeler_id(source.name),
            is_progress=source.is_progress,
        ),
        estimator=source.estimator,
        ungraded=source.ungraded,
        scorer=source.scorer,
        agree=source.agree,
        is_progress=source.is_progress,
        test_fraction=options["test_fraction"],
        split_seed=options["seed"],
        reviewed=options["reviewed"],
        thoughts=options["thoughts"],
        solutions="all"
        if chosen_format.needs_tokens
        else _solutions(forest, source, options["solutions"]),
        repository=options["push_to_hub"] or "",
        filters=_filters(options, reads_pairs=reads_pairs),
        filter_words={
            **{
                name: options[name] is True or str(options[name])
                for name in FILTER_OPTIONS
                if options[name] not in (None, False)
            },
            **({"ngram": options["ngram"]} if options["decontaminate"] else {}),
            **tree_filter(options).as_dict(),
        },
    )


def _check_pairing(chosen: Format, options: dict[str, Any]) -> None:
    """Refuse options of pairs unless the export makes pairs, and options that no archive has.

    Raises:
        CommandError: one of them was given.
    """
    given = given_pairing(options)
    if not options["archive"]:
        if given:
            raise CommandError(
                f"--{given[0]} makes pairs of an --archive: for a forest of the database, make a "
                "set with create_preferences",
                returncode=2,
            )
        return
    if given and chosen.source != "pairs":
        raise CommandError(
            f"--{given[0]} makes pairs, and {chosen.name} has none: leave it out, or choose a "
            "format of pairs",
            returncode=2,
        )
    of_the_database = {
        "--forest_name": options["forest_name"],
        "--set": options["set_name"],
        "--reviewed": options["reviewed"] != "all",
    }
    for option, is_given in of_the_database.items():
        if is_given:
            raise CommandError(
                f"{option} is for forests of the database, and --archive names a directory: leave "
                "one of them out",
                returncode=2,
            )
    check_pairing(options)


def _check_containers(chosen: Format, wanted: Sequence[str]) -> None:
    """Refuse to write only containers that the trainers of a format cannot read.

    Raises:
        CommandError: none of the wanted containers is readable.
    """
    if chosen.containers and not set(chosen.containers) & set(wanted):
        raise CommandError(
            f"the trainers of {chosen.name} read {' or '.join(chosen.containers)}: add one of "
            "these to --container",
            returncode=2,
        )


def _refuse_single_steps(chosen: Format, pairs: PreferenceSet | UnstoredSet) -> None:
    """Refuse single steps for trainers that end each completion, unless all end a solution.

    Raises:
        CommandError: a model would learn to stop after one step.
    """
    record = pairs.record if isinstance(pairs, UnstoredSet) else pairs
    if not chosen.ends_completions or record.parameters.get("level", STEP) != STEP:
        return
    if isinstance(pairs, UnstoredSet):
        is_refused, what = pairs.has_open_ends(), "--level step makes"
        remedy = "give --level step_to_end"
    else:
        is_refused, what = has_open_ends(pairs), f"set {pairs.name!r} has"
        remedy = "make the set with create_preferences --level step_to_end"
    if is_refused:
        raise CommandError(
            f"{what} single steps, and the trainers of {chosen.name} end each with an "
            f"end-of-sequence token, so a model learns to stop after one step: {remedy}, or give "
            "--single_steps for a reward model or a trainer that does not add the token",
            returncode=2,
        )


def _refuse_errors_of_progress(source: ValueSource, options: dict[str, Any]) -> None:
    """Refuse to look for a first error by progress, because a right step may make no progress.

    Raises:
        CommandError: the options look for one.
    """
    looks = {
        f"--format {options['format']}": options["format"] in _LOOK_FOR_ERRORS,
        "--cut_at_first_error": options["cut_at_first_error"],
    }
    for option, is_given in looks.items():
        if source.is_progress and is_given:
            raise CommandError(
                f"{option} looks for the first error, and a step without progress may be right: "
                "leave it out, or choose other --values",
                returncode=2,
            )


def _require_tokens(forest: Forest, chosen_format: Format, options: dict[str, Any]) -> None:
    """Refuse a format of tokens for a forest without token ids, or for parts of solutions.

    Raises:
        CommandError: the forest keeps no token ids, or the options leave out steps.
    """
    if not forest.worker_config.get("keep_tokens"):
        raise CommandError(
            f"forest {forest.name!r} keeps no token ids, which --format {chosen_format.name} "
            "needs: set keep_tokens=True in the config, and seed and grow a new forest "
            "(resegment_forest copies none)"
        )
    for name, value in (("solutions", "annotated"), ("thoughts", "drop")):
        if options[name] == value:
            raise CommandError(
                f"--{name} {value} leaves out steps, and --format {chosen_format.name} needs the "
                "ids of all: leave the option out",
                returncode=2,
            )


def _usual_threshold(reader: ForestReader, source: ValueSource, chosen: Format) -> float:
    """Return the default of `--label_threshold`: 0.5 for scorers that judge steps."""
    if source.is_progress:
        return 0.0
    if source.scorer and reader.scorer(source.scorer).kind in JUDGE_STEPS:
        return SCORES[Verdict.NEUTRAL]
    return chosen.default_threshold or 0.0


def _solutions(
    forest: Forest, source: ValueSource, wanted: Solutions | Literal["auto"]
) -> Solutions:
    if wanted == "annotated" and not is_annotated(forest):
        raise CommandError(
            f"--solutions annotated is for forests of {' or '.join(ANNOTATES)}, and "
            f"{forest.strategy} grew {forest.name!r}: leave it out, or run refine_forest first",
            returncode=2,
        )
    return usual_solutions(forest, source) if wanted == "auto" else wanted


def _add_filter_arguments(parser: CommandParser) -> None:
    add_tree_filter_arguments(parser)
    parser.add_argument(
        "--decontaminate",
        type=Path,
        metavar="FILE",
        help="leave out trees whose prompt contains a question of this file: JSON lines with "
        "prompt, question, problem or text, or one question per line",
    )
    parser.add_argument(
        "--ngram",
        type=positive_integer,
        default=USUAL_NGRAM,
        help="n-gram length used to match benchmark questions (default: %(default)s)",
    )
    parser.add_argument(
        "--max_length",
        type=positive_integer,
        help="leave out pairs with more tokens in prompt, prefix and either side, not counting "
        "what a chat template adds; needs --tokenizer",
    )
    parser.add_argument(
        "--tokenizer",
        help="for --max_length: a tokenizer.json, its directory, or a name on the hub",
    )
    parser.add_argument(
        "--balance_length",
        action="store_true",
        help="avoid length bias: keep equally many pairs whose chosen side is longer and shorter, "
        "sampled with --seed",
    )


def _filters(options: dict[str, Any], *, reads_pairs: bool) -> Filters:
    if (options["max_length"] is None) != (options["tokenizer"] is None):
        raise CommandError("--max_length and --tokenizer go together: give both", returncode=2)
    if not reads_pairs and (options["max_length"] or options["balance_length"]):
        raise CommandError(
            f"--max_length and --balance_length choose pairs, and {options['format']} has none: "
            "leave them out, or choose a format of pairs",
            returncode=2,
        )
    file, tokenizer = options["decontaminate"], options["tokenizer"]
    return Filters(
        trees=tree_filter(options),
        benchmark=read_benchmark(file, options["ngram"]) if file else None,
        max_length=options["max_length"],
        count_tokens=token_counter(tokenizer) if tokenizer else None,
        balance_length=options["balance_length"],
        seed=options["seed"],
    )


def _source_of_set(
    reader: ForestReader,
    preference_set: PreferenceSet,
    options: dict[str, Any],
    command: ProjectCommand,
) -> ValueSource:
    """Return the source of a set's values.

    Raises:
        CommandError: the options name another source.
        ConfigError: the steps need the scores of a scorer that no longer exists.
    """
    source = ValueSource.from_dict(preference_set.parameters)
    name = preference_set.name
    if options["agree"]:
        raise CommandError(
            f"preference set {name!r} says which sources agree on its pairs: leave --agree out, or "
            "make another set with create_preferences --agree",
            returncode=2,
        )
    if options["values"] not in (None, (source.scorer, source.is_progress)):
        raise CommandError(
            f"preference set {name!r} has values of {source.kind}: leave --values out, or make "
            "another set with create_preferences --values",
            returncode=2,
        )
    if options["estimator"] not in (AUTO, source.estimator):
        raise CommandError(
            f"preference set {name!r} has values by {source.name}: leave --estimator out, or make "
            "another set with create_preferences --estimator",
            returncode=2,
        )
    if options["ungraded"] not in (ValueSource().ungraded, source.ungraded):
        raise CommandError(
            f"preference set {name!r} has --ungraded {source.ungraded}: leave --ungraded out, or "
            "make another set with create_preferences --ungraded",
            returncode=2,
        )
    if not source.scorer:
        hint_at_imported_values(reader, options, command)
    if FORMATS[options["format"]].source == "trees":
        for scorer in source.scorers:
            reader.scorer(scorer)
    return source


def _reader_and_set(
    options: dict[str, Any], *, needs_set: bool
) -> tuple[ForestReader, PreferenceSet | None]:
    """Return the forest and, if named or needed, its preference set; an archive has none."""
    if options["archive"]:
        return open_archive(options["archive"]), None
    forest_name, set_name = options["forest_name"], options["set_name"]
    if set_name and "/" in set_name:
        named_forest, _, set_name = set_name.partition("/")
        if forest_name not in (None, named_forest):
            raise CommandError(
                f"--set names forest {named_forest!r} but --forest_name {forest_name!r}: give one",
                returncode=2,
            )
        forest_name = named_forest
    if not forest_name:
        raise CommandError(
            "give --forest_name, or --set <forest>/<name>, or --archive", returncode=2
        )
    reader = open_graded(forest_name)
    if not (set_name or needs_set):
        return reader, None
    return reader, _preference_set(reader.forest, set_name, options["values"])


def _preference_set(forest: Forest, name: str | None, values: Values | None) -> PreferenceSet:
    """Return the set of this name; without a name, the only set (of these values, if given)."""
    sets = sets_of(forest)
    if name is None and values is not None:
        kind = values.kind
        sets = [one for one in sets if ValueSource.from_dict(one.parameters).kind == kind]
        if not sets:
            raise CommandError(
                f"forest {forest.name!r} has no preference set with values of {kind}: run "
                f"create_preferences --values {kind}"
            )
    known = ", ".join(one.name for one in sets)
    found = [one for one in sets if name in (None, one.name)]
    if not sets:
        raise CommandError(f"forest {forest.name!r} has no preference set: run create_preferences")
    if not found:
        raise CommandError(f"forest {forest.name!r} has no preference set {name!r}; known: {known}")
    if len(found) > 1:
        raise CommandError(f"forest {forest.name!r} has several sets; choose one by --set: {known}")
    if not found[0].is_complete:
        raise CommandError(
            f"preference set {found[0].name!r} is not complete: run the same create_preferences "
            "command again"
        )
    return found[0]
