"""Check that a config works, before anything is written."""

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
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
from experiment_configs.stopping import steps_to_answer
from forests.core.abilities import CONTINUES_MESSAGES, Abilities, Continuing
from forests.core.tree import ROOT, Grade, ReasoningTree, TreeNode
from forests.costs.estimates import GrowthEstimate
from forests.grading import ItemGrader, TreeGrader, grade_leaf
from forests.seeding import check_storable, check_whole_item, iterate_items, name_of_forest
from rollouts.client.failures import BackendError
from rollouts.client.spending import Spending
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.steps.completions import Completion, Ending
from rollouts.steps.rules import StepRule
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Expansion, GrowthStrategy

ITEMS_SHOWN = 3
STEPS_SHOWN = 5
_CHARACTERS_OF_STEP = 100
_CHARACTERS_OF_END = 80
_MAX_SPELT_OUT = 10**9
_ROOM = 2
"""Suggested limits are this many times the observed size: solutions differ."""
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


@dataclass(frozen=True, slots=True)
class ShownItem:
    """A dataset item in the form that a tree stores."""

    prompt: Prompt
    label: str
    serialized: str
    question: str = ""


@dataclass(frozen=True, slots=True)
class TriedGrowth:
    """The first samples of a tree, summarised."""

    detail: str
    warnings: list[tuple[str, str]]
    """Pairs of a setting and what would go wrong with trees because of it."""
    steps: tuple[str, ...]
    """The steps of the first solution."""

    def shown_steps(self) -> list[str]:
        """Return one shortened line for each of the first steps."""
        shown = [
            f"{number} of {len(self.steps)}: {_shortened(step)}"
            for number, step in enumerate(self.steps[:STEPS_SHOWN], start=1)
        ]
        rest = len(self.steps) - len(shown)
        return [*shown, f"… and {rest} more"] if rest else shown


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

    def attempt(self, name: str, run: Callable[[], str]) -> bool:
        """Run a check and add its result; return whether it passed.

        The detail is the value of `run`, or its `ConfigError` or `BackendError` if it fails.
        """
        try:
            detail, is_ok = run(), True
        except (ConfigError, BackendError) as error:
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
    """Run all checks that do not need a server; return them, and the config if it loads."""
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


async def try_growth(
    client: CompletionClient, item: ShownItem, config: RolloutConfig
) -> TriedGrowth:
    """Draw an item's first samples, whole and step by step, and return what growth makes of them.

    Raises:
        BackendError: the server does not answer, or refuses requests.
        ConfigError: a method of the config failed.
    """
    trial = _Trial(client, item, config)
    await client.find_abilities(trial.spending, item.prompt)
    planned = trial.strategy.plan(trial.tree)[0]
    # A strategy that grows step by step draws no whole solution; draw one to see how it ends.
    whole = planned if planned.to_end else replace(planned, to_end=True, num_samples=1)
    completions = await trial.sample(whole)
    lengths = trial.whole_lengths(whole, completions)
    changes = trial.strategy.apply(trial.tree, whole, completions)
    grader = TreeGrader(config, item.label, trial.tree)
    await asyncio.to_thread(grader.grade_new, changes.added.values())
    steps = [] if planned.to_end else await trial.sample(planned)
    # All strategies except `sampled` also continue a prefix.
    second = [] if client.config.strategy == "sampled" else trial.second_steps(planned)
    for expansion in second:
        steps += await trial.sample(expansion)
    leaves = [leaf for leaf in trial.tree.leaves() if leaf.is_finished]
    return TriedGrowth(
        f"{await client.model()} wrote {trial.described(leaves)}; "
        f"prompt {trial.spending.prompt_tokens} tokens, "
        f"completion {trial.spending.completion_tokens}",
        [*trial.warnings(completions, lengths, leaves, [] if planned.to_end else steps)],
        trial.steps_of(leaves),
    )


class _Trial:
    """A tree that grows in memory, only to be shown."""

    def __init__(self, client: CompletionClient, item: ShownItem, config: RolloutConfig) -> None:
        self.client = client
        self.item = item
        self.config = config
        self.worker_config = client.config
        self.tree = ReasoningTree()
        self.spending = Spending()
        self.strategy = self._strategy(client.config)

    def _strategy(self, worker_config: RolloutWorkerConfig) -> GrowthStrategy:
        find_answer = partial(steps_to_answer, self.config)
        rule = StepRule.of(worker_config, self.config)
        return STRATEGIES[worker_config.strategy](worker_config, find_answer, rule)

    async def sample(self, expansion: Expansion) -> list[Completion]:
        request = SampleRequest.of(self.item.prompt, self.tree, expansion)
        return await self.client.sample(request, self.spending)

    def whole_lengths(self, expansion: Expansion, completions: list[Completion]) -> list[int]:
        """Return the number of steps up to the answer of each solution, without `max_depth`."""
        deep = replace(self.worker_config, max_depth=sys.maxsize)
        samples = self._strategy(deep).read_samples(self.tree, expansion, completions)
        return [len(sample) for sample in samples]

    def second_steps(self, planned: Expansion) -> list[Expansion]:
        """Return the expansion of the first unfinished step, if there is one."""
        first = (node for node in self.tree.children(ROOT) if not node.is_finished)
        return [replace(planned, node=node.path) for node in islice(first, 1)]

    def steps_of(self, leaves: list[TreeNode]) -> tuple[str, ...]:
        """Return the steps of the first solution."""
        leaf = min(leaves, key=lambda leaf: leaf.path)
        return tuple(node.text for node in self.tree.path_nodes(leaf.path))

    def described(self, leaves: list[TreeNode]) -> str:
        leaf = min(leaves, key=lambda leaf: leaf.path)
        grades: Counter[str] = Counter()
        for one in leaves:
            grades[str(one.grade)] += one.count
        others = ", ".join(f"{number} {grade}" for grade, number in sorted(grades.items()))
        all_samples = f"; of {grades.total()} samples {others}" if grades.total() > 1 else ""
        return f"{leaf.depth} steps, answer {leaf.answer!r} is {leaf.grade}{all_samples}"

    def warnings(
        self,
        completions: list[Completion],
        lengths: list[int],
        leaves: list[TreeNode],
        steps: list[Completion],
    ) -> Iterator[tuple[str, str]]:
        """Yield pairs of a setting and what would go wrong with all trees because of it."""
        worker_config, longest = self.worker_config, max(lengths, default=0)
        if longest > worker_config.max_depth:
            cut = sum(length > worker_config.max_depth for length in lengths)
            yield (
                "max_depth",
                f"{cut} of {len(lengths)} solutions would be cut: max_depth is "
                f"{worker_config.max_depth}, and the longest has {longest} steps; set max_depth "
                f"to about {_ROOM * longest}",
            )
        elif all(leaf.answer is None for leaf in leaves):
            yield "answer", _no_answer(completions[0], self.config)
        elif cut := _num_cut(completions):
            yield (
                "max_tokens_per_rollout",
                f"{cut} of {len(completions)} solutions were cut: max_tokens_per_rollout is "
                f"{worker_config.max_tokens_per_rollout}; set it to about "
                f"{_ROOM * worker_config.max_tokens_per_rollout}",
            )
        if cut := _num_cut(steps):
            yield (
                "max_tokens_per_step",
                f"{cut} of {len(steps)} steps were cut: max_tokens_per_step is "
                f"{worker_config.max_tokens_per_step}; set it to about "
                f"{_ROOM * worker_config.max_tokens_per_step}",
            )
        most = STRATEGIES[worker_config.strategy].most_nodes(
            replace(worker_config, max_depth=_ROOM * longest)
        )
        if most and most > worker_config.max_nodes and longest > worker_config.max_depth:
            yield (
                "max_nodes",
                f"trees that deep may need {_rough(most)} nodes, but max_nodes is "
                f"{worker_config.max_nodes:,}: raise it to that number",
            )


def _num_cut(completions: list[Completion]) -> int:
    return sum(one.ending is Ending.LIMIT for one in completions)


def _shortened(step: str) -> str:
    """Return the `repr` of a step, without its middle if it is long."""
    half = _CHARACTERS_OF_STEP // 2
    if len(step) <= _CHARACTERS_OF_STEP:
        return repr(step)
    return f"{step[:half]!r} … {step[-half:]!r}"


def _no_answer(completion: Completion, config: RolloutConfig) -> str:
    """Return why a rollout may have no answer, and what to do about it."""
    end = completion.text.strip()[-_CHARACTERS_OF_END:]
    if completion.ending is Ending.LIMIT:
        limit = config.rollout_worker_config.max_tokens_per_rollout
        return (
            f"the rollout has no answer and was cut, at {end!r}: raise max_tokens_per_rollout, "
            f"now {limit}"
        )
    if type(config).extract_answer is not RolloutConfig.extract_answer:
        return f"extract_answer of the config finds no answer in the rollout, which ends {end!r}"
    return (
        f"there is no answer in the rollout, which ends {end!r}: let the prompt ask for "
        r"`#### x`, `\boxed{x}` or `The answer is x`, or write extract_answer (see docs/answers.md)"
    )


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
        ConfigError: the strategy is unknown, or not even one rollout fits into `max_nodes`.
    """
    if config.strategy not in tuple(STRATEGIES):
        raise ConfigError(
            f"strategy {config.strategy!r} is not known: choose one of {', '.join(STRATEGIES)}"
        )
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
        f"{config.strategy} may need {_rough(most)} nodes a tree with these settings, but "
        f"max_nodes is {config.max_nodes:,}: a tree that reaches it stops there, and says so"
    )


def _rough(number: int) -> str:
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
