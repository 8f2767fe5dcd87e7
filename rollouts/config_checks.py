"""Prove that a config can be used, without a database or a model server."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
from experiment_configs.questions import looks_few_shot
from experiment_configs.step_delimiters import stored_delimiter
from forests.core.abilities import CONTINUES_MESSAGES, Abilities, Continuing
from forests.core.items import check_storable, check_whole_item, iterate_items, name_of_forest
from forests.core.tree import Grade, ReasoningTree
from forests.costs.estimates import GrowthEstimate
from forests.grading import ItemGrader, grade_leaf
from rollouts.steps.rules import StepRule
from rollouts.strategies import STRATEGIES
from rollouts.strategies.packages import require_strategy, with_package

ITEMS_SHOWN = 3


_MAX_SPELT_OUT = 10**9


_SOME_SUFFIX = "a"


_WRONG_ANSWER = "this answer is wrong"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    is_ok: bool
    detail: str
    is_warning: bool = False
    """Whether it passed, but a person should look at it."""

    def __str__(self) -> str:
        word = "FAIL" if not self.is_ok else "warn" if self.is_warning else "ok  "
        return f"{word} {self.name}: {self.detail}"


@dataclass(frozen=True, slots=True)
class ShownItem:
    """A dataset item in the form that a tree stores."""

    prompt: Prompt
    label: str
    serialized: str
    question: str = ""


@dataclass(slots=True)
class Verification:
    """All checks of one run, with every failure and not only the first."""

    checks: list[Check] = field(default_factory=list)
    items: list[ShownItem] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    """The first steps of the trial rollout, one line each."""
    estimate: GrowthEstimate | None = None
    """Estimated usage of a forest of this config; None if not asked for."""
    servers: list[dict[str, Any]] = field(default_factory=list)
    """The abilities of each server, with its address: see `forests.core.abilities`."""

    @property
    def failures(self) -> int:
        return sum(not check.is_ok for check in self.checks)

    def attempt(
        self,
        name: str,
        run: Callable[[], str],
        failures: tuple[type[Exception], ...] = (ConfigError,),
    ) -> bool:
        """Add a check and return whether it passed.

        `run` returns the detail of the check, or raises one of `failures` if the check fails.
        """
        try:
            detail, is_ok = run(), True
        except failures as error:
            detail, is_ok = str(error), False
        self.checks.append(Check(name, is_ok, detail))
        return is_ok

    def add_server(self, address: str, abilities: Abilities) -> None:
        """Add a check for each ability of a server."""
        self.servers.append({"server": address, **abilities.as_dict()})
        is_doubtful = abilities.continuing in (Continuing.UNCLEAR, Continuing.RESTARTED)
        for name, told in abilities.told():
            self.checks.append(
                Check(
                    name,
                    is_ok=True,
                    detail=f"{told} ({address})",
                    is_warning=is_doubtful and name == CONTINUES_MESSAGES,
                )
            )

    def warn(self, name: str, detail: str) -> None:
        """Add a check that passed with a warning."""
        self.checks.append(Check(name, is_ok=True, detail=detail, is_warning=True))


def verify(
    name: str, directories: list[Path], dataset_split: str
) -> tuple[Verification, LoadedConfig | None]:
    """Return all checks that need no server, and the config if it loads.

    Args:
        name: name of a config.
        directories: where to look for its file, before the built-in configs.
        dataset_split: split whose first items are checked.
    """
    verification = Verification()
    loaded: list[LoadedConfig] = []

    def load() -> str:
        loaded.append(load_config(name, directories))
        return f"{loaded[0].path}, SHA-256 {loaded[0].sha256[:12]}"

    if not verification.attempt("loads", load):
        return verification, None
    config = loaded[0].config
    for check_name, run in _worker_config_checks(config):
        verification.attempt(check_name, run)
    if not verification.failures and (warning := nodes_warning(config.rollout_worker_config)):
        verification.warn("max_nodes", warning)
    items: list[DatasetItem] = []

    def iterate() -> str:
        items.extend(itertools.islice(iterate_items(config, dataset_split), ITEMS_SHOWN))
        if not items:
            raise ConfigError(f"split {dataset_split!r} has no items")
        return f"split {dataset_split!r} gives items"

    verification.attempt("can be kept", lambda: _check_forest(loaded[0], dataset_split))
    if verification.attempt("iterates", iterate):
        _verify_items(verification, config, items)
    return verification, loaded[0]


def _check_forest(loaded: LoadedConfig, dataset_split: str) -> str:
    name = name_of_forest(loaded.name, dataset_split, _SOME_SUFFIX)
    check_storable(loaded)
    return f"forests are named {name.removesuffix(_SOME_SUFFIX)}…"


def _worker_config_checks(owner: RolloutConfig) -> Iterator[tuple[str, Callable[[], str]]]:
    config = owner.rollout_worker_config
    problems = config.problems()
    for problem in problems:
        yield "worker config", lambda problem=problem: _fail(problem)  # type: ignore[misc]
    if not problems:
        yield "worker config", lambda: f"{config.strategy} over the {config.api} API"
        yield "steps", lambda: _check_steps(config, owner)
    yield "strategy", lambda: check_strategy(config)


def _check_steps(config: RolloutWorkerConfig, owner: RolloutConfig) -> str:
    """Try the rule for steps on a text; return how it finds steps.

    Raises:
        ConfigError: a regular expression takes too long, or `split_steps` loses text.
    """
    rule = StepRule.of(config, owner)
    rule.try_out()
    if rule.splitter:
        return "split_steps of the config cuts them"
    kept = ", blocks stay whole" if rule.keep_blocks else ""
    how = (
        ""
        if rule.stops() or config.strategy == "sampled"
        else "; servers cannot stop there, so each step is drawn to max_tokens_per_step and cut"
    )
    return f"they end with {stored_delimiter(config.step_delimiter)!r}{kept}{how}"


def check_strategy(config: RolloutWorkerConfig) -> str:
    """Return the name of the config's strategy.

    Raises:
        ConfigError: the strategy is unknown, cannot be loaded or differs from the one that the
            config names, or `max_nodes` leaves no room for one of its rollouts.
    """
    if config.strategy not in STRATEGIES and not config.strategy_package:
        raise ConfigError(
            f"strategy {config.strategy!r} is not known: choose one of {', '.join(STRATEGIES)}, or "
            "install the package that has it"
        )
    require_strategy(config if config.strategy_package else with_package(config))
    if not config.problems() and _has_no_room(config):
        raise ConfigError(
            f"max_nodes is {config.max_nodes}, but one rollout may have max_depth "
            f"{config.max_depth} steps: no rollout would fit, so raise max_nodes"
        )
    return config.strategy


def _has_no_room(config: RolloutWorkerConfig) -> bool:
    strategy, tree = STRATEGIES[config.strategy](config, lambda *_: None), ReasoningTree()
    return strategy.hit_max_nodes(tree)


def nodes_warning(config: RolloutWorkerConfig) -> str:
    """Return why trees may stop before their strategy is done; empty if they cannot."""
    most = STRATEGIES[config.strategy].most_nodes(config)
    if most is None or most <= config.max_nodes:
        return ""
    return (
        f"{config.strategy} may need {rough(most)} nodes a tree with these settings, but "
        f"max_nodes is {config.max_nodes:,}: a tree that reaches it stops there, and says so"
    )


def rough(number: int) -> str:
    return f"{number:,}" if number < _MAX_SPELT_OUT else f"more than {_MAX_SPELT_OUT:,}"


def _verify_items(
    verification: Verification, config: RolloutConfig, items: list[DatasetItem]
) -> None:
    for number, item in enumerate(items):

        def read(item: Any = item) -> str:
            shown = ShownItem(*check_whole_item(config, item))
            verification.items.append(shown)
            return (
                f"prompt of {_length(shown.prompt)} characters, label {shown.label!r}, "
                f"question of {len(shown.question)} characters"
            )

        verification.attempt(f"item {number}", read)
    uses_default = type(config).get_question is RolloutConfig.get_question
    if uses_default and any(
        looks_few_shot(one.prompt, one.serialized) for one in verification.items
    ):
        verification.warn(
            "question",
            "the prompt seems to hold more than the question, and exports and scorers would use "
            "all of it as the question: add get_question to the config",
        )
    for number, shown in enumerate(verification.items):
        verification.attempt(f"label {number}", lambda label=shown.label: _grade(config, label))  # type: ignore[misc]


def _grade(config: RolloutConfig, label: str) -> str:
    """Check that the label is a correct answer and that a wrong text is not."""
    grade_leaf(config, label, f"The answer is {label}.")
    item = ItemGrader(config, label)
    for answer, expected in ((label, True), (_WRONG_ANSWER, False)):
        grade = item.grade_answer(answer)
        if grade is Grade.UNCOMPARED:
            raise ConfigError(
                f"is_correct cannot compare {answer!r} with {label!r}: the label is too hard to "
                "compare, or this machine is too busy"
            )
        if (grade is Grade.CORRECT) is not expected:
            raise ConfigError(f"is_correct says that {answer!r} is {grade} for label {label!r}")
    return f"{label!r} is correct, and {_WRONG_ANSWER!r} is not"


def _fail(problem: str) -> str:
    raise ConfigError(problem)


def _length(prompt: Prompt) -> int:
    if isinstance(prompt, str):
        return len(prompt)
    return sum(len(message["content"]) for message in prompt)
