"""After a run with every kind of failure, the keys are only in the environment."""

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from django.db import connection
from django.test import Client
from django_mongodb_backend.base import DatabaseWrapper
from rq.queue import Queue

from tests.forked_commands import run_command
from tests.openai_server import Fault, OpenAIServer
from tests.processes import on_test_database

KEY = "sk-very-secret-0123456789"
FOREST = "demo_arithmetic-train-secret"

pytestmark = pytest.mark.django_db(transaction=True)


class Site:
    """Runs commands as processes, and keeps all that they write."""

    def __init__(self, directory: Path, server: OpenAIServer) -> None:
        self.directory = directory
        self.said = ""
        self.environment = on_test_database(
            OPENAI_BASE_URL=server.url,
            OPENAI_API_KEY=KEY,
            SCORER_BASE_URL=server.url,
            SCORER_API_KEY=KEY,
            PRM_LOG_LEVEL="DEBUG",
        )

    def run(self, *arguments: str, status: int = 0) -> None:
        done = run_command(arguments, env=self.environment)
        self.said += f"{done.stdout}{done.stderr}\n"
        assert done.returncode == status, done.stderr[-2000:]


@pytest.fixture
def site(tmp_path: Path, model_server: OpenAIServer, queue: Queue, settings) -> Site:
    settings.OPENAI_API_KEY = settings.SCORER_API_KEY = KEY
    return Site(tmp_path, model_server)


def stored_documents() -> Iterator[str]:
    database = cast("DatabaseWrapper", connection).database
    for name in database.list_collection_names():
        for document in database[name].find():
            yield f"{name}: {document}"


def queued_values(queue: Queue) -> Iterator[str]:
    """Yield all that the queue's server holds.

    Each value is read by its type: `DUMP` compresses long texts, which would hide a key.
    """
    server: Any = queue.connection
    readers: dict[bytes, Callable[[bytes], Any]] = {
        b"string": lambda key: [server.get(key)],
        b"list": lambda key: server.lrange(key, 0, -1),
        b"set": lambda key: list(server.smembers(key)),
        b"zset": lambda key: server.zrange(key, 0, -1),
        b"hash": lambda key: [one for pair in server.hgetall(key).items() for one in pair],
        b"stream": lambda key: [
            one for _, fields in server.xrange(key) for pair in fields.items() for one in pair
        ],
    }
    for key in server.scan_iter():
        for value in readers[server.type(key)](key):
            forms = [form.decode(errors="replace") for form in forms_of(value)]
            yield f"{key!r}: {forms}"


def forms_of(value: bytes) -> Iterator[bytes]:
    """Yield a value as it is stored and as it was: RQ compresses data and errors of jobs."""
    yield value
    with suppress(zlib.error):
        yield zlib.decompress(value)
    with suppress(ValueError, zlib.error):
        yield (decoded := base64.b64decode(value, validate=True))
        yield zlib.decompress(decoded)


def test_no_form_of_a_value_in_the_queue_hides_a_key(queue: Queue):
    server, long = queue.connection, f"{'a' * 500} {KEY} {'a' * 500}"
    error = base64.b64encode(zlib.compress(long.encode()))
    server.set("string", long)
    server.rpush("list", "first", long)
    server.sadd("set", long)
    server.zadd("zset", {long: 1})
    server.hset("hash", mapping={"data": zlib.compress(long.encode()), long: "last"})
    server.xadd("stream", {"exc_string": error})

    found = [line.partition(":")[0] for line in queued_values(queue) if KEY in line]
    assert sorted(found) == [
        "b'hash'", "b'hash'", "b'list'", "b'set'", "b'stream'", "b'string'", "b'zset'",
    ]  # fmt: skip


def pages(client: Client) -> Iterator[str]:
    """Yield the texts of pages of the forest, of pages of the admin, and of monitoring."""
    addresses = [f"/{FOREST}/{part}" for part in ("", "trees/0/", "metrics/", "preferences/")]
    models = ("forests/forest", "forests/tree", "preferences/preferenceset")
    addresses += [f"/admin/{model}/" for model in models]
    addresses += [f"/admin/forests/forest/{FOREST}/change/", "/admin/queue/"]
    addresses += ["/healthz", "/readyz", "/metrics"]
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code in (200, 503), address
        yield answer.text


@pytest.mark.slow
def test_no_key_is_in_database_queue_files_pages_or_logs(
    site: Site, model_server: OpenAIServer, queue: Queue, admin_client: Client
):
    repeated = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}})
    split = ("--dataset_split", "train")
    forest = ("--forest_name", FOREST)
    site.run("verify_config", "--config_name", "demo_arithmetic", *split, "--with_backend")
    site.run(
        "seed_forest", "--dataset_config_name", "demo_arithmetic", *split,
        "--forest_name_suffix", "secret", "--limit", "4",
    )  # fmt: skip
    # A tree fails with a message that repeats the key; at the retry, the refusal repeats it too.
    model_server.faults.append(Fault(400, repeated))
    site.run("rollout_worker", "--num_processes", "1", *forest, status=3)
    failed = [*stored_documents(), *queued_values(queue)]
    site.run("retry_failed", *forest)
    model_server.faults.extend([Fault(500, repeated), Fault(401, repeated)])
    site.run("rollout_worker", "--num_processes", "1", *forest, status=1)
    site.run("populate_forest", *forest)
    model_server.faults.extend([Fault(500, repeated), Fault(401, repeated)])
    site.run("rqworker", "rollouts", "--burst")
    stopped = [*stored_documents(), *queued_values(queue)]
    model_server.faults.clear()
    site.run("populate_forest", *forest)
    site.run("beam_search", "--num_beam_values", "1", *forest, "--json")
    site.run("create_preferences", "--min_confidence", "0", *forest)
    exports = site.directory / "exports"
    site.run(
        "export_preferences", "--format", "trl", "--container", "jsonl,dataset", *forest,
        "--output", str(exports / "pairs"),
    )  # fmt: skip
    site.run("export_forest", *forest, "--output", str(exports / "forest"))
    model_server.faults.extend([Fault(401, repeated)] * 9)
    site.run(
        "verify_config", "--config_name", "demo_arithmetic", *split, "--with_backend", status=1
    )

    files = [path for path in exports.rglob("*") if path.is_file()]
    places = {
        "database and queue, failed": "\n".join(failed),
        "database and queue, stopped": "\n".join(stopped),
        "database": "\n".join(stored_documents()),
        "queue": "\n".join(queued_values(queue)),
        "pages": "\n".join(pages(admin_client)),
        "files": "\n".join(path.read_bytes().decode(errors="replace") for path in files),
        "output and logs": site.said,
    }

    # The messages are there, so the key would be there too.
    assert "BackendRefusedError" in places["database and queue, stopped"]
    assert "Incorrect API key provided: …" in places["database and queue, failed"]
    assert "Incorrect API key provided: …" in places["database and queue, stopped"]
    assert "Incorrect API key provided: …" in places["output and logs"]
    assert FOREST in places["queue"]
    assert len(files) > 4
    lines = [(place, line) for place, text in places.items() for line in text.splitlines()]
    assert [one for one in lines if KEY in one[1]] == []
