from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from common.commands import ProjectCommand, positive_integer
from common.text import counted
from experiment_configs.loading import load_config
from forests.seeding import seed_forest
from rollouts.config_checks import check_strategy
from rollouts.strategies.packages import with_package


class Command(ProjectCommand):
    help = "Make a forest: one tree for each item of a dataset split, with the prompt as its root."
    examples = """
manage.py seed_forest --dataset_config_name gsm8k_baseline --dataset_split test \\
    --forest_name_suffix first --limit 20
manage.py seed_forest --dataset_config_name gsm8k_baseline --dataset_split test \\
    --forest_name_suffix large --model Qwen/Qwen3-32B --base_url http://gpu1:8000/v1
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dataset_config_name", required=True, help="name of a config")
        parser.add_argument("--dataset_split", required=True, help="such as train or test")
        parser.add_argument(
            "--forest_name_suffix",
            required=True,
            help="last part of the forest's name: <config>-<split>-<suffix>",
        )
        parser.add_argument(
            "--limit", type=positive_integer, help="only the first LIMIT items (default: all)"
        )
        parser.add_argument(
            "--model", help="model to request, instead of the one that the config names"
        )
        parser.add_argument(
            "--base_url",
            action="append",
            help="address of a server of the model, including /v1; may be repeated "
            "(default: the config's, then OPENAI_BASE_URL of the worker)",
        )
        parser.add_argument("--json", action="store_true", help="print the forest as JSON")

    def handle(self, **options: Any) -> None:
        loaded = load_config(options["dataset_config_name"], settings.CONFIG_PATH)
        config = loaded.config
        if options["model"]:
            config.rollout_worker_config = replace(
                config.rollout_worker_config, model=options["model"]
            )
        if options["base_url"]:
            config.rollout_worker_config = replace(
                config.rollout_worker_config, base_urls=tuple(options["base_url"])
            )
        check_strategy(config.rollout_worker_config)
        config.rollout_worker_config = with_package(config.rollout_worker_config)
        forest = seed_forest(
            loaded,
            options["dataset_split"],
            options["forest_name_suffix"],
            limit=options["limit"],
            report=lambda number: self.say(f"{counted(number, 'tree')} seeded"),
        )
        if options["json"]:
            self.show_json({"forest_name": forest.name, "num_trees": forest.num_trees})
        else:
            self.stdout.write(f"forest_name: {forest.name}")
            self.say(f"{counted(forest.num_trees, 'tree')}, shown at {forest.get_absolute_url()}")
