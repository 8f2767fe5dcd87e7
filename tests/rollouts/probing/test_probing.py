"""Probing asks a server what it does instead of guessing, and keeps the answer for later jobs."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.abilities import Abilities, Continuing, EndTold, Learnt
from forests.costs.budgets import Usage
from forests.models import Forest, ModelServer
from rollouts.client import failures
from rollouts.client.failures import AttemptsFailedError, BackendRefusedError, FieldRefusedError
from rollouts.client.server import ServerAddress
from rollouts.client.spending import Spending
from rollouts.probing.memory import (
    CLAIM_LASTS,
    FRESH_FOR,
    AskingMemory,
    DatabaseMemory,
    Memory,
    ServerKey,
)
from rollouts.probing.probes import BEGUN, RestartWatch, read_replies, read_reply
from rollouts.protocol.dialect import Dialect
from rollouts.sampling.completion_client import CompletionClient, SampleRequest
from rollouts.steps.completions import Ending
from rollouts.workers.jobs import grow_slice
from tests.openai_server import (
    NUMBERS,
    Continues,
    Fault,
    Logprobs,
    OpenAIServer,
    Style,
    Thoughts,
    write_numbers,
    writes,
)
from tests.rollouts.forests import assert_whole, reread, seeded

SOLUTION = "One and one.\nTwo and two.\nThree and three."


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(writes(SOLUTION)) as server:
        yield server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)


def restart_with(words: str) -> Callable[[str, int], str]:
    """Return a writer that begins each answer from the start, with these words."""
    return lambda prefix, seed: words


def used(
    *servers: OpenAIServer,
    use: Callable[[CompletionClient], Any] | None = None,
    spending: Spending | None = None,
    memory: Memory | None = None,
    **fields: Any,
) -> Any:
    """Probe the servers; return what `use` returns for the client, or else their abilities."""
    config = RolloutWorkerConfig(**{"api": "chat", "max_attempts": 2, **fields})
    address = ServerAddress([one.url for one in servers], "")

    async def ask() -> Any:
        async with CompletionClient(address, config, memory=memory) as client:
            await client.find_abilities(spending or Spending())
            return await use(client) if use else dict(client.abilities)

    return asyncio.run(ask())


def abilities_of(server: OpenAIServer, **fields: Any) -> Abilities:
    found: dict[str, Abilities] = used(server, **fields)
    return found[server.url]


async def continue_one(client: CompletionClient) -> str:
    """Return what comes after the first step."""
    request = SampleRequest("Q Answer:", "One and one.\n", 1, to_end=False, seed=0)
    return (await client.sample(request, Spending()))[0].text


class TestContinuing:
    @pytest.mark.parametrize("continues", ["always", "flag", "prefix"])
    @pytest.mark.parametrize("trims", [False, True])
    def test_a_message_is_continued_as_the_server_wants_it(
        self, server: OpenAIServer, continues: Continues, *, trims: bool
    ):
        server.continues, server.trims = continues, trims

        assert used(server, use=continue_one) == "Two and two.\n"

    def test_llama_cpp_repeats_the_message_before_it(self, server: OpenAIServer):
        server.style = "llama"

        assert abilities_of(server).continuing is Continuing.CONTINUED
        assert used(server, use=continue_one) == "Two and two.\n"

    @pytest.mark.parametrize(
        "words", ["Unknown parameter", "Unknown parameter: 'continue_final_message'"]
    )
    def test_a_server_that_refuses_a_field_is_asked_without_it(
        self, server: OpenAIServer, words: str
    ):
        unknown = Fault(status=400, body=f'{{"error": {{"message": "{words}"}}}}')
        server.continues = "prefix"
        server.misbehave_probe = lambda body: unknown if "continue_final_message" in body else None

        assert used(server, use=continue_one) == "Two and two.\n"

    def test_a_server_that_takes_one_sample_only_is_asked_for_one(self, server: OpenAIServer):
        server.misbehave_probe = lambda body: (
            Fault(422, '{"error": {"message": "no"}}') if "n" in body else None
        )

        assert used(server, use=continue_one) == "Two and two.\n"

    def test_a_server_that_fails_is_not_taken_for_one_that_begins_again(self, server: OpenAIServer):
        server.misbehave_probe = lambda body: Fault(500, "no")

        with pytest.raises(AttemptsFailedError, match="answered 500"):
            abilities_of(server)

    def test_a_field_that_has_nothing_to_do_with_it_is_refused_as_itself(
        self, server: OpenAIServer
    ):
        unknown = Fault(400, '{"error": {"message": "Unsupported parameter: \'temperature\'"}}')
        server.misbehave_probe = lambda body: unknown if len(body["messages"]) > 1 else None

        with pytest.raises(FieldRefusedError, match="set temperature to 1"):
            abilities_of(server)

    @pytest.mark.parametrize(
        "words",
        [
            NUMBERS,  # the same again
            "Sure! Here are the first ten multiples",
            "Here are the first ten",
            "**Multiples of 7:** 7, 14",
            "1. 7\n2. 14",
            "42; 49; 56",  # a message of its own after the begun one
            "I apologize for the confusion",
            "以下是七的前十个倍数",
            "<think>\nOkay, the user",
        ],
    )
    def test_a_server_that_begins_from_the_start_is_refused_in_whatever_words(
        self, server: OpenAIServer, words: str
    ):
        server.continues, server.write_probe = "never", restart_with(words)

        with pytest.raises(BackendRefusedError, match=r"strategy='sampled', or api='completions'"):
            abilities_of(server)

        assert server.requests == []

    def test_a_thinking_server_that_begins_again_in_its_thought_is_refused(
        self, server: OpenAIServer
    ):
        server.continues, server.thoughts = "never", "reasoning_content"
        server.write_probe = restart_with("<think>Okay, the user wants")

        with pytest.raises(BackendRefusedError, match="begins the answer from the start"):
            abilities_of(server)

    def test_what_a_parser_takes_for_a_thought_may_be_the_continuation(self, server: OpenAIServer):
        server.thoughts = "reasoning_content"
        server.spoil = lambda index, choice: choice["message"].update(
            {"content": None, "reasoning_content": choice["message"]["content"]}
        )

        assert abilities_of(server).continuing is Continuing.CONTINUED

    def test_whole_solutions_need_no_continuing(self, server: OpenAIServer):
        server.continues = "never"

        assert abilities_of(server, strategy="sampled").continuing is None
        assert len(server.probes) == 1

    def test_fastchat_is_found_out_by_its_answers(self, server: OpenAIServer):
        server.style = "fastchat"

        with pytest.raises(BackendRefusedError, match="does not continue a chat message"):
            abilities_of(server)

    def test_fastchat_with_a_model_whose_answers_show_nothing_is_known_by_its_name(
        self, server: OpenAIServer
    ):
        server.style, server.write_probe = "fastchat", restart_with(", and so")

        with pytest.raises(BackendRefusedError, match="does not continue a chat message"):
            abilities_of(server)

    def test_a_small_model_that_answers_anything_is_unclear_and_not_refused(
        self, server: OpenAIServer
    ):
        server.write_probe = restart_with(", and so")

        assert abilities_of(server).continuing is Continuing.UNCLEAR
        assert used(server, use=continue_one) == "Two and two.\n"

    @pytest.mark.parametrize(
        ("text", "reply"),
        [
            ("2; 49; 56", Continuing.CONTINUED),
            (" 2, 49", Continuing.CONTINUED),
            (BEGUN + "2; 49", Continuing.CONTINUED),  # llama.cpp repeats the message
            (BEGUN, Continuing.UNCLEAR),
            ("21; 28", Continuing.UNCLEAR),
            ("9; 56", Continuing.UNCLEAR),
            ("; 49", Continuing.UNCLEAR),
            ("th of July", Continuing.UNCLEAR),
            ("", Continuing.UNCLEAR),
            ("7; 14; 21", Continuing.RESTARTED),
            ("42; 49", Continuing.RESTARTED),
            ("\n\nThe multiples", Continuing.RESTARTED),
        ],
    )
    def test_the_answer_is_read(self, text: str, reply: Continuing):
        assert read_reply(text) is reply

    def test_one_sample_that_continues_is_enough_and_one_that_restarts_is_not_overlooked(self):
        assert read_replies(["", "2; 49", "The"]) is Continuing.CONTINUED
        assert read_replies(["", "The"]) is Continuing.RESTARTED
        assert read_replies(["", "; 49"]) is Continuing.UNCLEAR


class TestBasics:
    @pytest.mark.parametrize("api", ["chat", "completions"])
    def test_few_and_cheap_requests_find_all(self, server: OpenAIServer, api: str):
        spending = Spending()
        server.continues = "never"
        fields = {"api": api, "strategy": "sampled" if api == "chat" else "branching"}

        abilities_of(server, spending=spending, **fields)
        with pytest.raises(BackendRefusedError):
            abilities_of(server, spending=spending)

        assert len(server.probes) == spending.requests == 1 + 4
        assert all(one["max_tokens"] * one["n"] <= 16 for one in server.probes)
        assert spending.completion_tokens > 0

    @pytest.mark.parametrize("api", ["chat", "completions"])
    @pytest.mark.parametrize(
        ("style", "told"),
        [
            ("vllm", EndTold.BY_NAME),
            ("sglang", EndTold.BY_NAME),
            ("llama", EndTold.IN_TOKENS),
            ("plain", EndTold.NOT),
        ],
    )
    def test_whether_the_server_says_why_it_stopped(
        self, server: OpenAIServer, style: Style, told: EndTold, api: str
    ):
        server.style = style

        assert abilities_of(server, api=api).end_told is told

    def test_a_stop_text_that_was_not_met_tells_nothing(self, server: OpenAIServer):
        server.style, server.write_probe = "plain", restart_with("a b c d e f g h i j k")

        assert abilities_of(server, strategy="sampled").end_told is None

    def test_where_stops_are_named_a_sample_without_a_name_has_ended(self, server: OpenAIServer):
        def forget_the_end(index: int, choice: dict[str, Any]) -> None:
            if choice.get("stop_reason") is None:
                choice.pop("stop_reason", None)

        server.spoil = forget_the_end

        async def last_step(client: CompletionClient) -> tuple[str, Ending, int]:
            spending = Spending()
            steps = SOLUTION[: SOLUTION.index("Three")]
            request = SampleRequest("Q Answer:", steps, 1, to_end=False, seed=0)
            (step,) = await client.sample(request, spending)
            return step.text, step.ending, spending.requests

        found = used(server, use=last_step, api="completions")

        assert found == ("Three and three.", Ending.SOLUTION, 1)

    @pytest.mark.parametrize(
        ("logprobs", "gives"), [("asked", True), ("never", False), ("refused", False)]
    )
    @pytest.mark.parametrize("api", ["chat", "completions"])
    def test_log_probabilities_are_asked_for_where_they_come(
        self, server: OpenAIServer, logprobs: Logprobs, api: str, *, gives: bool
    ):
        server.logprobs = logprobs

        used(server, use=continue_one, api=api)

        assert abilities_of(server, api=api).logprobs is gives
        assert all(("logprobs" in asked) is gives for asked in server.requests)
        assert all(("top_logprobs" in asked) is (gives and api == "chat")
                   for asked in server.requests)  # fmt: skip

    @pytest.mark.parametrize("refuses", [False, True])
    def test_the_number_of_samples_is_limited_from_the_start(
        self, server: OpenAIServer, *, refuses: bool
    ):
        server.most_samples, server.refuses_samples = 1, refuses

        async def draw(client: CompletionClient) -> int:
            request = SampleRequest("Q Answer:", "", 5, to_end=True, seed=0)
            return len(await client.sample(request, Spending()))

        assert used(server, use=draw, api="completions") == 1
        assert [asked["n"] for asked in server.requests] == [1]

    @pytest.mark.parametrize("thoughts", ["content", "reasoning", "reasoning_content", "parts"])
    def test_a_model_that_thinks_is_known_before_the_first_step(
        self, server: OpenAIServer, thoughts: Thoughts
    ):
        server.thoughts = thoughts
        thinking = "<think>Hm, well.</think>"
        server.write = writes(thinking + SOLUTION)
        server.write_probe = lambda prefix, seed: (
            write_numbers(prefix, seed) if prefix.endswith(BEGUN) else thinking + NUMBERS
        )

        async def first_step(client: CompletionClient) -> str:
            request = SampleRequest("Q Answer:", "", 1, to_end=False, seed=0)
            (step,) = await client.sample(request, Spending())
            return step.text

        assert used(server, use=first_step).endswith("One and one.\n")
        assert len(server.requests) == 1
        with pytest.raises(BackendRefusedError, match="a thought cannot be continued over chat"):
            used(server, use=first_step, reasoning="grow")

    def test_what_the_server_does_not_show_stays_unknown_and_stops_nothing(
        self, server: OpenAIServer
    ):
        server.misbehave_probe = lambda body: Fault(422, '{"error": {"message": "no"}}')

        assert used(server, api="completions") == {}
        assert used(server, use=continue_one, api="completions") == "Two and two.\n"


class TestSeveralServers:
    def test_each_is_asked_in_the_way_that_it_wants(self):
        with ExitStack() as stack:
            servers = [stack.enter_context(OpenAIServer(writes(SOLUTION))) for _ in range(3)]
            servers[0].continues = "flag"
            servers[1].continues = "prefix"
            servers[2].style = "llama"

            async def continue_many(client: CompletionClient) -> set[str]:
                return set(await asyncio.gather(*(continue_one(client) for _ in range(12))))

            assert used(*servers, use=continue_many) == {"Two and two.\n"}
            assert all(server.requests for server in servers)

    def test_one_of_them_that_begins_from_the_start_is_refused_by_its_address(
        self, server: OpenAIServer
    ):
        with OpenAIServer(writes(SOLUTION)) as other:
            other.continues = "never"

            with pytest.raises(BackendRefusedError, match=f"at {other.url} does not continue"):
                used(server, other)

    def test_one_that_is_away_is_asked_when_it_is_back(self, server: OpenAIServer, monkeypatch):
        monkeypatch.setattr("rollouts.client.endpoints.SECONDS_OF_EJECTION", 0.0)
        with OpenAIServer(writes(SOLUTION)) as other:
            other.continues = "never"
            away = [Fault(503, "away")]
            other.misbehave_probe = lambda body: away[0] if away else None

            async def continue_later(client: CompletionClient) -> None:
                away.clear()
                for _ in range(50):
                    await continue_one(client)

            with pytest.raises(BackendRefusedError, match=f"at {other.url} does not continue"):
                used(server, other, use=continue_later)
            assert other.requests == []


@pytest.mark.django_db(transaction=True)
class TestMemory:
    def test_a_later_client_asks_nothing_again(self, server: OpenAIServer):
        first = used(server, memory=DatabaseMemory())
        server.probes.clear()

        assert used(server, memory=DatabaseMemory()) == first
        assert server.probes == []
        stored = ModelServer.objects.get()
        assert (stored.server, stored.model, stored.api) == (server.url, "scripted", "chat")

    def test_of_several_that_start_at_once_one_asks_and_the_others_wait(self, server: OpenAIServer):
        server.misbehave_probe = lambda body: time.sleep(0.5)

        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(used, server, memory=DatabaseMemory()) for _ in range(4)]
            found = [job.result() for job in jobs]

        assert len(server.probes) == 2
        assert found == [found[0]] * 4

    def test_where_the_one_that_asks_is_refused_the_others_ask_themselves(
        self, server: OpenAIServer
    ):
        server.continues = "never"
        server.misbehave_probe = lambda body: time.sleep(0.2)

        with ThreadPoolExecutor(2) as pool:
            for job in [pool.submit(used, server, memory=DatabaseMemory()) for _ in range(2)]:
                with pytest.raises(BackendRefusedError):
                    job.result()

        assert ModelServer.objects.get().claimed_until is None

    def test_the_one_that_fails_gives_way_at_once(self, server: OpenAIServer):
        server.misbehave_probe = lambda body: Fault(500, "no")
        with pytest.raises(AttemptsFailedError):
            used(server, memory=DatabaseMemory())
        server.misbehave_probe = lambda body: None

        began = time.monotonic()
        used(server, memory=DatabaseMemory())

        assert time.monotonic() - began < CLAIM_LASTS.total_seconds() / 2

    def test_who_was_killed_is_not_waited_for_for_long(self, server: OpenAIServer, monkeypatch):
        monkeypatch.setattr("rollouts.probing.memory.CLAIM_LASTS", timedelta(seconds=0.5))
        key = ServerKey(server.url, "scripted", "chat")
        assert DatabaseMemory().claim(key)
        assert not DatabaseMemory().claim(key)

        assert used(server, memory=DatabaseMemory())[server.url].continuing is Continuing.CONTINUED

    def test_only_what_is_missing_is_asked(self, server: OpenAIServer):
        used(server, strategy="sampled", memory=DatabaseMemory())
        server.probes.clear()

        found = used(server, memory=DatabaseMemory())[server.url]

        assert [len(asked["messages"]) for asked in server.probes] == [2]
        assert found.continuing is Continuing.CONTINUED
        assert found.end_told is EndTold.BY_NAME

    @pytest.mark.parametrize(
        "change",
        [
            {"model": "another"},
            {"api": "completions"},
            {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
        ],
    )
    def test_another_model_api_or_body_is_asked_for_itself(
        self, server: OpenAIServer, change: dict[str, Any]
    ):
        used(server, memory=DatabaseMemory())
        server.probes.clear()

        used(server, memory=DatabaseMemory(), **change)

        assert server.probes
        assert ModelServer.objects.count() == 2

    def test_it_is_asked_again_after_a_day_and_by_who_wants_to_know_now(self, server: OpenAIServer):
        used(server, memory=DatabaseMemory())
        stored = ModelServer.objects.get()
        for memory, age in ((AskingMemory(), timedelta()), (DatabaseMemory(), FRESH_FOR)):
            server.probes.clear()
            ModelServer.objects.update(probed_at=stored.probed_at - age)

            used(server, memory=memory)

            assert len(server.probes) == 2
            assert ModelServer.objects.get().probed_at > stored.probed_at

    def test_a_server_that_was_refused_is_asked_again_as_it_may_be_mended(
        self, server: OpenAIServer
    ):
        server.continues = "never"
        with pytest.raises(BackendRefusedError):
            used(server, memory=DatabaseMemory())
        server.continues = "flag"

        assert used(server, use=continue_one, memory=DatabaseMemory()) == "Two and two.\n"

    def test_a_thinking_server_is_asked_again_where_its_thoughts_would_be_refused(
        self, server: OpenAIServer
    ):
        server.write_probe = lambda prefix, seed: (
            write_numbers(prefix, seed) if prefix.endswith(BEGUN) else "<think>Well, well"
        )
        assert used(server, memory=DatabaseMemory())[server.url].thought == "<think>"
        server.write_probe = write_numbers  # thinking was turned off

        grown = used(server, use=continue_one, memory=DatabaseMemory(), reasoning="grow")

        assert grown == "Two and two.\n"
        assert ModelServer.objects.get().abilities["thought"] == ""

    def test_what_refusals_teach_is_not_learnt_again(self, server: OpenAIServer):
        unknown = Fault(400, '{"error": {"message": "Unknown parameter: \'seed\'"}}')
        server.misbehave = lambda: unknown if "seed" in server.requests[-1] else None

        for _ in range(2):
            used(server, use=continue_one, memory=DatabaseMemory())

        assert ["seed" in asked for asked in server.requests] == [True, False, False]

    def test_a_limit_that_greedy_samples_have_is_not_kept_for_others(self, server: OpenAIServer):
        server.most_samples, server.refuses_samples = 1, True
        used(server, temperature=0.0, memory=DatabaseMemory())
        server.most_samples = 8

        assert used(server, memory=DatabaseMemory())[server.url].learnt == Learnt()

    def test_what_is_known_already_is_not_written_again(self, server: OpenAIServer, monkeypatch):
        used(server, memory=DatabaseMemory())

        def fail(*_: object) -> None:
            pytest.fail("it was written")

        monkeypatch.setattr(DatabaseMemory, "keep", fail)
        monkeypatch.setattr(DatabaseMemory, "keep_learnt", fail)

        assert used(server, use=continue_one, memory=DatabaseMemory()) == "Two and two.\n"

    def test_a_server_that_came_back_with_another_model_is_asked_again(self, server: OpenAIServer):
        used(server, memory=DatabaseMemory(), model="scripted")
        server.probes.clear()
        server.answers_as = lambda _: "restarted"

        async def continue_twice(client: CompletionClient) -> None:
            await continue_one(client)
            await continue_one(client)

        used(server, use=continue_twice, memory=DatabaseMemory(), model="scripted")

        assert len(server.probes) == 2
        assert ModelServer.objects.get().abilities["answers_as"] == "restarted"

    def test_a_server_that_no_longer_continues_is_asked_again_and_refused(
        self, server: OpenAIServer
    ):
        used(server, memory=DatabaseMemory())
        server.continues = "never"

        async def continue_many(client: CompletionClient) -> None:
            for _ in range(8):
                await continue_one(client)

        with pytest.raises(BackendRefusedError, match="begins the answer from the start"):
            used(server, use=continue_many, memory=DatabaseMemory())
        assert ModelServer.objects.get().abilities["continuing"] == "restarted"

    def test_a_record_of_another_version_is_not_used(self, server: OpenAIServer):
        used(server, memory=DatabaseMemory())
        ModelServer.objects.update(abilities={"no": "such"})
        server.probes.clear()

        used(server, memory=DatabaseMemory())

        assert len(server.probes) == 2

    def test_abilities_are_read_as_they_were_written(self):
        abilities = Abilities(
            asked=["basics"],
            continuing=Continuing.UNCLEAR,
            continued_by="prefix",
            end_told=EndTold.IN_TOKENS,
            learnt=Learnt({"a": "b"}, ["seed"], 4, 100, ["a note"]),
        )
        key = ServerKey("http://one/v1", "m", "chat")

        DatabaseMemory().keep(key, abilities)

        assert DatabaseMemory().recall(key) == abilities
        assert DatabaseMemory().recall(ServerKey("http://one/v1/", "m", "chat")) == abilities


def test_a_field_that_is_needed_is_tried_again():
    dialect = Dialect(needed=["logprobs"])

    dialect.recall(Learnt(omitted=["logprobs", "seed"]))

    assert dialect.omitted == {"seed"}


class TestRestartWatch:
    MESSAGE = "First, add two and two.\nThen go on."

    def test_samples_that_begin_as_the_message_begins_are_seen(self):
        watch = RestartWatch()

        seen = [watch.sees_restarting(self.MESSAGE, ["first,  add two and two"]) for _ in range(4)]

        assert seen == [False, False, False, True]

    def test_a_step_that_is_written_twice_now_and_then_is_no_restart(self):
        watch = RestartWatch()

        seen = [
            watch.sees_restarting(self.MESSAGE, ["Add four.", "So 4.", "First, add two and two."])
            for _ in range(12)
        ]

        assert not any(seen)

    def test_a_message_that_is_too_short_tells_nothing(self):
        watch = RestartWatch()

        assert not any(watch.sees_restarting("2 + 2\n", ["2 + 2"]) for _ in range(9))


@pytest.mark.django_db(transaction=True)
class TestJobs:
    def test_a_job_stops_before_it_grows_against_a_server_that_begins_from_the_start(
        self, model_server: OpenAIServer
    ):
        model_server.continues = "never"
        forest = seeded(4, api="chat")

        with pytest.raises(BackendRefusedError, match="does not continue"):
            grow_slice(forest.name, 0, 4)

        assert "does not continue a chat message" in reread(forest).stop_reason
        assert reread(forest).num_nodes == 0
        assert model_server.requests == []
        assert len(model_server.probes) <= 4

    @pytest.mark.parametrize("max_requests", [None, 100])
    @pytest.mark.parametrize("refusal", ["begins again", "opens thoughts", "grows thoughts"])
    def test_what_a_refused_job_asked_counts_against_the_forest(
        self, model_server: OpenAIServer, refusal: str, max_requests: int | None
    ):
        settings: dict[str, Any] = {"reasoning": "grow"} if refusal == "grows thoughts" else {}
        model_server.continues = "never" if refusal == "begins again" else "always"
        if refusal == "opens thoughts":
            model_server.write = writes("Hm.</think>\n#### 14\n")
        elif refusal == "grows thoughts":
            model_server.write = writes("<think>Hm.</think>\n#### 14\n")
        forest = seeded(2, api="chat", **settings)
        Forest.objects.update(max_requests=max_requests)

        for _ in range(2):
            with pytest.raises(BackendRefusedError):
                grow_slice(forest.name, 0, 2)

        used = reread(forest).used
        assert used.requests == model_server.num_asked > 0
        assert used.completion_tokens > 0
        assert reread(forest).reserved == Usage()

    def test_where_it_is_unclear_growth_stops_at_the_first_samples_that_begin_again(
        self, model_server: OpenAIServer
    ):
        model_server.write = restart_with(" Let us try it.\n#### 3 or so\n")
        model_server.write_probe, model_server.continues = restart_with(", and so"), "never"
        forest = seeded(4, api="chat", branching=[8, 4])

        with pytest.raises(BackendRefusedError, match="does not continue"):
            grow_slice(forest.name, 0, 4)

        assert "it begins it again" in reread(forest).stop_reason
        assert ModelServer.objects.get().abilities["continuing"] == "restarted"

    def test_jobs_of_a_forest_share_what_is_known_and_the_trees_count_what_it_cost(
        self, model_server: OpenAIServer
    ):
        forest = seeded(4, api="chat")

        grow_slice(forest.name, 0, 2)
        grow_slice(forest.name, 2, 4)

        assert_whole(forest)
        assert len(model_server.probes) == 2
        spent = len(model_server.requests) + len(model_server.probes)
        assert reread(forest).requests == spent
