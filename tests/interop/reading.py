"""Export a forest, and let a consumer read the files in its own environment."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from forests.models import Forest
from tests.forests.factories import QUESTION
from tests.interop.consumers import CONSUMERS, READERS

FOLDER = os.environ.get("INTEROP", "")

if not FOLDER:
    pytest.skip("needs environments: run make test-interop", allow_module_level=True)

ADD, SUBTRACT = " Add: 2 + 3 = 5 — naïve, 足す.\n", "\tSubtract: 3 - 2 = 1 \n"
SOLUTIONS = (  # of `addition_tree`, with labels
    (ADD, "The answer is 5", [1, 1]),
    (ADD, "The answer is 6", [1, 0]),
    (SUBTRACT, "The answer is 1", [1, 0]),
    (SUBTRACT, "  The answer is 5", [1, 1]),
)
TEXT = f"Question: {QUESTION}\nAnswer:"


def read(
    consumer: str, kind: str, forest: Forest, name: str, container: str, output: Path, *more: str
) -> dict[str, Any]:
    """Export a forest, and return what the consumer reads from the files."""
    one = CONSUMERS[consumer]
    if one.checkout and not os.environ.get(one.checkout):
        pytest.skip(f"{one.name} has no package: {one.checkout} names a checkout of its source")
    words = ["--forest_name", forest.name, "--format", name, "--container", container]
    call_command("export_preferences", *words, "--output", str(output), *more)
    done = subprocess.run(
        [one.python(Path(FOLDER)), READERS / one.reader, kind, output, container],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": f"{output}-home"},
        cwd=output.parent,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def assert_trained(found: dict[str, Any]) -> None:
    assert found["steps"] == len(found["losses"]) == 2
    assert found["finite"]
    assert found["changed"]


def split(parts: list[list[Any]]) -> tuple[str, str]:
    """Return the text that the trainer does not learn, and the text that it learns after that."""
    text = "".join(part for part, _ in parts)
    learnt = "".join(part for part, is_learnt in parts if is_learnt)
    assert text.endswith(learnt)
    return text[: len(text) - len(learnt)], learnt


def joined(parts: list[list[Any]]) -> tuple[tuple[str, bool], ...]:
    """Return the parts in a form that a set can hold."""
    return tuple((text, is_learnt) for text, is_learnt in parts)


def chat_text(*turns: tuple[str, str]) -> str:
    """Return the text of a chat by the template of `readers/tiny.py`."""
    return "".join(f"<|{role}|>{content}</s>" for role, content in turns)
