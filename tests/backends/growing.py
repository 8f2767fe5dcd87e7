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

PROJECT = Path(__file__).resolve().parents[2]
CONFIGS = {"completions": "demo_arithmetic", "chat": "demo_arithmetic_chat"}
NUM_BEAMS = 5
_SPLIT = "test"
_SECONDS_FOR_COMMAND = 1500


class CommandFailedError(Exception):
    """A command of the project failed; the message is its last line."""


@dataclass(frozen=True)
class GrownForest:
    """What growing a forest took, and what came out."""

    name: str
    """Its API, and its chat format where that is not the model's own."""
    trees: int
    complete: int
    failed: int
    nodes: int
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


def migrate(data_dir: Path) -> None:
    """Prepare the database.

    Raises:
        CommandFailedError: it cannot be.
    """
    _manage(data_dir, "migrate", "-v", "0")


def refusal(data_dir: Path, config: str) -> str:
    """Return why `verify_config` says that a backend cannot grow with a config; empty: it can."""
    try:
        _verify(data_dir, config)
    except CommandFailedError as error:
        return str(error)
    return ""


def grow(
    data_dir: Path, name: str, config: str, num_trees: int, num_processes: int, *, thinks: bool
) -> GrownForest:
    """Verify, seed, populate, search, and read what was grown.

    Raises:
        CommandFailedError: a command failed, a tree is not complete, or a step is not as it must
            be.
    """
    _verify(data_dir, config)
    forest = _manage(
        data_dir, "seed_forest", "--dataset_config_name", config, "--dataset_split", _SPLIT,
        "--forest_name_suffix", "backends", "--limit", str(num_trees), "--json",
    )["forest_name"]  # fmt: skip
    began = time.monotonic()
    grown = _manage(
        data_dir, "rollout_worker", "--forest_name", forest, "--num_processes", str(num_processes),
        "--json",
    )  # fmt: skip
    seconds = time.monotonic() - began
    if grown["num_complete"] < num_trees:
        raise CommandFailedError(f"{grown['num_complete']} of {num_trees} trees are complete")
    if problem := problem_of_steps(_exported_nodes(data_dir, forest), thinks=thinks):
        raise CommandFailedError(problem)
    found = _manage(
        data_dir, "beam_search", "--forest_name", forest, "--num_beam_values", str(NUM_BEAMS),
        "--json",
    )  # fmt: skip
    return GrownForest(
        name=name,
        trees=num_trees,
        complete=grown["num_complete"],
        failed=grown["num_failed"],
        nodes=grown["num_nodes"],
        rollouts=grown["num_leaves"],
        seconds=round(seconds, 1),
        requests=grown["requests"],
        retries=grown["retries"],
        failures=grown["failures"],
        prompt_tokens=grown["prompt_tokens"],
        completion_tokens=grown["completion_tokens"],
        rollouts_per_second=round(grown["num_leaves"] / seconds, 2),
        tokens_per_second=round(grown["completion_tokens"] / seconds, 1),
        beam_search={row["metric"]: row["value"] for row in found["rows"] if row["k"] == NUM_BEAMS},
    )


def problem_of_steps(nodes: Sequence[Mapping[str, Any]], *, thinks: bool) -> str:
    """Return what is wrong with the steps of a forest; empty where nothing is.

    `nodes`: rows of an exported forest. `thinks`: whether each solution must begin with a thought.
    """
    for node in nodes:
        where = f"step {node['path']} of tree {node['tree']}"
        if not (node["text"].strip() or node["terminal"]):  # a model may end where others go on
            return f"{where} is blank"
        if node["truncated"] and node["finish_reason"] != "length":
            return f"{where} is cut, and its reason is {node['finish_reason']!r}"
        if thinks and node["is_thought"] != (node["path"].count(".") == 1):
            return f"{where} is {'a thought' if node['is_thought'] else 'no thought'}"
        if not node["is_thought"] and "think>" in node["text"]:
            return f"{where} holds the mark of a thought"
    return ""


def _exported_nodes(data_dir: Path, forest: str) -> list[dict[str, Any]]:
    with TemporaryDirectory() as folder:
        directory = Path(folder) / "forest"
        _manage(
            data_dir, "export_forest", "--forest_name", forest, "--output", str(directory), "--json"
        )
        table = pq.read_table(directory / "nodes.parquet")  # type: ignore[no-untyped-call]
        rows: list[dict[str, Any]] = table.to_pylist()
        return rows


def _verify(data_dir: Path, config: str) -> None:
    done = _run(
        data_dir, "verify_config", "--config_name", config, "--dataset_split", _SPLIT,
        "--with_backend", "--json",
    )  # fmt: skip
    if done.returncode:
        checks = json.loads(done.stdout)["checks"] if done.stdout else []
        failed = [f"{check['name']}: {check['detail']}" for check in checks if not check["is_ok"]]
        raise CommandFailedError(failed[0] if failed else _last_line(done))


def _manage(data_dir: Path, *arguments: str) -> Any:
    """Run a command; return the JSON that it printed."""
    done = _run(data_dir, *arguments)
    if done.returncode:
        raise CommandFailedError(f"{arguments[0]}: {_last_line(done)}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def _run(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the services of a data directory, and nothing of the user's settings."""
    own = ("PRM_", "OPENAI_", "MONGODB_", "REDIS_")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(own)}
    environment |= {
        "PRM_ENV_FILE": "",
        "PRM_DATA_DIR": str(data_dir),
        "PRM_CONFIG_PATH": str(Path(__file__).with_name("configs")),
    }
    try:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=PROJECT, env=environment,
            capture_output=True, text=True, timeout=_SECONDS_FOR_COMMAND, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CommandFailedError(f"{arguments[0]} took {_SECONDS_FOR_COMMAND} s") from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines() or ["no reason given"]
    return lines[-1]
