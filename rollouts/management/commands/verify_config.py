import asyncio
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from experiment_configs.interfaces import RolloutConfig
from forests.commands import ProjectCommand
from forests.core.abilities import Abilities
from rollouts.abilities import AskingMemory
from rollouts.client import CompletionClient
from rollouts.commands import require_backend
from rollouts.core.steps import StepRule
from rollouts.servers import policy_server
from rollouts.verification import ShownItem, TriedGrowth, Verification, try_growth, verify


class Command(ProjectCommand):
    help = "Check a config before anything is written: one line for each check."
    needs_database = False
    examples = """
manage.py verify_config --config_name gsm8k_baseline --dataset_split test --with_backend
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--config_name", required=True, help="name of a config")
        parser.add_argument("--dataset_split", required=True, help="such as train or test")
        parser.add_argument(
            "--with_backend",
            action="store_true",
            help="also ask what the model server does, grow a few samples, and show them",
        )
        parser.add_argument("--json", action="store_true", help="print checks and items as JSON")

    def handle(self, **options: Any) -> None:
        if options["with_backend"]:
            require_backend()
        verification, loaded = verify(
            options["config_name"], settings.CONFIG_PATH, options["dataset_split"]
        )
        if options["with_backend"] and loaded and verification.items:
            self._check_backend(verification, loaded.config)
        if options["json"]:
            self.show_json(asdict(verification))
        else:
            self._show(verification)
        if verification.failures:
            raise CommandError(f"{verification.failures} checks failed")

    def _check_backend(self, verification: Verification, config: RolloutConfig) -> None:
        tried: list[TriedGrowth] = []
        notes: list[str] = []
        servers: list[tuple[str, Abilities]] = []

        async def ask() -> str:
            worker_config = config.rollout_worker_config
            client = CompletionClient(
                policy_server(worker_config.base_urls),
                worker_config,
                StepRule.of(worker_config, config),
                AskingMemory() if settings.MONGODB_URI else None,
            )
            async with client:
                try:
                    tried.append(await try_growth(client, verification.items[0], config))
                finally:
                    notes.extend(client.notes)
                    servers.extend(client.abilities)
            return tried[0].detail

        verification.attempt("backend", lambda: asyncio.run(ask()))
        for address, abilities in servers:
            verification.add_server(address, abilities)
        for note in notes:
            verification.warn("request", note)
        if tried:
            verification.steps = tried[0].shown_steps()
        for name, warning in tried[0].warnings if tried else ():
            verification.warn(name, warning)

    def _show(self, verification: Verification) -> None:
        for number, item in enumerate(verification.items):
            self._show_item(number, item)
        for check in verification.checks:
            word = "FAIL" if not check.is_ok else "warn" if check.is_warning else "ok  "
            self.show(f"{word} {check.name}: {check.detail}")
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
