"""Draw samples from model servers."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from experiment_configs.interfaces import Prompt, RolloutWorkerConfig
from forests.core.prefix import prefix_of
from rollouts.backend import Backend, Spending
from rollouts.core.completions import Completion, Ending
from rollouts.core.responses import StopRules, read_completions
from rollouts.core.steps import StepRule
from rollouts.endpoints import ServerAddress
from rollouts.failures import BackendRefusedError, PromptTooLongError, RequestFailedError

_MOST_BLANK_LINES = 4


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Samples to draw after a prompt and the steps below it."""

    prompt: Prompt
    steps: str
    num_samples: int
    to_end: bool
    seed: int


class CompletionClient:
    """Draws samples from OpenAI-compatible servers. Use as an async context manager."""

    def __init__(
        self,
        address: ServerAddress,
        config: RolloutWorkerConfig,
        step_rule: StepRule | None = None,
    ) -> None:
        """`step_rule`: where steps end; None: as `config` says."""
        self.config = config
        self.step_rule = step_rule or StepRule.of(config)
        self._model = config.model
        self._continues_messages: bool | None = None
        self._backend = Backend(
            address,
            timeout_seconds=config.request_timeout_seconds,
            max_attempts=config.max_attempts,
        )

    async def __aenter__(self) -> "CompletionClient":
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._backend.__aexit__(*details)

    async def model(self) -> str:
        """Return the model to ask for: the configured one, or the first that the server lists.

        Raises:
            BackendError: the server cannot be reached, refuses, or lists none.
        """
        if self._model is None:
            self._model = await self._backend.first_model()
        return self._model

    async def list_models(self) -> list[str]:
        """Return the names of the server's models; the cheapest way to see that it answers.

        Raises:
            BackendError: it does not, or refuses.
        """
        return [model.id for model in await self._backend.list_models()]

    async def _require_continuing(self) -> None:
        """Raise `BackendRefusedError` where the server is known not to continue chat messages."""
        if self._continues_messages is None:
            try:
                owners = {model.owned_by for model in await self._backend.list_models()}
            except (BackendRefusedError, RequestFailedError):
                owners = set()  # a server need not list its models
            self._continues_messages = "fastchat" not in owners
        if not self._continues_messages:
            raise BackendRefusedError(
                "FastChat begins a new chat message instead of continuing one: use "
                "api='completions', with the model's chat template in the prompt"
            )

    async def sample(self, request: SampleRequest, spending: Spending) -> list[Completion]:
        """Return up to `num_samples` samples; servers may give fewer. Adds to `spending`.

        A blank line before a step ends it on servers that stop at the delimiter: such samples are
        continued until they hold a step. Steps that fill the model's context get empty samples.

        Raises:
            BackendError: what the retries could not mend.
        """
        stops = self.step_rule.stops()
        finished: list[Completion] = []
        open_requests = [("", request)]
        while open_requests:
            blank, current = open_requests.pop()
            try:
                sampled = await self._sample_once(current, spending)
            except PromptTooLongError:
                if not current.steps:
                    raise
                sampled = [Completion("", Ending.LIMIT, finish_reason="context")]
                sampled *= current.num_samples
            completions = [replace(one, text=blank + one.text) for one in sampled]
            finished += [c for c in completions if not _is_blank_step(c)]
            for text, number in Counter(c.text for c in completions if _is_blank_step(c)).items():
                if len(text) > max(map(len, stops), default=1) * _MOST_BLANK_LINES:
                    finished += [Completion(text, Ending.LIMIT, finish_reason="blank")] * number
                else:
                    rest = replace(request, steps=request.steps + text, num_samples=number)
                    open_requests.append((text, rest))
        return finished

    async def _sample_once(self, request: SampleRequest, spending: Spending) -> list[Completion]:
        model = await self.model()
        if self.config.api == "chat" and (request.steps or not request.to_end):
            await self._require_continuing()
        rules = StopRules(
            prefix=request.steps,
            stop=self.config.stop,
            step_rule=None if request.to_end else self.step_rule,
            echo=request.steps if self.config.api == "chat" else "",
        )
        path = "/chat/completions" if self.config.api == "chat" else "/completions"
        completions, usage = await self._backend.ask(
            path,
            lambda: self._body(request, model),
            lambda response: read_completions(response, rules),
            spending,
        )
        spending.prompt_tokens += usage.prompt_tokens
        spending.completion_tokens += usage.completion_tokens
        return completions

    def _body(self, request: SampleRequest, model: str) -> dict[str, Any]:
        config = self.config
        body: dict[str, Any] = {
            "model": model,
            "n": self._num_samples(request),
            "temperature": config.temperature,
            "top_p": config.top_p,
            "seed": request.seed,
            "max_tokens": (
                config.max_tokens_per_rollout if request.to_end else config.max_tokens_per_step
            ),
        }
        # Of a step, only what ends it is a stop text, so that a stop is sure to mean it; the others
        # are cut here.
        if stop := list(config.stop) if request.to_end else self.step_rule.stops():
            body["stop"] = stop
        if config.api == "chat":
            body["messages"] = prefix_of(request.prompt, request.steps, "chat")
            if config.logprobs:
                body |= {"logprobs": True, "top_logprobs": 1}
            if request.steps:
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        else:
            body["prompt"] = f"{request.prompt}{request.steps}"
            if config.logprobs:
                body["logprobs"] = 1
        return body | dict(config.extra_body)

    def _num_samples(self, request: SampleRequest) -> int:
        most = self._backend.most_samples or self.config.samples_per_request
        return min(request.num_samples, most, self.config.samples_per_request)


def _is_blank_step(completion: Completion) -> bool:
    return completion.ending is Ending.STEP and not completion.text.strip()
