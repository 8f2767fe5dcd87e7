import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, positive_integer
from experiment_configs.interfaces import ConfigError, RolloutConfig
from forests.core.abilities import Abilities
from forests.costs.budgets import Prices, Usage
from forests.costs.estimates import GrowthEstimate, estimate_growth
from forests.costs.money import money
from forests.forest_arguments import amount
from forests.progress.estimating import estimate_lines
from rollouts.client.failures import BackendError
from rollouts.client.servers_of_settings import policy_server
from rollouts.config_checks import ShownItem, Verification, verify
from rollouts.growing.needs_of_jobs import require_server_among
from rollouts.probing.memory import AskingMemory, Memory
from rollouts.sampling.completion_client import CompletionClient
from rollouts.sampling.in_flight import InFlight, find_in_flight
from rollouts.steps.rules import StepRule
from rollouts.trial_growth import TREES_OF_ESTIMATE, items_of_estimate, try_forest
from rollouts.verification import TriedGrowth, try_growth

FAILURES = (ConfigError, BackendError)


class Command(ProjectCommand):
    help = "Check a config without writing anything: one line for each check."
    needs_database = False
    examples = """
manage.py verify_config --config_name gsm8k_baseline --dataset_split test --with_backend
manage.py verify_config --config_name gsm8k_baseline --dataset_split test --with_backend \\
  --estimate 1319
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--config_name", required=True, help="name of a config")
        parser.add_argument("--dataset_split", required=True, help="such as train or test")
        parser.add_argument(
            "--with_backend",
            action="store_true",
            help="also probe the model server, grow a few samples, and show them",
        )
        parser.add_argument(
            "--estimate",
            type=positive_integer,
            metavar="N",
            help=f"also grow {TREES_OF_ESTIMATE} whole trees, and estimate what N items will need",
        )
        parser.add_argument(
            "--price_in",
            type=amount,
            help="price of a million prompt tokens (default: that of PRM_PRICES for the model)",
        )
        parser.add_argument(
            "--price_out",
            type=amount,
            help="price of a million completion tokens (default: that of PRM_PRICES for the model)",
        )
        parser.add_argument("--json", action="store_true", help="print checks and items as JSON")

    def handle(self, **options: Any) -> None:
        if options["estimate"] and not options["with_backend"]:
            raise CommandError("--estimate needs the model server: add --with_backend")
        verification, loaded = verify(
            options["config_name"], settings.CONFIG_PATH, options["dataset_split"]
        )
        if options["with_backend"] and loaded and verification.items:
            self._require_server(loaded.config)
            self._check_backend(verification, loaded.config)
            if options["estimate"] and not verification.failures:
                self._estimate(verification, loaded.config, options)
        if options["json"]:
            self.show_json(asdict(verification))
        else:
            self._show(verification)
        if verification.failures:
            raise CommandError(f"{verification.failures} checks failed")

    def _require_server(self, config: RolloutConfig) -> None:
        require_server_among(config.rollout_worker_config.base_urls)

    def _check_backend(self, verification: Verification, config: RolloutConfig) -> None:
        tried: list[TriedGrowth] = []
        notes: list[str] = []
        in_flight: list[InFlight] = []
        servers: list[tuple[str, Abilities]] = []

        async def ask() -> str:
            async with _client(config, AskingMemory() if settings.MONGODB_URI else None) as client:
                try:
                    in_flight.append(await find_in_flight(client))
                    tried.append(await try_growth(client, verification.items[0], config))
                finally:
                    notes.extend(client.notes)
                    servers.extend(client.abilities)
            return tried[0].detail

        verification.attempt("backend", lambda: asyncio.run(ask()), FAILURES)
        if tried:
            number = f"{in_flight[0].number} at once, {in_flight[0].reason}"
            verification.attempt("requests", lambda: number)
        for address, abilities in servers:
            verification.add_server(address, abilities)
        for note in notes:
            verification.warn("request", note)
        if tried:
            verification.steps = tried[0].shown_steps()
        for name, warning in tried[0].warnings if tried else ():
            verification.warn(name, warning)

    def _estimate(
        self, verification: Verification, config: RolloutConfig, options: Mapping[str, Any]
    ) -> None:
        async def ask() -> str:
            items = items_of_estimate(config, options["dataset_split"])
            async with _client(config) as client:
                num_requests = (await find_in_flight(client)).number
                trees = await try_forest(client, config, items, num_requests)
                known = settings.PRICES.get(await client.model(), Prices())
            prices = Prices(
                known.prompt if options["price_in"] is None else options["price_in"],
                known.completion if options["price_out"] is None else options["price_out"],
            )
            found = estimate_growth(trees, options["estimate"], prices, num_requests)
            verification.estimate = found
            return _told(found, sum((tree.usage for tree in trees), Usage()), prices)

        verification.attempt("estimate", lambda: asyncio.run(ask()), FAILURES)

    def _show(self, verification: Verification) -> None:
        for number, item in enumerate(verification.items):
            self._show_item(number, item)
        for check in verification.checks:
            self.show(str(check))
        for step in verification.steps:
            self.show(f"     step {step}")

    def _show_item(self, number: int, item: ShownItem) -> None:
        prompt = item.prompt
        if not isinstance(prompt, str):
            prompt = "\n".join(f"[{message['role']}] {message['content']}" for message in prompt)
        shown = {
            "prompt": prompt,
            "question": item.question,
            "label": item.label,
            "item": item.serialized,
        }
        for name, text in shown.items():
            self.show(f"--- item {number}: {name}\n{text}")
        self.stdout.write("")


def _client(config: RolloutConfig, memory: Memory | None = None) -> CompletionClient:
    worker_config = config.rollout_worker_config
    address = policy_server(worker_config.base_urls)
    rule = StepRule.of(worker_config, config)
    return CompletionClient(address, worker_config, rule, memory=memory)


def _told(found: GrowthEstimate, used: Usage, prices: Prices) -> str:
    """Return an estimate and the cost of estimating, in one line."""
    lines = ", ".join(f"{name.lower()} {words}" for name, words in estimate_lines(found).items())
    return (
        f"{found.num_items:,} items need {lines}; 95 % intervals (Student's t) from "
        f"{found.num_trees} trees; time for {found.concurrency} requests in flight. The trees "
        f"took {used.requests:,} requests, {used.prompt_tokens:,} prompt and "
        f"{used.completion_tokens:,} completion tokens, {money(prices.cost(used))}"
    )
