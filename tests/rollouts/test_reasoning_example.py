"""The example config of a reasoning model, grown through its chat template over completions."""

import json

import pytest
from django.core.management import call_command

from forests.models import Forest
from forests.storage.trees import iter_trees
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer

pytestmark = pytest.mark.django_db

THOUGHTS = [
    "<think>\nLet me add.\n\n",
    "Maybe \\boxed{6}? Wait.\n\n",
    "No, 2 + 3 is 5.\n</think>\n\n",
    "**Sum**\n\n",
    "So \\boxed{5}.",
]
PROMPT = "<|im|>user\n2 + 3?\n\n"
TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im|>' + message.role + '\\n' + message.content|trim + '<|me|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im|>assistant\\n' }}{% endif %}
"""


def think(prefix: str, seed: int) -> str:
    """Continue the thought wherever the prefix ends. The last sample errs."""
    _, _, done = prefix.partition("<|im|>assistant\n")
    whole = "".join(THOUGHTS)
    if done and not whole.startswith(done):
        return "I am lost"
    rest = whole[len(done) :]
    return rest.replace("{5}", "{7}") if seed % 4 == 3 else rest


@pytest.fixture
def forest(model_server: OpenAIServer, tmp_path, monkeypatch) -> Forest:
    (tmp_path / "test.jsonl").write_text(json.dumps({"problem": "2 + 3?", "answer": "5"}) + "\n")
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    monkeypatch.setenv("MATH_500_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MATH_500_CHAT_TEMPLATE", str(tmp_path))
    model_server.write = think
    model_server.models = ["Qwen/Qwen3-4B"]
    call_command(
        "seed_forest", dataset_config_name="math_500_reasoning", dataset_split="test",
        forest_name_suffix="first",
    )  # fmt: skip
    grow_slice("math_500_reasoning-test-first", 0, 1)
    return Forest.objects.get(pk="math_500_reasoning-test-first")


def test_each_path_is_what_the_model_wrote_and_was_given(forest, model_server):
    [stored] = iter_trees(forest)

    assert stored.prompt.startswith(PROMPT)
    assert stored.prompt.endswith("within \\boxed{}.<|me|>\n<|im|>assistant\n")
    assert stored.status == "complete"
    texts = {stored.tree.steps_text(leaf.path) for leaf in stored.tree.leaves()}
    right, wrong = "".join(THOUGHTS), "".join(THOUGHTS).replace("{5}", "{7}")
    assert right in texts
    assert texts <= {right, wrong}
    for request in model_server.requests:
        given = request["prompt"]
        assert given.startswith(stored.prompt)
        assert any((stored.prompt + text).startswith(given) for text in texts)


def test_what_is_tried_in_the_thought_ends_nothing(forest):
    [stored] = iter_trees(forest)

    leaves = stored.tree.leaves()
    assert {leaf.answer for leaf in leaves} <= {"5", "7"}
    assert all(leaf.terminal and not leaf.truncated for leaf in leaves)
    assert all(node.text.strip() for node in stored.tree if node.path)
    assert forest.num_correct > 0
    assert forest.num_truncated == 0
