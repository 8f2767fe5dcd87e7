"""Every block of commands in the documents is run, in the order of its document.

Commands of ours run as they are typed, on the embedded database and queue, against a scripted model
server, in an empty directory. A command that stays running, such as a worker, is started, checked,
and stopped. Commands that need another machine are listed with the reason.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import ManagementUtility, call_command
from django.db import connection
from redis import Redis

from forests.core.naming import index_of_tree
from forests.core.tree import format_path
from forests.core.values import estimate_values
from forests.models import Forest
from forests.storage.scores import start_scorer, write_scores
from forests.storage.trees import delete_forest, iter_trees
from prm_site.services.processes import free_port
from prm_site.services.registry import running_addresses
from rollouts.workers.jobs import grow_slice
from tests.docs.test_documents import documents, python_blocks
from tests.openai_server import OpenAIServer
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path.cwd()
SCORERS = {"docs/metrics.md": "shepherd", "docs/train-a-prm.md": "mine"}
"""Scorers of the first forest, in documents that begin after `score_nodes`."""

FIRST, COPY = "gsm8k_baseline-test-first", "gsm8k_baseline-test-copy"

NOT_RUN = {
    "make test": "it is what runs this",
    "TEST_MONGODB_URI=": "the same; tests/servers.py is what reads it",
    "make demo": "tests/prm_site/test_installed.py runs its stages",
    "make install": "it made the environment that runs this",
    "pip install ": "tests/prm_site/test_installed.py installs the wheel, without a registry",
    "prm demo": "the same",
    "python -m pytest ": "the same as `make test`",
    "make test-backends": "installs 7 GB",
    "make mutants": "takes minutes, and no test of this is meant to",
    "make bench": "takes minutes: tests/benchmarks runs it with small ones",
    "docker ": "there is no engine here: see tests/deployment",
    "cp .env.example .env": "it would change the checkout",
    "useradd ": "changes the machine",
    "git clone REPOSITORY": "changes the machine",
    "python3 -m venv /opt/": "changes the machine",
    "/opt/prm-site/": "changes the machine",
    "install ": "changes the machine",
    "cp /opt/": "changes the machine",
    "cd /opt/": "changes the machine",
    "PRM_ENV_FILE=/etc/": "changes the machine",
    "SITE=": "tests/prm_site/test_json.py runs this login",
    "TOKEN=": "the same",
    "curl ": "asks what systemd started: tests/deployment starts it itself",
    "systemctl ": "changes the machine: tests/deployment reads the units",
    "hf upload ": "no hub can be reached here",
    "mongodump ": "no package of it can be installed here",
    "mongorestore ": "no package of it can be installed here",
    "VLLM_CPU_KVCACHE_SPACE=": "`make test-backends` runs it",
    "python -m fastchat.": "`make test-backends` runs it",
    "python -m sglang.": "`make test-backends` runs it",
}
"""The beginnings of command lines that are not run, and why."""

_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_OURS = re.compile(r"^(?:\.venv/bin/)?python manage\.py ")
_ANY_COMMAND = re.compile(r"^(?:python3? |make |docker |systemctl |git |pip |export )")


def command_lines(document: str) -> list[str]:
    """Return the lines of the blocks of commands, continued lines as one."""
    blocks = [text for kind, text in _BLOCK.findall((ROOT / document).read_text()) if kind == "sh"]
    return "".join(blocks).replace("\\\n", " ").splitlines()


def why_not_run(line: str) -> str | None:
    return next((why for start, why in NOT_RUN.items() if line.startswith(start)), None)


class Shell:
    """Runs command lines in a directory of their own."""

    def __init__(self, directory: Path, server: OpenAIServer, patch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.patch = patch
        patch.chdir(directory)
        patch.setenv("PRM_DATABASE_NAME", str(connection.settings_dict["NAME"]))
        patch.setenv("OPENAI_BASE_URL", server.url)
        patch.setenv("DJANGO_SUPERUSER_PASSWORD", "correct-horse")

    def run(self, line: str) -> None:
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            self.patch.setenv(name, value.replace("/path/to/gsm8k", str(self.directory / "gsm8k")))
            return
        assert _OURS.match(line), f"not known how to run {line!r}"
        name, *arguments = shlex.split(_OURS.sub("", line))
        if name in BACKGROUND:
            BACKGROUND[name](self, [name, *arguments])
            return
        self.prepare(name)
        if name == "createsuperuser":
            arguments += ["--noinput", "--username", "root", "--email", "root@example.org"]
        try:
            ManagementUtility(["manage.py", name, *arguments]).execute()
        except SystemExit as end:
            assert not end.code, line  # noqa: PT017  an exit code, not a failure to expect

    def prepare(self, name: str) -> None:
        """Do what the text around a command says has been done."""
        if name == "import_forest" and (self.directory / "backups" / "first").exists():
            for forest in Forest.objects.filter(pk=FIRST):
                delete_forest(forest)

    def start(self, words: list[str], **variables: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, str(ROOT / "manage.py"), *words]
        return subprocess.Popen(command, env=os.environ | variables, cwd=self.directory)


def run_services(shell: Shell, words: list[str]) -> None:
    """Start all three services, on a data directory of their own."""
    data = shell.directory / "data"
    unset = dict.fromkeys(("MONGODB_URI", "REDIS_URL", "OPENAI_BASE_URL"), "")
    child = shell.start(words, PRM_DATA_DIR=str(data), **unset)
    try:
        wait_until(lambda: running_addresses(data).keys() >= {"mongodb", "queue", "model"}, 120)
    finally:
        child.terminate()
        child.wait(30)


def run_site(shell: Shell, words: list[str]) -> None:
    port = free_port(0)

    def shows_login() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{FIRST}/", timeout=5) as page:
                return b"Log in" in page.read()
        except OSError:
            return False

    child = shell.start([*words, str(port), "--noreload"])
    try:
        wait_until(shows_login, 60)
    finally:
        child.terminate()
        child.wait(30)


def run_workers(shell: Shell, words: list[str]) -> None:
    expected = int(words[words.index("--num-workers") + 1]) if "--num-workers" in words else 1
    child = shell.start([*words, "-v", "0"])
    try:
        with Redis.from_url(django_settings.REDIS_URL) as redis:
            wait_until(lambda: redis.scard("rq:workers") == expected, 60)
    finally:
        child.terminate()
        child.wait(60)


BACKGROUND: dict[str, Callable[[Shell, list[str]], None]] = {
    "services": run_services,
    "runserver": run_site,
    "rqworker": run_workers,
    "rqworker-pool": run_workers,
}


@pytest.fixture
def shell(
    tmp_path: Path, model_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, queue, settings
) -> Shell:
    settings.STATIC_ROOT = tmp_path / "staticfiles"
    (tmp_path / "gsm8k").mkdir()
    items = [{"question": f"What is {n} modulo 2?", "answer": f"#### {n % 2}"} for n in range(5)]
    write_lines(tmp_path / "gsm8k" / "test.jsonl", items)
    write_lines(tmp_path / "samples.jsonl", [{"label": "1", "answers": ["1", "0"] * 32}])
    steps = [{"text": "1", "correct": True}, {"text": "0"}]
    write_lines(tmp_path / "trees.jsonl", [{"prompt": "1?", "label": "1", "children": steps}])
    root = {
        "text": "1 + 1?",
        "mc_value": 0.5,
        "children": [{"text": "The answer is 2.", "mc_value": 1.0, "children": []}],
    }
    omega = {"question": "1 + 1?", "final_answer": "2", "reasoning_steps": root}
    write_lines(tmp_path / "omega.jsonl", [omega])
    (tmp_path / "math").mkdir()
    write_lines(tmp_path / "math" / "test.jsonl", [{"problem": "1 + 1?", "answer": "2"}] * 2)
    (tmp_path / "math" / "chat_template.jinja").write_text("{{ messages[0].content }}\n")
    monkeypatch.setenv("MATH_500_DATA_DIR", str(tmp_path / "math"))
    monkeypatch.setenv("MATH_500_CHAT_TEMPLATE", str(tmp_path / "math"))
    model_server.models.append("Qwen/Qwen3-4B")
    return Shell(tmp_path, model_server, monkeypatch)


def write_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def grow(shell: Shell, suffix: str) -> Forest:
    """Make a forest as the tutorial does."""
    shell.run("export GSM8K_DATA_DIR=/path/to/gsm8k")
    call_command(
        "seed_forest", dataset_config_name="gsm8k_baseline", dataset_split="test",
        forest_name_suffix=suffix,
    )  # fmt: skip
    forest = Forest.objects.get(pk=f"gsm8k_baseline-test-{suffix}")
    grow_slice(forest.name, 0, forest.num_trees)
    return forest


def prepare(shell: Shell, document: str) -> None:
    """Make what a document needs at its start: how-tos begin where the tutorial ends."""
    if document in ("README.md", "docs/tutorial.md"):
        return
    forest = grow(shell, "first")
    if document == "docs/metrics.md":
        call_command("beam_search", forest_name=grow(shell, "copy").name)
    if document in SCORERS:
        scores = {
            stored.id: {node.path: 0.5 for node in stored.tree if node.path}
            for stored in iter_trees(forest)
        }
        write_scores(start_scorer(forest, SCORERS[document], {}), scores)


def test_the_values_that_the_page_on_pandas_computes_are_those_of_leaf_mean(shell: Shell):
    prepare(shell, "docs/pandas.md")
    for line in command_lines("docs/pandas.md"):
        shell.run(line)
    found: dict[str, Any] = {}
    for block in python_blocks(str(ROOT / "docs" / "pandas.md")):
        exec(block, found)  # noqa: S102  our own document

    assert found["values"] == {
        (index_of_tree(stored.id), format_path(path)): value.value
        for stored in iter_trees(Forest.objects.get(pk=FIRST))
        for path, value in estimate_values(stored.tree, "leaf_mean").items()
    }
    assert len(found["pairs"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("document", [one for one in documents() if command_lines(one)])
def test_every_block_of_commands_runs(document: str, shell: Shell):
    lines = [line for line in command_lines(document) if why_not_run(line) is None]
    if lines:
        prepare(shell, document)
    for line in lines:
        shell.run(line)


def test_what_is_not_run_is_in_some_document():
    lines = [line for document in documents() for line in command_lines(document)]

    assert [one for one in NOT_RUN if not any(line.startswith(one) for line in lines)] == []


@pytest.mark.parametrize("document", documents())
def test_commands_stand_in_blocks_that_say_so(document: str):
    others = [text for kind, text in _BLOCK.findall((ROOT / document).read_text()) if kind != "sh"]

    assert [line for text in others for line in text.splitlines() if _ANY_COMMAND.match(line)] == []
