"""An OpenAI-compatible server that only waits, as the model of the throughput benchmarks.

It speaks real HTTP in its own process. Each answer arrives after a log-normal latency with a long
tail, and is cheap to make, so that benchmarks measure the client. With `--slots` it writes at most
that many samples at once at a given speed, like a server with a full batch. With `--cache_tokens`
it keeps the prefixes of its latest texts, as vLLM does, and other prompt tokens take time. With
`--servers` it is several servers, at as many ports, each with a cache of its own.

usage: python benchmarks/openai_simulator.py --port PORT --latency SECONDS
           [--slots NUMBER --seconds_per_token SECONDS]
           [--servers NUMBER --cache_tokens NUMBER --seconds_per_prompt_token SECONDS]
"""

import argparse
import asyncio
import json
import math
import random
import time
from collections import OrderedDict
from functools import partial
from typing import Any

SIGMA = 0.5
"""Sigma of the log-normal: one answer in a hundred takes about three times the median."""
STEPS_OF_A_SOLUTION = 3
WORDS = ("so", "we", "add", "two", "and", "three", "which", "gives", "five", "apples", "today")


class PrefixCache:
    """The prefixes of the latest texts, one word a token; the oldest ones make room."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._kept: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, text: str) -> int:
        """Return how many first words of a text are kept, and keep all of them."""
        known, prefix, is_known = 0, 0, True
        for word in text.split():
            prefix = hash((prefix, word))
            is_known = is_known and prefix in self._kept
            known += is_known
            self._kept[prefix] = None
            self._kept.move_to_end(prefix)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return known


class Simulator:
    """Answers completions and counts them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.latency = options.latency
        self.seconds_per_token = options.seconds_per_token
        self.slots = asyncio.Semaphore(options.slots)
        self.seconds_per_prompt_token = options.seconds_per_prompt_token
        self.caches = [PrefixCache(options.cache_tokens) for _ in range(options.servers)]
        self.endless = PrefixCache(math.inf)
        """The cache of a single server that gets all requests and has room for all texts."""
        self.reset()

    def reset(self) -> None:
        self.requests = 0
        self.samples = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.first = 0.0
        self.last = 0.0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.most_cached_tokens = 0

    def stats(self) -> dict[str, float]:
        return {
            "requests": self.requests,
            "samples": self.samples,
            "most_in_flight": self.most_in_flight,
            "seconds": self.last - self.first,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "most_cached_tokens": self.most_cached_tokens,
            "distinct_tokens": len(self.endless),
        }

    async def serve(
        self, cache: PrefixCache, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the requests of one connection until it closes."""
        try:
            while line := await reader.readline():
                _, path, _ = line.decode().split(" ")
                length = 0
                while (header := await reader.readline()) not in (b"\r\n", b""):
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                body = json.loads(await reader.readexactly(length)) if length else {}
                data = json.dumps(await self.answer(path, body, cache)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(data), data)
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, path: str, body: dict[str, Any], cache: PrefixCache) -> dict[str, Any]:
        if path == "/v1/models":
            return {"data": [{"id": "simulated"}]}
        if path == "/stats":
            return self.stats()
        if path == "/reset":
            self.reset()
            return {}
        self.first = self.first or time.monotonic()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        prompt = _prompt(body)
        num_tokens, num_cached = len(prompt.split()), cache.take(prompt)
        self.prompt_tokens += num_tokens
        self.cached_tokens += num_cached
        self.most_cached_tokens += self.endless.take(prompt)
        prefill = (num_tokens - num_cached) * self.seconds_per_prompt_token
        await asyncio.sleep(prefill + self.latency * math.exp(random.gauss(0, SIGMA)))
        completion = self._completion(body, num_tokens, num_cached)
        for choice in completion["choices"]:
            written = choice["text"] if "text" in choice else choice["message"]["content"]
            for one in (cache, self.endless):
                one.take(f"{prompt} {written}")
        if self.seconds_per_token:
            await asyncio.gather(*(self._write(one) for one in completion["choices"]))
        self.in_flight -= 1
        self.requests += 1
        self.samples += len(completion["choices"])
        self.last = time.monotonic()
        return completion

    async def _write(self, choice: dict[str, Any]) -> None:
        text = choice["text"] if "text" in choice else choice["message"]["content"]
        async with self.slots:
            await asyncio.sleep(len(text.split()) * self.seconds_per_token)

    def _completion(self, body: dict[str, Any], num_tokens: int, num_cached: int) -> dict[str, Any]:
        is_chat = "messages" in body
        written = _written(body).count("\n")
        is_step = bool(body.get("stop"))
        texts = [self._text(written, is_step=is_step) for _ in range(body.get("n") or 1)]
        choices = [
            {
                "index": index,
                **(
                    {"message": {"role": "assistant", "content": text}}
                    if is_chat
                    else {"text": text}
                ),
                "finish_reason": "stop",
                "stop_reason": "\n" if is_step and written < STEPS_OF_A_SOLUTION - 1 else None,
            }
            for index, text in enumerate(texts)
        ]
        tokens = sum(len(text.split()) for text in texts)
        return {
            "id": "s", "object": "chat.completion" if is_chat else "text_completion",
            "created": 0, "model": "simulated", "choices": choices,
            "usage": {
                "prompt_tokens": num_tokens, "completion_tokens": tokens,
                "total_tokens": num_tokens + tokens,
                "prompt_tokens_details": {"cached_tokens": num_cached},
            },
        }  # fmt: skip

    def _text(self, written: int, *, is_step: bool) -> str:
        lines = [
            " ".join(random.choices(WORDS, k=12))
            for _ in range(1 if is_step else STEPS_OF_A_SOLUTION - written)
        ]
        if written + len(lines) >= STEPS_OF_A_SOLUTION:
            lines[-1] = f"#### {random.randint(1, 4)}."
        return "\n".join(lines)


def _prompt(body: dict[str, Any]) -> str:
    if "messages" not in body:
        return str(body["prompt"])
    return " ".join(str(one["content"]) for one in body["messages"])


def _written(body: dict[str, Any]) -> str:
    """Return the part of the solution that the request already has."""
    if "messages" not in body:
        return str(body["prompt"]).rpartition("Answer:")[2]
    return "".join(one["content"] for one in body["messages"] if one["role"] == "assistant")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--latency", type=float, required=True, help="median, in seconds")
    parser.add_argument("--slots", type=int, default=1, help="samples written at once")
    parser.add_argument("--seconds_per_token", type=float, default=0.0)
    parser.add_argument("--servers", type=int, default=1, help="at --port and the ports after it")
    parser.add_argument("--cache_tokens", type=int, default=0, help="of each server")
    parser.add_argument("--seconds_per_prompt_token", type=float, default=0.0)
    options = parser.parse_args()
    simulator = Simulator(options)
    servers = [
        await asyncio.start_server(
            partial(simulator.serve, cache), "127.0.0.1", port, backlog=2048, limit=2**20
        )
        for port, cache in enumerate(simulator.caches, start=options.port)
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
