"""Ask a server what it does where the protocol is open, or where servers do not follow it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from rollouts.protocol.responses import StopRules, read_completions
from rollouts.steps.rules import StepRule

_SECONDS_TO_ANSWER = 300.0
_LONG_PROMPT = "word " * 9000
_ENDS = "What is 2+3? Answer briefly."


class NoAnswerError(Exception):
    """The server did not answer a probe; the message says which one."""


class RefusedError(Exception):
    """The server answered with an error status; the message has it."""


class Server:
    """A running server, asked as the project's client asks it."""

    def __init__(self, url: str, model: str) -> None:
        self.model = model
        # llama.cpp closes idle connections, even if a client wants to use them again.
        self._http = httpx.Client(
            base_url=url,
            timeout=_SECONDS_TO_ANSWER,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def close(self) -> None:
        self._http.close()

    def post(self, api: str, prompt: Any, **fields: Any) -> httpx.Response:
        """Post a prompt (a text, or chat messages) to one of the two APIs.

        Raises:
            RefusedError: the answer is an error.
            httpx.HTTPError: there is no answer.
        """
        body: dict[str, Any] = {"model": self.model, "max_tokens": 24, "temperature": 0, **fields}
        if api == "chat":
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            answer = self._http.post("/chat/completions", json={**body, "messages": messages})
        else:
            answer = self._http.post("/completions", json={**body, "prompt": prompt})
        if answer.is_error:
            raise RefusedError(f"{answer.status_code}: {_message(answer)}")
        return answer

    def ask(self, api: str, prompt: Any, **fields: Any) -> dict[str, Any]:
        """Return the parsed answer; raises what `post` raises."""
        parsed: dict[str, Any] = self.post(api, prompt, **fields).json()
        return parsed

    def texts(self, api: str, prompt: Any, **fields: Any) -> list[str]:
        """Return the texts of the samples; raises what `post` raises."""
        return [_text(choice) for choice in self.ask(api, prompt, **fields)["choices"]]


@dataclass(frozen=True)
class Probe:
    """One question to a server; the answer is a few words."""

    name: str
    look: Callable[[Server, str], str]
    apis: tuple[str, ...] = ("completions", "chat")


def several_samples(server: Server, api: str) -> str:
    texts = server.texts(api, "Once upon a time", n=3, temperature=1, seed=1)
    return f"{len(texts)}, {'different' if len(set(texts)) > 1 else 'all the same'}"


def greedy_samples(server: Server, api: str) -> str:
    return f"{len(server.texts(api, 'Once upon a time', n=3, max_tokens=4))}"


def many_samples(server: Server, api: str) -> str:
    return f"{len(server.texts(api, 'A', n=64, max_tokens=1, temperature=1))}"


def usage_of_several(server: Server, api: str) -> str:
    one, three = (
        server.ask(api, "Once upon a time", n=n, max_tokens=4, temperature=1)["usage"]
        for n in (1, 3)
    )
    prompts = "three times" if three["prompt_tokens"] > one["prompt_tokens"] else "once"
    samples = "all" if three["completion_tokens"] > 2 * one["completion_tokens"] else "one"
    exact = "" if one["completion_tokens"] == 4 else ", the last token of each left out"
    return f"prompt counted {prompts}, {samples} of the samples{exact}"


def stop_text(server: Server, api: str) -> str:
    (choice,) = server.ask(api, _ENDS, stop=[" "])["choices"]
    kept = "kept" if " " in _text(choice) else "cut"
    return f"{kept}, finish_reason {choice['finish_reason']}"


def end_or_delimiter(server: Server, api: str) -> str:
    """Say how the end of a solution and the end of a step differ, and how the client reads them."""
    prompt = _ENDS
    if api == "completions":  # where a model ends only in the form of a chat
        prompt = f"<|im_start|>user\n{_ENDS}<|im_end|>\n<|im_start|>assistant\n"
    logprobs = {"logprobs": True, "top_logprobs": 1} if api == "chat" else {"logprobs": 1}
    found = []
    for delimiter in ("\n", " "):  # the answer is one line of several words
        answer = server.ask(api, prompt, stop=[delimiter], **logprobs)
        rules = StopRules(prefix="", stop=(), step_rule=StepRule(delimiter))
        (completion,), _ = read_completions(answer, rules)
        found.append(f"{_sign(answer['choices'][0])} read as {completion.ending}")
    return "; ".join(found)


def logprobs_form(server: Server, api: str) -> str:
    logprobs = {"logprobs": True, "top_logprobs": 1} if api == "chat" else {"logprobs": 1}
    (choice,) = server.ask(api, "Hello", max_tokens=4, **logprobs)["choices"]
    listed = choice.get("logprobs")
    if not listed:
        return "none"
    return "`content`" if "content" in listed else "`tokens` and `token_logprobs`"


def echo(server: Server, api: str) -> str:
    (text,) = server.texts(api, "One, two,", echo=True)
    return "echoed" if text.startswith("One, two,") else "ignored"


def seed(server: Server, api: str) -> str:
    texts = [
        server.texts(api, "Once upon a time", seed=number, temperature=1)[0] for number in (7, 7, 8)
    ]
    same = "repeats" if texts[0] == texts[1] else "does not repeat"
    return f"{same}, another seed {'differs' if texts[0] != texts[2] else 'does not differ'}"


def several_prompts(server: Server, api: str) -> str:
    return f"{len(server.texts(api, ['One, two,', 'A, B,']))} samples for 2"


def streaming(server: Server, api: str) -> str:
    lines = server.post(api, "One, two,", stream=True).text.split("\n\n")
    chunks = [line for line in lines if line.startswith("data: {")]
    ended = "[DONE]" if "data: [DONE]" in lines else "no [DONE]"
    return f"{'chunks' if len(chunks) > 1 else 'one piece'}, {ended}"


def continued_message(server: Server, api: str) -> str:
    plain = _continuation(server, api, {})
    asked = _continuation(
        server, api, {"continue_final_message": True, "add_generation_prompt": False}
    )
    return asked if plain == asked else f"{asked}; unasked: {plain}"


def unknown_field(server: Server, api: str) -> str:
    server.ask(api, "Hello", max_tokens=1, no_such_field=1)
    return "ignored"


def unknown_model(server: Server, api: str) -> str:
    server.ask(api, "Hello", model="no-such-model", max_tokens=1)
    return "answers anyway"


def bad_parameter(server: Server, api: str) -> str:
    server.ask(api, "Hello", max_tokens=-5)
    return "answers anyway"


def too_long(server: Server, api: str) -> str:
    server.ask(api, _LONG_PROMPT, max_tokens=1)
    return "answers anyway"


_COMPLETIONS_ONLY = ("completions",)
PROBES = (
    Probe("`n=3` and a seed", several_samples),
    Probe("`n=3` at temperature 0", greedy_samples),
    Probe("`n=64`", many_samples),
    Probe("`usage` with `n=3`", usage_of_several),
    Probe("stop text", stop_text),
    Probe("end of solution; delimiter", end_or_delimiter),
    Probe("log-probabilities", logprobs_form),
    Probe("`seed`", seed),
    Probe("`echo`", echo, _COMPLETIONS_ONLY),
    Probe("several prompts", several_prompts, _COMPLETIONS_ONLY),
    Probe("streaming", streaming),
    Probe("continuing a message", continued_message, ("chat",)),
    Probe("unknown field", unknown_field),
    Probe("unknown model", unknown_model),
    Probe("`max_tokens=-5`", bad_parameter),
    Probe("prompt beyond the context", too_long),
)


def probe(server: Server, api: str) -> dict[str, str]:
    """Return the answer to each probe of an API by its name; a refusal is an answer too.

    Raises:
        NoAnswerError: the server does not answer.
    """
    answers = {}
    for one in PROBES:
        if api in one.apis:
            try:
                answers[one.name] = one.look(server, api)
            except RefusedError as error:
                answers[one.name] = str(error)
            except httpx.HTTPError as error:
                why = f"{type(error).__name__} after at most {_SECONDS_TO_ANSWER:g} s"
                raise NoAnswerError(f"no answer to {one.name} over {api}: {why}") from error
    return answers


def _continuation(server: Server, api: str, fields: Mapping[str, Any]) -> str:
    messages = [
        {"role": "user", "content": "Repeat these lines:\none two\nthree four\nfive six"},
        {"role": "assistant", "content": "one two\n"},
    ]
    (text,) = server.texts(api, messages, stop=["five"], **fields)
    if text.startswith("one two\nthree"):
        return "continues, and repeats the message"
    return "continues" if text.startswith("three") else "begins a new message"


def _sign(choice: dict[str, Any]) -> str:
    if "stop_reason" in choice:
        return f"`stop_reason` {json.dumps(choice['stop_reason'])}"
    listed = choice.get("logprobs") or {}
    tokens = [one["token"] for one in listed.get("content") or []] or listed.get("tokens")
    return f"last token {json.dumps(tokens[-1])}" if tokens else "no sign"


def _text(choice: Mapping[str, Any]) -> str:
    message = choice.get("message")
    return str((message["content"] if message else choice["text"]) or "")


def _message(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        return str(body.get("error", body)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text
