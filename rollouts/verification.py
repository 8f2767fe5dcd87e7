"""Prove that a config can be used, before anything is written."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiment_configs.interfaces import (
    ConfigError,
    DatasetItem,
    Prompt,
    RolloutConfig,
    RolloutWorkerConfig,
)
from experiment_configs.loading import LoadedConfig, load_config
from forests.core.tree import Grade
from forests.grading import ItemGrader, grade_leaf
from forests.seeding import check_item, iterate_items
from rollouts.backend import Spending
from rollouts.client import CompletionClient, SampleRequest
from rollouts.core.steps import split_steps
from rollouts.core.strategies import STRATEGIES
from rollouts.failures import BackendError

ITEMS_SHOWN = 3
_WRONG_ANSWER = "this answer is wrong"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item as a tree would hold it."""

    prompt: Prompt
    label: str
    serialized: str


@dataclass(slots=True)
class Verification:
    """All checks of one run; every failure is there, not only the first."""

    checks: list[Check] = field(default_factory=list)
    items: list[ShownItem] = field(default_factory=list)

    @property
    def failures(self) -> int:
        return sum(not check.is_ok for check in self.checks)

    def attempt(self, name: str, run: Callable[[], str]) -> bool:
        """Add a check: what `run` returns is its detail, a `ConfigError` its failure."""
        try:
            detail, is_ok = run(), True
        except (ConfigError, BackendError) as error:
            detail, is_ok = str(error), False
        self.checks.append(Check(name, is_ok, detail))
        return is_ok


def verify(
    name: str, directories: list[Path], dataset_split: str
) -> tuple[Verification, LoadedConfig | None]:
    """Return all checks that need no server, and the config if it loads."""
    verification = Verification()
    loaded: list[LoadedConfig] = []

    def load() -> str:
        loaded.append(load_config(name, directories))
        return f"{loaded[0].path}, SHA-256 {loaded[0].sha256[:12]}"

    if not verification.attempt("loads", load):
        return verification, None
    config = loaded[0].config
    for check_name, run in _worker_config_checks(config.rollout_worker_config):
        verification.attempt(check_name, run)
    items: list[DatasetItem] = []

    def iterate() -> str:
        items.extend(itertools.islice(iterate_items(config, dataset_split), ITEMS_SHOWN))
        if not items:
            raise ConfigError(f"split {dataset_split!r} has no items")
        return f"split {dataset_split!r} gives items"

    if verification.attempt("iterates", iterate):
        _verify_items(verification, config, items)
    return verification, loaded[0]


async def sample_once(client: CompletionClient, item: ShownItem, label_of: RolloutConfig) -> str:
    """Return a line about one real rollout: its steps, answer, grade and tokens.

    Raises:
        BackendError: the server does not answer or refuses.
        ConfigError: a method of the config failed.
    """
    spending = Spending()
    request = SampleRequest(item.prompt, steps="", num_samples=1, to_end=True, seed=0)
    completion = (await client.sample(request, spending))[0]
    steps = split_steps(completion.text, client.config.step_delimiter)
    if steps and client.config.strategy != "sampled":  # all others continue what was written
        await client.sample(replace(request, steps=steps[0]), spending)
    answer, grade = grade_leaf(label_of, item.label, completion.text)
    return (
        f"{await client.model()} wrote {len(steps)} steps {steps!r}, answer {answer!r} is {grade}; "
        f"prompt {spending.prompt_tokens} tokens, completion {spending.completion_tokens}"
    )


def _worker_config_checks(
    config: RolloutWorkerConfig,
) -> Iterator[tuple[str, Callable[[], str]]]:
    problems = config.problems()
    for problem in problems:
        yield "worker config", lambda problem=problem: _fail(problem)  # type: ignore[misc]
    if not problems:
        yield "worker config", lambda: f"{config.strategy} over the {config.api} API"
    yield "strategy", lambda: check_strategy(config)


def check_strategy(config: RolloutWorkerConfig) -> str:
    """Return the name of the config's strategy.

    Raises:
        ConfigError: there is no such strategy.
    """
    if config.strategy not in tuple(STRATEGIES):
        raise ConfigError(
            f"strategy {config.strategy!r} is not known: choose one of {', '.join(STRATEGIES)}"
        )
    return config.strategy


def _verify_items(
    verification: Verification, config: RolloutConfig, items: list[DatasetItem]
) -> None:
    for number, item in enumerate(items):

        def read(item: Any = item) -> str:
            shown = ShownItem(*check_item(config, item))
            verification.items.append(shown)
            return f"prompt of {_length(shown.prompt)} characters, label {shown.label!r}"

        verification.attempt(f"item {number}", read)
    for number, shown in enumerate(verification.items):
        verification.attempt(f"label {number}", lambda label=shown.label: _grade(config, label))  # type: ignore[misc]


def _grade(config: RolloutConfig, label: str) -> str:
    """Check that the label is right as an answer and another text is not."""
    grade_leaf(config, label, f"The answer is {label}.")
    item = ItemGrader(config, label)
    for answer, expected in ((label, True), (_WRONG_ANSWER, False)):
        grade = item.grade_answer(answer)
        if grade is Grade.UNCOMPARED:
            raise ConfigError(
                f"is_correct cannot compare {answer!r} with {label!r}: the label is too hard to "
                "compare, or this machine too busy"
            )
        if (grade is Grade.CORRECT) is not expected:
            raise ConfigError(f"is_correct says that {answer!r} is {grade} for {label!r}")
    return f"{label!r} is correct for itself, and {_WRONG_ANSWER!r} is not"


def _fail(problem: str) -> str:
    raise ConfigError(problem)


def _length(prompt: Prompt) -> int:
    if isinstance(prompt, str):
        return len(prompt)
    return sum(len(message["content"]) for message in prompt)
