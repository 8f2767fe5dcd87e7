"""Score the steps of a forest with a reward model, a judge, or a prover."""

import argparse
import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.urls import reverse

from common.commands import EXIT_PARTLY_FAILED, ProjectCommand, add_json_argument, positive_integer
from common.progress_bar import shown_progress
from common.text import counted
from experiment_configs.server_addresses import has_user, is_server_address
from forests.core.opinions.verdicts import HUMAN, JUDGE, PRM, PROVER
from forests.forest_arguments import add_forest_argument, get_grown_forest
from forests.labels.disagreeing import update_disagreements
from forests.labels.storage import publish_labels
from forests.models import Forest, Scorer
from forests.storage.scores import delete_scores, start_scorer
from rollouts.client.backend import Backend
from rollouts.client.server import ServerAddress
from rollouts.client.servers_of_settings import scorer_server
from rollouts.client.spending import Spending
from rollouts.scoring.kinds import KINDS
from rollouts.scoring.replacing import check_server
from rollouts.scoring.score_forest import Scoring, first_request, score_forest
from rollouts.scoring.score_requests import (
    LAYOUTS,
    USUAL_TAGS,
    ScorerOptions,
)
from rollouts.scoring_commands.judge_command import OF_JUDGES, add_judge_arguments, handle_judge
from rollouts.scoring_commands.limits import (
    OF_CHAT_MODELS,
    add_chat_model_arguments,
    counts_by_name,
)
from rollouts.scoring_commands.prover_command import OF_PROVERS, add_prover_arguments, handle_prover

OF_REWARD_MODELS = {
    "layout": None,
    "step_tag": None,
    "good": "+",
    "bad": "-",
    "good_index": 1,
    "top_logprobs": 20,
}
"""Options that only a reward model has, with their defaults."""
OF_KINDS: tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...] = (
    ((), OF_REWARD_MODELS),
    ((JUDGE,), OF_JUDGES),
    ((PROVER,), OF_PROVERS),
    ((JUDGE, PROVER), OF_CHAT_MODELS),
)
"""Kinds, with the options that only these kinds have. No kind means all reward models."""
TIMEOUT_SECONDS = 120.0
MAX_ATTEMPTS = 6
SCORING_FIELDS = ("logprobs", "top_logprobs")
"""Request fields that scoring needs: the server answers them with the score."""


class Command(ProjectCommand):
    help = (
        "Score every step of a forest's complete trees with a served process reward model, with a "
        "chat model as a judge, or by the rollouts of another model, a prover, and keep the scores "
        "under a name. A second run scores only trees without scores. "
        "beam_search --value_function_option prm uses the scores; evaluate_scorer shows how good "
        "they are."
    )
    examples = """
python manage.py score_nodes --forest_name F --scorer shepherd --model math-shepherd-prm
python manage.py score_nodes --forest_name F --scorer qwen --kind pooling --model Qwen2.5-Math-PRM
python manage.py score_nodes --forest_name F --scorer rlhflow --layout turns --model RLHFlow-PRM
python manage.py score_nodes --forest_name F --scorer orm --kind score
python manage.py score_nodes --forest_name F --scorer critic --kind judge --votes 3 --estimate
python manage.py score_nodes --forest_name F --scorer critic --kind judge --votes 3 --max_cost 5
python manage.py score_nodes --forest_name F --scorer prover --kind prover --model small --rollouts 8
"""  # noqa: E501

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument("--scorer", required=True, help="name to keep the scores under")
        parser.add_argument(
            "--kind",
            choices=[*KINDS, JUDGE, PROVER, HUMAN],
            default="logprobs",
            help="logprobs: a causal model writes --good or --bad after each step; pooling: vLLM's "
            "pooling endpoint with STEP pooling; score: a score endpoint; judge: a chat model says "
            "which steps of whole solutions are wrong, and why; prover: another model continues "
            "every step to the end, and its score is the share of correct rollouts; human: people "
            "label steps on the site, and this says where (default: %(default)s)",
        )
        parser.add_argument(
            "--layout",
            choices=LAYOUTS,
            help="format of question and steps: math_shepherd (numbered steps), plain, chat "
            "(the assistant's message), turns (a turn for each step) (default: math_shepherd for "
            "logprobs, chat for pooling)",
        )
        parser.add_argument(
            "--step_tag",
            help="text after each step (default: ки for math_shepherd, <extra_0> for chat, a line "
            "break for plain)",
        )
        parser.add_argument("--good", default="+", help="verdict on a correct step (default: +)")
        parser.add_argument("--bad", default="-", help="verdict on a wrong step (default: -)")
        parser.add_argument(
            "--good_index",
            type=int,
            default=1,
            help="index of the class that means correct, from 0 (default: 1)",
        )
        parser.add_argument(
            "--top_logprobs",
            type=positive_integer,
            default=20,
            help="number of likely tokens that the server lists with probabilities (default: 20)",
        )
        parser.add_argument("--model", help="model to ask for (default: the server's first)")
        parser.add_argument(
            "--base_url",
            type=server_address,
            help="address of the server, with /v1 (default: SCORER_BASE_URL, then OPENAI_BASE_URL)",
        )
        parser.add_argument(
            "--concurrency",
            type=positive_integer,
            default=16,
            help="requests in flight (default: %(default)s)",
        )
        parser.add_argument(
            "--replace",
            action=argparse.BooleanOptionalAction,
            default=False,
            help="delete earlier scores of this name first",
        )
        add_json_argument(parser)
        add_chat_model_arguments(parser)
        add_judge_arguments(parser)
        add_prover_arguments(parser)

    def handle(self, **options: Any) -> None:
        _check_options(options)
        forest = get_grown_forest(options["forest_name"])
        if options["kind"] in (JUDGE, PROVER):
            handle = handle_judge if options["kind"] == JUDGE else handle_prover
            try:
                handle(self, forest, _address(options), options)
            finally:  # a judge that stopped half way has judged some trees
                if not options["estimate"]:
                    update_disagreements(forest)
            return
        if options["kind"] == HUMAN:
            self._label(forest, options)
            return
        scorer, scoring = asyncio.run(self._score(forest, options))
        update_disagreements(forest)
        self._show(forest, scorer, scoring, as_json=options["json"])

    def _label(self, forest: Forest, options: dict[str, Any]) -> None:
        """Make the scorer of the labels that people gave, and show the page for labelling."""
        if options["scorer"] != HUMAN:
            raise CommandError(
                f"the labels of people are kept as scorer {HUMAN!r}: give --scorer {HUMAN}; "
                "import_scores keeps those of a file under any other name"
            )
        if options["replace"]:
            delete_scores(forest, HUMAN)
        scorer = publish_labels(forest)
        with shown_progress("trees", total=forest.num_trees) as report:
            update_disagreements(forest, report=report)
        address = reverse("labels", args=[forest.name])
        if options["json"]:
            counts = {"nodes": scorer.num_nodes, "trees": scorer.num_trees}
            self.show_json({"forest_name": forest.name, "scorer": HUMAN, **counts, "page": address})
        self.say(
            f"{counted(scorer.num_nodes, 'step')} of {counted(scorer.num_trees, 'tree')} have a "
            f"label; people label steps at {address}"
        )

    async def _score(self, forest: Forest, options: dict[str, Any]) -> tuple[Scorer, Scoring]:
        backend = Backend(
            _address(options),
            timeout_seconds=TIMEOUT_SECONDS,
            max_attempts=MAX_ATTEMPTS,
            needed=SCORING_FIELDS,
        )
        async with backend:
            model = options["model"] or await backend.first_model()
            wanted = _scorer_options(options, model)
            spent = Spending()
            if options["replace"]:
                request = await asyncio.to_thread(first_request, forest, wanted)
                await check_server(backend, model, request, spent)
            scorer = await asyncio.to_thread(_start, forest, options, wanted)
            with shown_progress("trees", total=forest.num_trees) as report:
                scoring = await score_forest(
                    forest, scorer, backend, concurrency=options["concurrency"], report=report
                )
        scoring.spending.add(spent)
        return scorer, scoring

    def _show(self, forest: Forest, scorer: Scorer, scoring: Scoring, *, as_json: bool) -> None:
        if as_json:
            counts = counts_by_name(scoring) | {"spending": counts_by_name(scoring.spending)}
            self.show_json({"forest_name": forest.name, "scorer": scorer.name, **counts})
        else:
            spent = scoring.spending
            self.say(
                f"{scoring.nodes} steps of {scoring.trees} trees scored with {spent.requests} "
                f"requests ({spent.retries} retries); {scoring.nodes_without_score} steps have no "
                f"score; {scoring.trees_scored_before} trees had scores already, "
                f"{scoring.trees_not_complete} are not complete"
            )
        if scoring.trees and not scoring.nodes:
            raise CommandError(
                f"no step has a score: {_remedy(scorer)}, and add --replace",
                returncode=EXIT_PARTLY_FAILED,
            )
        if scoring.failures:
            reason, _ = scoring.failures.most_common(1)[0]
            raise CommandError(
                f"{scoring.failures.total()} trees have no scores: {reason}",
                returncode=EXIT_PARTLY_FAILED,
            )


def _remedy(scorer: Scorer) -> str:
    if scorer.parameters["kind"] != "logprobs":
        return "the server's answers hold no numbers for steps; set --layout as in its training"
    return (
        "the model answers neither --good nor --bad with any of its "
        f"{scorer.parameters['top_logprobs']} most likely tokens; set --good, --bad and --layout "
        "as in its training"
    )


def _check_options(options: dict[str, Any]) -> None:
    """Refuse options that the kind would ignore."""
    kind = options["kind"]
    for kinds, usual in OF_KINDS:
        if kind in kinds or (not kinds and kind in KINDS):
            continue
        remedy = f", or give --kind {' or '.join(kinds)}" if kinds else ""
        _refuse_given(options, usual, remedy)
    if kind == HUMAN:
        _refuse_given(options, {"model": None, "base_url": None})


def _refuse_given(options: dict[str, Any], usual: Mapping[str, Any], remedy: str = "") -> None:
    for name, value in usual.items():
        if options[name] != value:
            raise CommandError(
                f"--{name} has no meaning with --kind {options['kind']}: leave it out{remedy}"
            )


def server_address(text: str) -> str:
    """Return the address of a server. The error message omits it: it may hold a password."""
    if not is_server_address(text) or has_user(text):
        raise argparse.ArgumentTypeError(
            "expected http://HOST:PORT/v1 without a user; the key comes from the settings"
        )
    return text


def _address(options: dict[str, Any]) -> ServerAddress:
    address = scorer_server(options["base_url"] or "")
    if not address.servers[0].base_url:
        raise CommandError("no reward model: give --base_url, or set SCORER_BASE_URL in .env")
    return address


def _scorer_options(options: dict[str, Any], model: str) -> ScorerOptions:
    layout = options["layout"] or KINDS[options["kind"]].layout
    if layout == "turns" and options["kind"] != "logprobs":
        raise CommandError("--layout turns works only with --kind logprobs: give another layout")
    if options["good_index"] < 0:
        raise CommandError(f"--good_index {options['good_index']}: classes are counted from 0")
    tag = USUAL_TAGS[layout] if options["step_tag"] is None else options["step_tag"]
    return ScorerOptions(
        kind=options["kind"],
        package=KINDS.package(options["kind"]),
        model=model,
        layout=layout,
        step_tag=tag,
        good=options["good"],
        bad=options["bad"],
        good_index=options["good_index"],
        top_logprobs=options["top_logprobs"],
    )


def _start(forest: Forest, options: dict[str, Any], wanted: ScorerOptions) -> Scorer:
    if options["replace"]:
        delete_scores(forest, options["scorer"])
    parameters = asdict(wanted)
    if not wanted.package:  # scorers of earlier versions do not have it
        del parameters["package"]
    return start_scorer(forest, options["scorer"], parameters, PRM)
