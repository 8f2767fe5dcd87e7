"""What a researcher writes: one module with a class `Config(RolloutConfig)`.

Nothing here needs Django, so you can try a config in a notebook.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from typing import Any, Literal, TypeAlias

from common.errors import UserError
from experiment_configs.answers import (
    extract_last_answer,
    has_final_answer,
    is_same_answer,
    is_thinking,
)
from experiment_configs.questions import question_of_prompt
from experiment_configs.step_delimiters import StepDelimiter, read_delimiter, stored_delimiter

ChatMessage: TypeAlias = Mapping[str, str]
Prompt: TypeAlias = str | list[ChatMessage]
DatasetItem: TypeAlias = Any
SAMPLE_FREE_SETTINGS = (
    "base_urls",
    "concurrency",
    "max_attempts",
    "request_timeout_seconds",
)
"""Settings of a `RolloutWorkerConfig` that may change while a forest grows.

They do not change samples. All other settings decide which samples are drawn, or how many.
"""

SETTINGS_THAT_ADD: Mapping[str, tuple[str, ...]] = {
    "branching": ("branching", "max_nodes"),
    "math_shepherd": ("num_rollouts", "rollouts_per_state", "max_nodes"),
    "omega_prm": ("num_searches", "rollouts_per_state", "max_nodes"),
    "sampled": ("num_rollouts", "max_nodes"),
}
"""For each strategy, the settings that only say how many samples are drawn.

Larger values add samples of the same kind, so `extend_forest` may raise them for grown trees.
"""

LIMITS_OF_SOLUTIONS = ("max_depth", "max_tokens_per_rollout", "max_tokens_per_step")
"""Settings that decide where a solution is cut.

The forest keeps solutions that were cut, and they are never correct. A larger limit would mix
samples of two kinds.
"""

Api: TypeAlias = Literal["chat", "completions"]
Reasoning: TypeAlias = Literal["grow", "fold", "drop"]

DEFAULT_CONCURRENCY = 16
"""Requests in flight if neither the config nor the server gives a number."""
CHAT_ROLES = ("system", "user", "assistant")


class ConfigError(UserError):
    """A config, or an item it yields, is unusable. The message is one line with the remedy."""


@dataclass(frozen=True, kw_only=True)
class RolloutWorkerConfig:
    """How the trees of a forest grow. Frozen into the forest when it is seeded."""

    model: str | None = None
    """Model name sent to the server. None: the first model that the server lists."""
    api: Api = "completions"
    """Which OpenAI endpoint continues a prefix."""
    strategy: str = "branching"
    """Name of a growth strategy: see `rollouts.strategies`."""
    strategy_package: str = ""
    """Package and version that the strategy comes from, such as "prm-two-by-two 1.0"; empty for one
    of ours. `seed_forest` notes what is installed, and growth uses that alone. A config that
    names it itself refuses any other."""

    step_delimiter: StepDelimiter = "\n"
    r"""What ends a step: a text, several texts, or a regular expression (`re.compile(r"\n\n+")`).

    It stays at the end of the step. A `split_steps` method of the config takes precedence.
    docs/steps.md tells what each costs.
    """
    keep_blocks: bool = False
    """Whether code, tables and displayed formulas stay whole: no step ends inside one."""
    stop: tuple[str, ...] = ()
    """Texts that end the whole solution, such as the next question of a few-shot prompt."""
    stop_at_answer: bool | None = None
    r"""Whether a solution ends with the step that gives its answer.

    With the default `extract_answer`, only a marked answer counts: `\boxed{x}`, `#### x` or
    `<answer>x</answer>`, outside thoughts. None means True with the default `extract_answer`. Your
    own `extract_answer` may find an answer in any text, so it needs True here. It is then called
    after each step, or in a longer solution after each of 64 stretches.
    """

    reasoning: Reasoning = "fold"
    """How thoughts are stored. "grow": each step is a node. "fold": a whole thought is one node.

    "drop": thoughts are not stored, but their tokens are counted. Answers are only looked for
    outside thoughts.
    """

    temperature: float = 0.8
    top_p: float = 1.0
    seed: int = 0
    """Base of every request's seed: a server that honours seeds repeats the forest."""
    logprobs: bool = True
    """Whether to request log-probabilities; with some servers they also tell how a sample ended."""
    keep_tokens: bool = False
    """Whether to store the token ids and log-probabilities of each step, about 9 bytes a token.

    Exports for tree RL need them. Growth stops at once with a server that does not tell all:
    docs/tokens.md.
    """
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the request body, for options that only one kind of server has.

    They override the other fields. None removes a field: `{"seed": None}`.
    """
    max_tokens_field: str = "max_tokens"
    """Field for the token limit of a sample; OpenAI's newer models use `max_completion_tokens`.

    If a server asks for another name, requests use that name from then on.
    """

    num_rollouts: int = 8
    """`sampled`: complete rollouts from the root; `math_shepherd`: solutions to annotate (N)."""
    rollouts_per_state: int = 8
    """`math_shepherd`, `omega_prm`: rollouts drawn from each annotated prefix (K, k)."""
    branching: tuple[int, ...] = (4, 2, 1)
    """`branching`: samples from a node at depth 0, 1, …; the last number applies below, too."""
    num_searches: int = 20
    """`omega_prm`: most binary searches in a tree. The paper (2406.06592) allows 100."""
    omega_alpha: float = 0.5
    """`omega_prm`: alpha of Q; a smaller one prefers states whose success is nearly certain."""
    omega_beta: float = 0.9
    """`omega_prm`: beta of Q; a smaller one penalises long rollouts more."""
    omega_length: int = 500
    """`omega_prm`: L of Q, the unit of the length penalty in tokens."""
    omega_c_puct: float = 0.125
    """`omega_prm`: weight of exploration in U."""
    refinement: Mapping[str, Any] | None = None
    """What `refine_forest` adds to complete trees; None: nothing. A config does not set it."""
    samples_per_request: int = 64
    """Most samples (`n`) that the server gives per request."""

    max_depth: int = 12
    """Most steps on a path; a longer solution is truncated."""
    max_nodes: int = 10_000
    """Most nodes below the root of a tree, for any strategy; enough for the defaults of each.

    Rollouts are requested only if they fit at any length, so this limit cuts none. A tree that
    lacks samples for this reason says so, and steps that growth did not reach have no result.
    """
    max_tokens_per_step: int = 128
    """Most tokens of one step, for strategies that grow step by step."""
    max_tokens_per_rollout: int = 512
    """Most tokens of one complete rollout."""

    concurrency: int | None = None
    """Requests in flight, for all processes of one `rollout_worker` or for each queue worker.

    None: the number of slots that the server reports (llama.cpp), otherwise 16.
    """
    request_timeout_seconds: float = 120.0
    max_attempts: int = 6
    """Attempts of one request before its tree fails."""
    base_urls: tuple[str, ...] = ()
    """Addresses of the servers with the model, with `/v1`.

    Empty: OPENAI_BASE_URL or OPENAI_BASE_URLS of the worker. The key always comes from the worker's
    settings.
    """

    def branching_at(self, depth: int) -> int:
        """Return how many samples a node at `depth` gets; the last number applies below, too."""
        return self.branching[min(depth, len(self.branching) - 1)]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, the form that a forest stores."""
        stored = asdict(self) | {"step_delimiter": stored_delimiter(self.step_delimiter)}
        values: dict[str, Any] = json.loads(json.dumps(stored))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RolloutWorkerConfig":
        """Return the config that `as_dict` wrote.

        Raises:
            ConfigError: a field is unknown because another version wrote the forest, or
                `step_delimiter` cannot be read.
        """
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"unknown worker setting {', '.join(unknown)}: upgrade this site")
        tuples: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        delimiter = tuples.get("step_delimiter")
        if isinstance(delimiter, Mapping):
            try:
                tuples["step_delimiter"] = read_delimiter(delimiter)
            except ValueError as error:
                raise ConfigError(f"step_delimiter is {delimiter!r}: {error}") from error
        return cls(**tuples)

    def problems(self) -> list[str]:
        """Return one line for each invalid setting; empty if all are valid."""
        rules = import_module("experiment_configs.worker_settings")
        problems: list[str] = rules.problems_of(vars(self))
        return problems


class Grader:
    """Finds the answer in a solution and compares it with the label."""

    def extract_answer(self, completion: str) -> str | None:
        r"""Return the answer that a solution gives, or None if it gives none.

        Default: the answer with the strongest evidence, such as `\boxed{x}`, `#### x` or "The
        answer is x". docs/answers.md lists all forms.
        """
        return extract_last_answer(completion)

    def is_correct(self, answer: str, label: str) -> bool:
        """Return whether an answer means the same as the label.

        It is also called with two answers of one tree, to count votes. Default: `is_same_answer`,
        described in docs/answers.md.

        Raises:
            NotComparedError: it cannot tell. The leaf gets the grade `uncompared`.
        """
        return is_same_answer(answer, label)


class RolloutConfig(Grader, ABC):
    """Which dataset, prompt and label to use, and how to grow the trees.

    A subclass named `Config` in `experiment_configs/rollout/<name>.py`, or in a directory listed in
    `PRM_CONFIG_PATH`, is loaded by its file name.

    It may define `split_steps(self, text: str) -> list[str]`, which cuts a model's text into steps
    instead of `step_delimiter`. Joined, the steps must be the text.
    """

    rollout_worker_config: RolloutWorkerConfig = RolloutWorkerConfig()

    source: str = ""
    """Source of the dataset, for the dataset card (such as `openai/gsm8k`)."""
    licence: str = ""
    """Licence of the dataset, for the dataset card (such as `mit`)."""

    @abstractmethod
    def get_dataset_iterator(self, dataset_split: str) -> Iterator[DatasetItem]:
        """Yield the items of a split, lazily and in the same order each time.

        Raises:
            ConfigError: the split does not exist, or its data cannot be read.
        """

    @abstractmethod
    def get_root_prompt(self, item: DatasetItem) -> Prompt:
        """Return what the model is asked: a text, or a list of chat messages."""

    def get_question(self, item: DatasetItem) -> str:
        """Return what the item asks, without the instructions and examples of the prompt.

        It becomes the question in datasets for reward models and in requests to served reward
        models. Default: the last user message, or the whole prompt if it is a text. A config whose
        prompt has examples must define its own.
        """
        return question_of_prompt(self.get_root_prompt(item))

    @abstractmethod
    def get_label(self, item: DatasetItem) -> str:
        """Return the correct answer."""

    def serialize_dataset_item(self, item: DatasetItem) -> str:
        """Return the item as Markdown for the pages; default: its JSON."""
        text = json.dumps(item, indent=2, ensure_ascii=False, default=str)
        return f"```json\n{text}\n```"

    @property
    def stops_at_answer(self) -> bool:
        """Return `stop_at_answer`, or the value that None means for this config."""
        asked = self.rollout_worker_config.stop_at_answer
        return type(self).extract_answer is Grader.extract_answer if asked is None else asked

    def has_final_answer(self, solution: str) -> bool:
        """Return whether a solution so far ends with its answer: see `stop_at_answer`."""
        if not self.stops_at_answer or is_thinking(solution):
            return False
        if type(self).extract_answer is Grader.extract_answer:
            return has_final_answer(solution)
        return self.extract_answer(solution) is not None
