"""Build requests to a served reward model for the scores of steps, and read the responses.

A score is the probability that a step is good; the kind `score` returns the model's own numbers.
Works on the parsed JSON, because the OpenAI library supports only one of these endpoints.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any, Literal, TypeAlias, get_args

from common.errors import UserError
from common.json_lines import is_number
from experiment_configs.interfaces import Prompt
from forests.core.prefix import as_text
from forests.core.step_tags import STEP_TAG, tagged_solution, without_number
from forests.core.tree import NodePath, ReasoningTree, TreeNode
from rollouts.protocol.responses import MAX_LOGPROB, ResponseError

ScorerKind: TypeAlias = Literal["logprobs", "pooling", "score"]
StepLayout: TypeAlias = Literal["math_shepherd", "plain", "chat", "turns"]

BUILT_IN_KINDS: tuple[ScorerKind, ...] = get_args(ScorerKind)
LAYOUTS: tuple[StepLayout, ...] = get_args(StepLayout)

USUAL_LAYOUTS: Mapping[ScorerKind, StepLayout] = {
    "logprobs": "math_shepherd",
    "pooling": "chat",
    "score": "plain",
}
USUAL_TAGS: Mapping[StepLayout, str] = {
    "math_shepherd": STEP_TAG,
    "plain": "\n",
    "chat": "<extra_0>",
    "turns": "",
}
MAX_SCORE = 1e6
"""Limit for score endpoints, whose numbers need not be probabilities; larger ones are errors."""
_ROUNDING = 0.01
"""Tolerance for servers with 16-bit floats: log-probabilities above 0, sums of probabilities other
than 1."""
_SPACES_IN_TOKENS = " \n\u2581\u0120\u010a"
"""White space, also as vocabularies spell it."""


class ScoringError(UserError):
    """A response does not match the request, and a retry cannot help; the message says why."""


@dataclass(frozen=True, kw_only=True)
class ScorerOptions:
    """How to ask a reward model."""

    kind: str = "logprobs"
    """`logprobs`: a causal model writes `good` or `bad` after a step (Math-Shepherd, 2312.08935).
    `pooling`: vLLM's pooling endpoint returns a row of class probabilities for each step tag.
    `score`: a score endpoint (vLLM, Cohere) compares the question with the steps so far. Plugins
    add others."""
    package: str = ""
    """Package and version of the plugin that the kind comes from; empty for a built-in kind."""
    model: str = ""
    layout: StepLayout = "math_shepherd"
    """`math_shepherd`: one text with the question and numbered steps, as in the export of that
    name. `plain`: the policy's prompt and the unchanged steps, with the tag after each step, as in
    the export `trl_stepwise`. `chat`: the question as the user's message and the stripped steps,
    each with its tag, as the assistant's (Qwen2.5-Math-PRM, 2501.07301). `turns`: each step is a
    user message, the first one after the question, and each verdict an assistant message
    (RLHFlow)."""
    step_tag: str = STEP_TAG
    good: str = "+"
    bad: str = "-"
    good_index: int = 1
    """`pooling`: index of the "good" class, in rows of several classes."""
    top_logprobs: int = 20
    """`logprobs`: how many tokens the server must list; `good` and `bad` must be among them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The prompt and question that the steps of a tree answer."""

    prompt: Prompt
    """The policy's prompt."""
    question: str
    """The question without instructions and examples, on which reward models are not trained."""


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One request, and the nodes whose scores its response contains, in order."""

    path: str
    body: Mapping[str, Any]
    nodes: Sequence[NodePath]


def score_requests(
    tree: ReasoningTree, asked: Asked, options: ScorerOptions
) -> Iterator[ScoreRequest]:
    """Yield the requests that score the steps of a tree.

    Blank steps get no score. A step that contains the step tag, and the steps below it, get none
    either: the model would take that tag for the end of a step.
    """
    if options.kind == "pooling":
        yield from _pooling_requests(tree, asked, options)
        return
    for node in _scorable(tree, options):
        steps = _steps(tree, node.path)
        if options.kind == "score":
            body: dict[str, Any] = {
                "text_1": asked.question,
                "text_2": "".join(step.text for step in steps),
            }
            yield ScoreRequest("/score", {"model": options.model, **body}, [node.path])
        else:
            yield _logprobs_request(steps, asked, options)


def read_scores(response: Any, request: ScoreRequest, options: ScorerOptions) -> list[float | None]:
    """Return the score of each node of a request; None if the model named neither verdict.

    Raises:
        ResponseError: the response does not follow the protocol, or contains impossible
            log-probabilities, probabilities or scores.
        ScoringError: it has more or fewer scores than the request has steps, or too few classes.
    """
    if not isinstance(response, Mapping):
        raise ResponseError("the response is not a JSON object")
    if options.kind == "logprobs":
        return [_verdict(_listed_logprobs(_only(response, "choices")), options)]
    found = _only(response, "data")
    if options.kind == "score":
        return [_score(found.get("score"))]
    return _pooled(found.get("data"), len(request.nodes), options.good_index)


def _steps(tree: ReasoningTree, path: NodePath) -> list[TreeNode]:
    return [node for node in tree.path_nodes(path) if node.text.strip()]


def _scorable(tree: ReasoningTree, options: ScorerOptions) -> Iterator[TreeNode]:
    """Yield the nodes that can be scored, each after its parent."""
    unclear: set[NodePath] = set()
    for node in tree:
        if not node.path:
            continue
        if node.path[:-1] in unclear or _holds_tag(node.text, options):
            unclear.add(node.path)
        elif node.text.strip():
            yield node


def _holds_tag(text: str, options: ScorerOptions) -> bool:
    # A blank tag cannot be searched for: the steps themselves end with line breaks.
    tag = options.step_tag.strip()
    return bool(tag) and options.kind != "score" and tag in text


def _logprobs_request(
    steps: Sequence[TreeNode], asked: Asked, options: ScorerOptions
) -> ScoreRequest:
    body: dict[str, Any] = {"model": options.model, "max_tokens": 1, "temperature": 0}
    nodes = [steps[-1].path]
    if options.layout in ("chat", "turns"):
        body |= {"logprobs": True, "top_logprobs": options.top_logprobs}
        body["messages"] = _messages(steps, asked, options)
        if options.layout == "chat":
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        return ScoreRequest("/chat/completions", body, nodes)
    body |= {"logprobs": options.top_logprobs, "prompt": _text(steps, asked, options)}
    return ScoreRequest("/completions", body, nodes)


def _pooling_requests(
    tree: ReasoningTree, asked: Asked, options: ScorerOptions
) -> Iterator[ScoreRequest]:
    """Yield one request for each longest path: it scores all steps of the path."""
    scorable = {node.path for node in _scorable(tree, options)}
    inner = {path[:depth] for path in scorable for depth in range(len(path))}
    for end in sorted(scorable - inner):
        steps = _steps(tree, end)
        body: dict[str, Any] = {"model": options.model}
        if options.layout in ("chat", "turns"):
            body["messages"] = _messages(steps, asked, options)
            body["add_generation_prompt"] = False
        else:
            body["input"] = _text(steps, asked, options)
        yield ScoreRequest("//pooling", body, [step.path for step in steps])


def _text(steps: Sequence[TreeNode], asked: Asked, options: ScorerOptions) -> str:
    if options.layout == "math_shepherd":
        texts = [without_number(step.text) for step in steps]
        return tagged_solution(asked.question, texts, [options.step_tag] * len(texts))
    return as_text(asked.prompt) + "".join(step.text + options.step_tag for step in steps)


def _messages(
    steps: Sequence[TreeNode], asked: Asked, options: ScorerOptions
) -> list[Mapping[str, str]]:
    if options.layout == "chat":
        solution = "".join(step.text.strip() + options.step_tag for step in steps)
        return [
            *_system_messages(asked.prompt),
            {"role": "user", "content": asked.question},
            {"role": "assistant", "content": solution},
        ]
    messages: list[Mapping[str, str]] = []
    for number, step in enumerate(steps):
        question = f"{asked.question} " if number == 0 else ""
        messages.append(
            {"role": "user", "content": question + step.text.strip() + options.step_tag}
        )
        if number < len(steps) - 1:
            messages.append({"role": "assistant", "content": options.good})
    return messages


def _system_messages(prompt: Prompt) -> list[Mapping[str, str]]:
    if isinstance(prompt, str):
        return []
    return [message for message in prompt if message["role"] == "system"]


def _only(response: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the only result of a response."""
    found = response.get(key)
    if not isinstance(found, list) or not found:
        raise ResponseError(f"the response has no {key}")
    if len(found) > 1:
        raise ResponseError(f"the response has {len(found)} {key} for one request")
    if not isinstance(found[0], Mapping):
        raise ResponseError(f"the response has {key} that are not objects")
    return found[0]


def _listed_logprobs(choice: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the alternatives that the server lists for the first token that it drew."""
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping):
        raise ResponseError("the response lists no log-probabilities")
    pairs = _pairs(logprobs)
    if not pairs:
        raise ResponseError("the response lists no log-probabilities")
    if any(not isinstance(token, str) for token, _ in pairs):
        raise ResponseError("the response lists a token that is not a string")
    return [(token, _logprob(logprob)) for token, logprob in pairs]


def _pairs(logprobs: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return tokens and log-probabilities, from either form in which servers list them."""
    content, tops = logprobs.get("content"), logprobs.get("top_logprobs")
    if isinstance(content, list) and content:  # chat, and llama.cpp's completions
        listed = content[0].get("top_logprobs") if isinstance(content[0], Mapping) else None
        if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
            raise ResponseError("the response lists log-probabilities in an unknown form")
        return [(one.get("token"), one.get("logprob")) for one in listed]
    if isinstance(tops, list) and tops and isinstance(tops[0], Mapping):
        return list(tops[0].items())
    return []


def _logprob(value: Any) -> float:
    if not is_number(value) or not -MAX_LOGPROB <= value <= _ROUNDING:
        raise ResponseError(f"the response has {_shown(value)} for a log-probability")
    return float(value)


def _verdict(listed: Sequence[tuple[str, float]], options: ScorerOptions) -> float | None:
    """Return p(good) / (p(good) + p(bad)); None if neither verdict is listed.

    An unlisted verdict is less likely than all listed tokens, so the lowest listed probability is
    used for it: an upper bound.
    """
    good = _log_of_sum([logprob for token, logprob in listed if _says(token, options.good)])
    bad = _log_of_sum([logprob for token, logprob in listed if _says(token, options.bad)])
    if good is None and bad is None:
        return None
    least = min(logprob for _, logprob in listed)
    difference = (least if bad is None else bad) - (least if good is None else good)
    return 1 / (1 + exp(min(700.0, difference)))


def _says(token: str, verdict: str) -> bool:
    return token.strip(_SPACES_IN_TOKENS) == verdict.strip()


def _log_of_sum(logprobs: Sequence[float]) -> float | None:
    total = sum(exp(logprob) for logprob in logprobs)
    return log(total) if total else (max(logprobs) if logprobs else None)


def _pooled(rows: Any, num_steps: int, good_index: int) -> list[float | None]:
    if not isinstance(rows, list):
        raise ResponseError("the response has no rows of numbers")
    if len(rows) != num_steps:
        raise ScoringError(
            f"the server gave {len(rows)} scores for {num_steps} steps: its pooling must be STEP "
            "and its step tag the same as --step_tag"
        )
    return [_chosen(row if isinstance(row, list) else [row], good_index) for row in rows]


def _chosen(row: list[Any], good_index: int) -> float:
    """Return the probability of the good class, or of the only class."""
    if not row:
        raise ResponseError("the response has a row without numbers")
    for value in row:
        if not is_number(value) or not 0 <= value <= 1:
            raise ResponseError(f"the response has {_shown(value)} for a probability")
    if len(row) == 1:
        return float(row[0])
    if good_index >= len(row):
        raise ScoringError(f"the server's rows have {len(row)} classes: --good_index is too large")
    if abs(sum(row) - 1) > _ROUNDING * len(row):
        raise ResponseError("the response has classes whose probabilities do not add up to 1")
    return float(row[good_index])


def _score(value: Any) -> float:
    if not is_number(value) or abs(value) > MAX_SCORE:
        raise ResponseError(f"the response has {_shown(value)} for a score")
    return float(value)


def _shown(value: Any) -> str:
    """Return a value for a message; only the type of lists and texts."""
    is_short = value is None or isinstance(value, bool | float) or is_number(value)
    return repr(value) if is_short else f"a value of type {type(value).__name__}"
