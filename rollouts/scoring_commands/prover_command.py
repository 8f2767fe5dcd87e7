"""The part of `score_nodes` that is about provers: `--kind prover`."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, get_args

from django.core.management.base import CommandError, CommandParser

from common.commands import EXIT_PARTLY_FAILED, ProjectCommand, positive_integer
from common.progress_bar import shown_progress
from experiment_configs.interfaces import Api, RolloutConfig, RolloutWorkerConfig
from forests.core.estimators import IMPORTED
from forests.core.opinions.verdicts import PROVER
from forests.core.values import UNGRADED
from forests.models import Forest
from forests.storage.scores import scored_indexes
from forests.storage.trees import StoredTree
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.growing.growing_process import load_frozen_config
from rollouts.probing.memory import DatabaseMemory
from rollouts.sampling.completion_client import CompletionClient
from rollouts.scoring.budget import ScorerBudget, complete_trees, estimate
from rollouts.scoring.proving import (
    Prover,
    ProverOptions,
    Proving,
    most_of_proving,
    prompt_for,
    prover_config,
)
from rollouts.scoring.score_forest import Scoring, score_trees
from rollouts.scoring_commands.limits import (
    budget_of,
    check_outcome,
    limit_in_words,
    prices_of,
    say_spent,
    show_counts,
    show_estimate,
    start_within,
)
from rollouts.steps.rules import StepRule

OF_PROVERS: Mapping[str, Any] = {
    "rollouts": ProverOptions.rollouts,
    "api": None,
    "ungraded": ProverOptions.ungraded,
}
"""Options that only a prover has, with their defaults."""


def add_prover_arguments(parser: CommandParser) -> None:
    """Add the options of `--kind prover`."""
    group = parser.add_argument_group("prover", "Only for --kind prover.")
    group.add_argument(
        "--rollouts",
        type=positive_integer,
        default=OF_PROVERS["rollouts"],
        help="rollouts from each prefix (default: %(default)s)",
    )
    group.add_argument(
        "--api",
        choices=get_args(Api),
        help="endpoint that continues a prefix; chat for a forest of completions sends the "
        "question without the policy's prompt (default: that of the forest)",
    )
    group.add_argument(
        "--ungraded",
        choices=UNGRADED,
        default=OF_PROVERS["ungraded"],
        help="how rollouts count that were cut or gave no answer: incorrect, or exclude, as no "
        "result (default: %(default)s)",
    )


def handle_prover(
    command: ProjectCommand, forest: Forest, address: ServerAddress, options: Mapping[str, Any]
) -> None:
    """Run `score_nodes --kind prover`.

    Raises:
        CommandError: an option is wrong, a limit is spent, or some trees were not scored.
        ConfigError: the forest does not take rollouts, or its config has changed.
    """
    if forest.strategy == IMPORTED:
        raise CommandError(
            f"the trees of {forest.name} come from another program, and no config of it grades "
            "rollouts: use a forest that seed_forest made"
        )
    config = load_frozen_config(forest).config
    wanted = _prover_options(forest, options)
    if options["estimate"]:
        _show_estimate(command, forest, wanted, options)
        return
    scoring, prover, budget = asyncio.run(_prove(forest, config, address, wanted, options))
    proving = prover.proving
    if options["json"]:
        show_counts(command, scoring, proving, budget, prover.scorer)
    else:
        _say(command, scoring, proving, wanted)
        say_spent(command, scoring, budget)
    check_outcome(scoring)
    if proving.rollouts and proving.without_result == proving.rollouts:
        raise CommandError(
            "no rollout has a result, so no step has a score: raise --max_tokens, or give another "
            "--model, with --replace",
            returncode=EXIT_PARTLY_FAILED,
        )


async def _prove(
    forest: Forest,
    config: RolloutConfig,
    address: ServerAddress,
    wanted: ProverOptions,
    options: Mapping[str, Any],
) -> tuple[Scoring, Prover, ScorerBudget]:
    settings = prover_config(forest, wanted)
    rule = StepRule.of(settings, config)
    async with CompletionClient(address, settings, rule, memory=DatabaseMemory()) as client:
        wanted = replace(wanted, model=await client.model())
        budget = budget_of(wanted.model, options)
        client.keep_to(budget)
        # Nothing is deleted before the servers have answered.
        spent = await _probe(client, forest, wanted) if options["replace"] else Spending()
        scorer = await asyncio.to_thread(
            start_within, budget, forest, options, asdict(wanted), PROVER
        )
        if not options["replace"]:
            spent = await _probe(client, forest, wanted)
        prover = Prover(forest, config, scorer, wanted, client, budget)
        try:
            with shown_progress("trees", total=forest.num_trees) as report:
                scoring = await score_trees(
                    forest, scorer, client, prover,
                    concurrency=options["concurrency"], report=report,
                )  # fmt: skip
        finally:
            prover.close()
    scoring.spending.add(spent)
    return scoring, prover, budget


async def _probe(client: CompletionClient, forest: Forest, wanted: ProverOptions) -> Spending:
    """Find out what the servers can do, as growth does, and return what that cost."""
    spent = Spending()
    first = await asyncio.to_thread(lambda: next(complete_trees(forest), None))
    prompt = None if first is None else prompt_for(first, forest, wanted.api)
    with limit_in_words():
        await client.find_abilities(spent, prompt)
    return spent


def _prover_options(forest: Forest, options: Mapping[str, Any]) -> ProverOptions:
    policy = RolloutWorkerConfig.from_dict(forest.worker_config)
    api, temperature = options["api"] or policy.api, options["temperature"]
    if api == "completions" and policy.api == "chat":
        raise CommandError(
            f"the prompts of {forest.name} are chats, which --api completions cannot send: leave "
            "it out",
            returncode=2,
        )
    wanted = ProverOptions(
        model=options["model"] or "",
        rollouts=options["rollouts"],
        api=api,
        temperature=policy.temperature if temperature is None else temperature,
        max_tokens=options["max_tokens"] or policy.max_tokens_per_rollout,
        ungraded=options["ungraded"],
        config_sha256=forest.config_sha256,
    )
    if wanted.rollouts > 1 and not wanted.temperature:
        raise CommandError(
            f"--rollouts {wanted.rollouts} at temperature 0 draw the same rollout "
            f"{wanted.rollouts} times: give --temperature above 0, or --rollouts 1",
            returncode=2,
        )
    return wanted


def _show_estimate(
    command: ProjectCommand, forest: Forest, wanted: ProverOptions, options: Mapping[str, Any]
) -> None:
    scored = set() if options["replace"] else scored_indexes(forest, options["scorer"])
    most_samples = RolloutWorkerConfig.from_dict(forest.worker_config).samples_per_request

    def work_of(stored: StoredTree) -> Any:
        prompt = prompt_for(stored, forest, wanted.api)
        return most_of_proving(stored, prompt, wanted, most_samples)

    work = estimate(forest, scored, work_of)
    prices = prices_of(wanted.model, options)
    show_estimate(command, work, "prefixes", prices, as_json=options["json"])


def _say(
    command: ProjectCommand, scoring: Scoring, proving: Proving, wanted: ProverOptions
) -> None:
    ended = "incorrect" if wanted.ungraded == "incorrect" else "no result"
    command.say(
        f"{proving.rollouts} rollouts from {proving.prefixes} prefixes of {scoring.trees} trees: "
        f"{scoring.nodes} scores; {proving.cut} rollouts were cut at {wanted.max_tokens} tokens "
        f"and count as {ended}; {proving.without_result} rollouts have no result; "
        f"{scoring.trees_scored_before} trees were scored before, {scoring.trees_not_complete} "
        "are not complete"
    )
