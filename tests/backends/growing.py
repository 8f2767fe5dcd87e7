"""Grow a small forest against a backend with the project's own commands, and measure it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq

from tests.backends.comparing import problem_of_paths
from tests.backends.recording import Recorder
from tests.backends.servers import Growth

PROJECT = Path(__file__).resolve().parents[2]
NUM_BEAMS = 5
_SPLIT = "test"
_SECONDS_FOR_COMMAND = 1200


class CommandFailedError(Exception):
    """A command of the project failed; the message is its last line."""


@dataclass(frozen=True)
class GrownForest:
    """The cost and the result of growing a forest."""

    name: str
    """The name of the `Growth`."""
    trees: int
    complete: int
    failed: int
    nodes: int
    thoughts: int
    rollouts: int
    seconds: float
    requests: int
    retries: int
    failures: dict[str, int]
    prompt_tokens: int
    completion_tokens: int
    rollouts_per_second: float
    tokens_per_second: float
    beam_search: dict[str, float | None]
    """Shares of trees by metric, of a search with five beams; None: no tree gives a result."""


class Project:
    """The project's commands on one data directory; a recorder passes their requests on."""

    def __init__(self, data_dir: Path, recorder: Recorder) -> None:
        self._data_dir = data_dir
        self._recorder = recorder

    def migrate(self) -> None:
        """Prepare the database.

        Raises:
            CommandFailedError: the command failed.
        """
        self._manage("migrate", "-v", "0")

    def refusal(self, config: str) -> str:
        """Return why `verify_config` says that a backend cannot grow with a config; empty: it can.

        Raises:
            CommandFailedError: it takes too long.
        """
        done = self._run(
            "verify_config", "--config_name", config, "--dataset_split", _SPLIT,
            "--with_backend", "--json",
        )  # fmt: skip
        if not done.returncode:
            return ""
        checks = json.loads(done.stdout)["checks"] if done.stdout else []
        failed = [f"{check['name']}: {check['detail']}" for check in checks if not check["is_ok"]]
        return failed[0] if failed else _last_line(done)

    def grow(self, growth: Growth, num_trees: int, num_processes: int) -> GrownForest:
        """Verify, seed, populate, search, and compare what was grown with what the server wrote.

        Raises:
            CommandFailedError: a command failed, a tree is not complete, or a step is not as it
                must be.
        """
        if why := self.refusal(growth.config):
            raise CommandFailedError(f"verify_config: {why}")
        forest = self._manage(
            "seed_forest", "--dataset_config_name", growth.config, "--dataset_split", _SPLIT,
            "--forest_name_suffix", "backends", "--limit", str(num_trees), "--json",
        )["forest_name"]  # fmt: skip
        self._recorder.exchanges.clear()
        began = time.monotonic()
        grown = self._manage(
            "rollout_worker", "--forest_name", forest, "--num_processes", str(num_processes),
            "--json",
        )  # fmt: skip
        seconds = time.monotonic() - began
        if grown["num_complete"] < num_trees:
            raise CommandFailedError(
                f"{grown['num_complete']} of {num_trees} trees are complete: {grown['failures']}"
            )
        num_thoughts = self._compare(forest, growth)
        found = self._manage(
            "beam_search", "--forest_name", forest, "--num_beam_values", str(NUM_BEAMS), "--json"
        )
        return GrownForest(
            name=growth.name,
            trees=num_trees,
            complete=grown["num_complete"],
            failed=grown["num_failed"],
            nodes=grown["num_nodes"],
            thoughts=num_thoughts,
            rollouts=grown["num_leaves"],
            seconds=round(seconds, 1),
            requests=grown["requests"],
            retries=grown["retries"],
            failures=grown["failures"],
            prompt_tokens=grown["prompt_tokens"],
            completion_tokens=grown["completion_tokens"],
            rollouts_per_second=round(grown["num_leaves"] / seconds, 2),
            tokens_per_second=round(grown["completion_tokens"] / seconds, 1),
            beam_search={
                row["metric"]: row["value"] for row in found["rows"] if row["k"] == NUM_BEAMS
            },
        )

    def _compare(self, forest: str, growth: Growth) -> int:
        """Compare a forest with what the server wrote; return its number of thoughts.

        Raises:
            CommandFailedError: they differ, or the export failed.
        """
        with TemporaryDirectory() as folder:
            directory = Path(folder) / "forest"
            self._manage(
                "export_forest", "--forest_name", forest, "--output", str(directory), "--json"
            )
            nodes = _rows(directory / "nodes.parquet")
            prompts = {
                row["index"]: json.loads(row["prompt"])
                for row in _rows(directory / "trees.parquet")
            }
            manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
        stops = json.loads(manifest["forest"]["worker_config"])["stop"]
        problem = problem_of_steps(nodes, thinks=growth.thinks) or problem_of_paths(
            prompts, nodes, self._recorder.exchanges, stops
        )
        if problem:
            raise CommandFailedError(problem)
        return sum(node["is_thought"] for node in nodes)

    def _manage(self, *arguments: str) -> Any:
        """Run a command; return the JSON that it printed."""
        done = self._run(*arguments)
        if done.returncode:
            raise CommandFailedError(f"{arguments[0]}: {_last_line(done)}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command on these services, without the user's own settings."""
        own = ("PRM_", "OPENAI_", "MONGODB_", "REDIS_")
        environment = {name: text for name, text in os.environ.items() if not name.startswith(own)}
        environment |= {
            "PRM_ENV_FILE": "",
            "PRM_DATA_DIR": str(self._data_dir),
            "PRM_CONFIG_PATH": str(Path(__file__).with_name("configs")),
            "OPENAI_BASE_URL": self._recorder.url,
        }
        try:
            return subprocess.run(
                [sys.executable, "manage.py", *arguments], cwd=PROJECT, env=environment,
                capture_output=True, text=True, timeout=_SECONDS_FOR_COMMAND, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise CommandFailedError(
                f"{arguments[0]} did not end in {_SECONDS_FOR_COMMAND} s: {self._recorder.state()}"
            ) from error


def problem_of_steps(nodes: Sequence[Mapping[str, Any]], *, thinks: bool) -> str:
    """Return what is wrong with the steps of a forest; empty if nothing is wrong.

    `nodes`: rows of an exported forest. `thinks`: whether each solution must begin with a thought.
    """
    for node in nodes:
        where = f"step {node['path']} of tree {node['tree']}"
        if not (node["text"].strip() or node["terminal"]):  # other samples may continue
            return f"{where} is blank"
        if node["truncated"] and node["finish_reason"] != "length":
            return f"{where} is cut, and its reason is {node['finish_reason']!r}"
        if thinks and node["is_thought"] != (node["path"].count(".") == 1):
            return f"{where} is {'a thought' if node['is_thought'] else 'no thought'}"
        if not node["is_thought"] and "think>" in node["text"]:
            return f"{where} holds the mark of a thought"
    return ""


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines() or ["no reason given"]
    return lines[-1]
