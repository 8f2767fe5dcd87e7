"""Which values the settings of a `RolloutWorkerConfig` may have.

It is a module of its own because pydantic takes time to load, and commands without a forest do not
need it.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    with_config,
)
from typing_extensions import TypedDict

from common.validation import IS_NUMBER, PYTHON_WORDS, STRICT, any_of, refusals
from experiment_configs.interfaces import Api, Reasoning
from experiment_configs.refinements import is_refinement
from experiment_configs.server_addresses import has_secret, is_server_address
from experiment_configs.step_delimiters import read_delimiter

MOST_SHOWN = 200
"""Most characters of a value that a message shows."""


def _json_mapping(value: object) -> object:
    if not isinstance(value, Mapping) or _not_json(value):
        raise ValueError("must be a mapping of JSON types")
    return value


def _addresses(values: object) -> object:
    if not isinstance(values, tuple) or not all(map(_may_be_kept, values)):
        raise ValueError(
            "must be a tuple of addresses that start with http:// or https://, without user or key"
        )
    return values


def _may_be_kept(address: object) -> bool:
    return is_server_address(address) and not has_secret(str(address))


def _refinement(value: object) -> object:
    if not is_refinement(value):
        raise ValueError("must be None: only refine_forest sets it")
    return value


Name: TypeAlias = Annotated[str, Field(min_length=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Share: TypeAlias = Annotated[float, Field(gt=0, le=1), IS_NUMBER]
Delimiter: TypeAlias = Annotated[
    Any,
    AfterValidator(read_delimiter),
    WithJsonSchema(any_of("string", "array", "object")),
]
JsonMapping: TypeAlias = Annotated[
    Any, AfterValidator(_json_mapping), WithJsonSchema({"type": "object"})
]


@with_config(STRICT)
class WorkerSettings(TypedDict):
    """The settings of a `RolloutWorkerConfig`, which describes them."""

    model: Name | None
    api: Api
    strategy: Name
    strategy_package: str
    step_delimiter: Delimiter
    keep_blocks: bool
    stop: Annotated[tuple[Name, ...], Field(fail_fast=True)]
    stop_at_answer: bool | None
    reasoning: Reasoning
    temperature: Annotated[float, Field(ge=0, le=2), IS_NUMBER]
    top_p: Share
    seed: int
    logprobs: bool
    keep_tokens: bool
    extra_body: JsonMapping
    max_tokens_field: Name
    num_rollouts: Count
    rollouts_per_state: Count
    branching: Annotated[tuple[Count, ...], Field(min_length=1, fail_fast=True)]
    num_searches: Count
    omega_alpha: Share
    omega_beta: Share
    omega_length: Count
    omega_c_puct: Annotated[float, Field(ge=0, le=1e9), IS_NUMBER]
    refinement: Annotated[
        Any, AfterValidator(_refinement), WithJsonSchema(any_of("null", "object"))
    ]
    samples_per_request: Count
    max_depth: Count
    max_nodes: Count
    max_tokens_per_step: Count
    max_tokens_per_rollout: Count
    concurrency: Count | None
    request_timeout_seconds: Annotated[float, Field(gt=0), IS_NUMBER]
    max_attempts: Count
    base_urls: Annotated[tuple[str, ...], BeforeValidator(_addresses)]


SETTINGS = TypeAdapter(WorkerSettings)


def problems_of(settings: Mapping[str, Any]) -> list[str]:
    """Return one line for each invalid setting; empty if all are valid."""
    try:
        SETTINGS.validate_python(settings)
    except ValidationError as error:
        found = refusals(error, SETTINGS, PYTHON_WORDS, levels=1)
    else:
        return _problems_of_tokens(settings)
    told = [(str(refusal.place[0]), refusal.problem.removeprefix("it ")) for refusal in found]
    return [
        f"rollout_worker_config.{name} {_shown(name, settings[name])}: {_sentence(problem)}"
        for name, problem in told
    ]


def _problems_of_tokens(settings: Mapping[str, Any]) -> list[str]:
    """Return why a config cannot keep tokens."""
    if not settings["keep_tokens"]:
        return []
    reasons = {
        "logprobs=True: servers list the tokens of a sample with them": not settings["logprobs"],
        "reasoning='fold' or 'grow': steps after a thought that is left out have other ids before "
        "them than the model had": settings["reasoning"] == "drop",
    }
    return [
        f"rollout_worker_config.keep_tokens needs {reason}"
        for reason, holds in reasons.items()
        if holds
    ]


def _sentence(problem: str) -> str:
    """Return a problem with the subject "it", unless it has a subject already."""
    return problem if problem.startswith("its ") else f"it {problem}"


def _shown(name: str, value: object) -> str:
    # An address may hold a password, and `extra_body` may hold a key: do not show them.
    if name == "extra_body" and isinstance(value, Mapping):
        names = ", ".join(f"{key!r:.40}" for key in list(_not_json(value))[:5])
        return f"has {names:.{MOST_SHOWN}}, whose values JSON cannot hold"
    if name in ("base_urls", "extra_body"):
        return "cannot be used"
    try:
        return f"is {value!r:.{MOST_SHOWN}}"
    except ValueError:  # a number of thousands of digits
        return "cannot be used"


def _not_json(values: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the entries that JSON cannot hold."""
    return {key: value for key, value in values.items() if not _is_json({key: value})}


def _is_json(value: dict[Any, Any]) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False
