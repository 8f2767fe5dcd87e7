"""Serve a model, or a step scorer, to the workers: an OpenAI-compatible server over transformers.

It answers /v1/completions for a model and vLLM's /pooling for a scorer, in batches, on a GPU if
there is one. For real work use vLLM: this server needs only what training needs.

usage: serve.py FOLDER PORT [--scorer]
"""

import argparse
import asyncio
import copy
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from aiohttp import web
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DynamicCache,
    PreTrainedTokenizerBase,
)

STEP_TAG = "<file_sep>"
"""A token of the tokenizer that texts do not contain; the scorer judges the step before it."""
MOST_ROWS = 256
MOST_TOKENS_OF_SCORING = 16_384
STEPS_BETWEEN_COMPACTIONS = 6
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32


@dataclass(eq=False)
class Job:
    """One request."""

    tokens: list[int]
    num_samples: int
    most_tokens: int
    temperature: float
    stop: list[str]
    answer: asyncio.Future[dict[str, Any]]


@dataclass(eq=False)
class Sample:
    """One sample that is being drawn."""

    job: Job
    tokens: list[int]
    logprobs: list[float]
    text: str = ""
    finish: str = ""
    stopped_at: str | None = None


class Policy:
    """Draws samples."""

    def __init__(self, folder: str, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPE).to(DEVICE).eval()
        self.tokenizer = tokenizer
        names = ("<|im_end|>", "<|endoftext|>")
        self.ends = {tokenizer.convert_tokens_to_ids(name) for name in names}
        self.shared: list[int] = []
        """The start that the latest prompts share: the worked examples."""
        self.cache_of_shared = DynamicCache()

    def size_of(self, job: Job) -> int:
        return job.num_samples

    most = MOST_ROWS

    @torch.inference_mode()
    def run(self, jobs: list[Job]) -> list[dict[str, Any]]:
        """Return the answers. Each prompt is computed once for all its samples."""
        samples = [Sample(job, [], []) for job in jobs for _ in range(job.num_samples)]
        shared = self._share([job.tokens for job in jobs])
        tokens, mask = padded([job.tokens[shared:] for job in jobs], left=True)
        places = shared + (mask.cumsum(1) - 1).clamp(min=0)
        mask = torch.cat([mask.new_ones(len(jobs), shared), mask], 1)
        past = copy.deepcopy(self.cache_of_shared)
        if shared:
            past.batch_repeat_interleave(len(jobs))
        out = self.model(
            tokens, attention_mask=mask, position_ids=places, past_key_values=past, logits_to_keep=1
        )
        of = torch.tensor([i for i, job in enumerate(jobs) for _ in range(job.num_samples)])
        of = of.to(DEVICE)
        out.past_key_values.batch_select_indices(of)
        logits, mask = out.logits[of, -1], mask[of]
        temperatures = torch.tensor([one.job.temperature for one in samples], device=DEVICE)
        live, steps = list(samples), 0
        while True:
            scaled = logits.float() / temperatures.clamp(min=1e-4)[:, None]
            logprobs = torch.log_softmax(scaled, -1)
            drawn = torch.multinomial(logprobs.exp(), 1)
            chosen = logprobs.gather(1, drawn)[:, 0].tolist()
            for sample, token, logprob in zip(live, drawn[:, 0].tolist(), chosen, strict=True):
                if not sample.finish:
                    self._add(sample, token, logprob)
            steps += 1
            open_rows = [row for row, sample in enumerate(live) if not sample.finish]
            if not open_rows:
                break
            if steps % STEPS_BETWEEN_COMPACTIONS == 0 and len(open_rows) < len(live):
                rows = torch.tensor(open_rows, device=DEVICE)
                out.past_key_values.batch_select_indices(rows)
                mask, drawn, temperatures = mask[rows], drawn[rows], temperatures[rows]
                live = [live[row] for row in open_rows]
            mask = torch.cat([mask, torch.ones_like(drawn)], 1)
            out = self.model(
                drawn, attention_mask=mask, position_ids=mask.sum(1, keepdim=True) - 1,
                past_key_values=out.past_key_values,
            )  # fmt: skip
            logits = out.logits[:, -1]
        return [_completion(job, [one for one in samples if one.job is job]) for job in jobs]

    def _share(self, prompts: list[list[int]]) -> int:
        """Return how many first tokens of these prompts are in `cache_of_shared`."""
        # Each prompt keeps a token of its own: the model needs one to continue from.
        places = zip(*(prompt[:-1] for prompt in prompts), strict=False)
        start = [tokens[0] for tokens in takewhile(lambda one: len(set(one)) == 1, places)]
        if start[: len(self.shared)] != self.shared or not self.shared:
            self.shared, self.cache_of_shared = start, DynamicCache()
            if start:
                tokens = torch.tensor([start], device=DEVICE)
                self.model(tokens, past_key_values=self.cache_of_shared, logits_to_keep=1)
        return len(self.shared)

    def _add(self, sample: Sample, token: int, logprob: float) -> None:
        sample.tokens.append(token)
        sample.logprobs.append(logprob)
        if token in self.ends:
            sample.finish = "stop"
            return
        sample.text = self.tokenizer.decode(sample.tokens)
        found = [(sample.text.find(stop), stop) for stop in sample.job.stop if stop in sample.text]
        if found:
            at, sample.stopped_at = min(found)
            sample.text, sample.finish = sample.text[:at], "stop"
        elif len(sample.tokens) >= sample.job.most_tokens:
            sample.finish = "length"


class Scorer:
    """Judges the step before each step tag."""

    most = MOST_TOKENS_OF_SCORING

    def __init__(self, folder: str, tokenizer: PreTrainedTokenizerBase) -> None:
        model = AutoModelForTokenClassification.from_pretrained(folder, dtype=DTYPE)
        self.model = model.to(DEVICE).eval()
        self.tag = tokenizer.convert_tokens_to_ids(STEP_TAG)

    def size_of(self, job: Job) -> int:
        return len(job.tokens)

    @torch.inference_mode()
    def run(self, jobs: list[Job]) -> list[dict[str, Any]]:
        """Return the probabilities of both classes at each step tag."""
        tokens, mask = padded([job.tokens for job in jobs], left=False)
        logits = self.model(tokens, attention_mask=mask).logits.float()
        probabilities = torch.softmax(logits, -1).tolist()
        return [
            {"data": [{"index": 0, "data": [
                row[place] for place, token in enumerate(job.tokens) if token == self.tag
            ]}]}
            for job, row in zip(jobs, probabilities, strict=True)
        ]  # fmt: skip


def padded(rows: list[list[int]], *, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows of tokens as one tensor, and the mask that tells them from padding."""
    longest = max(map(len, rows))
    tokens = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for number, row in enumerate(rows):
        span = slice(longest - len(row), None) if left else slice(len(row))
        tokens[number, span], mask[number, span] = torch.tensor(row), 1
    return tokens.to(DEVICE), mask.to(DEVICE)


def _completion(job: Job, samples: list[Sample]) -> dict[str, Any]:
    choices = [
        {"index": index, "text": one.text, "finish_reason": one.finish,
         "stop_reason": one.stopped_at, "logprobs": {"token_logprobs": one.logprobs}}
        for index, one in enumerate(samples)
    ]  # fmt: skip
    drawn = sum(len(one.tokens) for one in samples)
    usage = {"prompt_tokens": len(job.tokens), "completion_tokens": drawn}
    return {"object": "text_completion", "model": "policy", "choices": choices, "usage": usage}


class Server:
    """Collects requests into batches."""

    def __init__(self, folder: str, *, is_scorer: bool) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        kind = Scorer if is_scorer else Policy
        self.engine = kind(folder, self.tokenizer)
        self.waiting: asyncio.Queue[Job] = asyncio.Queue()

    async def work(self) -> None:
        held: Job | None = None
        while True:
            batch = [held or await self.waiting.get()]
            held = None
            await asyncio.sleep(0.02)  # the requests that follow an answer arrive together
            size = self.engine.size_of(batch[0])
            while not self.waiting.empty():
                job = self.waiting.get_nowait()
                size += self.engine.size_of(job)
                if size > self.engine.most:
                    held = job
                    break
                batch.append(job)
            try:
                answers = await asyncio.to_thread(self.engine.run, batch)
            except Exception as error:  # noqa: BLE001  workers try again, and say what it was
                for job in batch:
                    job.answer.set_exception(RuntimeError(repr(error)))
            else:
                for job, answer in zip(batch, answers, strict=True):
                    job.answer.set_result(answer)

    async def ask(self, request: web.Request) -> web.Response:
        body = await request.json()
        stop = body.get("stop") or []
        job = Job(
            tokens=self.tokenizer(body.get("prompt", body.get("input")))["input_ids"],
            num_samples=body.get("n", 1),
            most_tokens=body.get("max_tokens", 16),
            temperature=body.get("temperature", 1.0),
            stop=[stop] if isinstance(stop, str) else stop,
            answer=asyncio.get_running_loop().create_future(),
        )
        self.waiting.put_nowait(job)
        return web.json_response(await job.answer)


async def models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "policy", "object": "model"}]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("port", type=int)
    parser.add_argument("--scorer", action="store_true")
    options = parser.parse_args()
    server = Server(options.folder, is_scorer=options.scorer)
    app = web.Application(client_max_size=2**26)
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/completions", server.ask)
    app.router.add_post("/pooling", server.ask)

    async def start(app: web.Application) -> None:
        app["work"] = asyncio.create_task(server.work())

    app.on_startup.append(start)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None)


if __name__ == "__main__":
    main()
