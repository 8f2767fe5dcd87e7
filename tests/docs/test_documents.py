"""What README and docs show is run."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.loading import load_config
from forests.core.tree import ReasoningTree
from forests.seeding import check_item, iterate_items
from rollouts.core.completions import Completion, Ending

_COMMAND = re.compile(r"^python manage\.py (\w[\w-]*)(.*)$", re.MULTILINE)


def python_blocks(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", Path(document).read_text(), re.DOTALL)


def test_the_config_of_the_readme_can_be_used(tmp_path: Path):
    source = next(block for block in python_blocks("README.md") if "class Config" in block)
    assert "/data/svamp-" in source
    (tmp_path / "svamp.py").write_text(source.replace("/data/svamp-", f"{tmp_path}/svamp-"))
    (tmp_path / "svamp-test.json").write_text(
        '[{"Body": "Bob had 3 apples.", "Question": "He ate 1. How many now?", "Answer": 2.0}]'
    )

    config = load_config("svamp", [tmp_path]).config

    (item,) = iterate_items(config, "test")
    prompt, label, _ = check_item(config, item)
    assert str(prompt).endswith("Question: Bob had 3 apples. He ate 1. How many now?\nAnswer:")
    assert config.is_correct("2", label)
    assert config.rollout_worker_config.problems() == []


def test_the_strategy_of_the_guide_grows_a_tree():
    namespace: dict[str, Any] = {}
    exec(python_blocks("docs/extending.md")[0], namespace)  # noqa: S102  our own document
    strategy = namespace["TwoByTwo"](RolloutWorkerConfig(), lambda _: False)
    tree = ReasoningTree()

    while expansions := strategy.plan(tree):
        for expansion in expansions:
            texts = [f"step {expansion.seed} {n}\nend\n" for n in range(expansion.num_samples)]
            completions = [Completion(text, Ending.SOLUTION) for text in texts]
            strategy.apply(tree, expansion, completions)

    assert len(tree.children(())) == 2
    assert [len(tree.children(node.path)) for node in tree.children(())] == [3, 3]


def commands_of_the_readme() -> list[tuple[str, list[str]]]:
    return [(name, rest.split()) for name, rest in _COMMAND.findall(Path("README.md").read_text())]


def test_the_readme_shows_the_whole_flow():
    names = [name for name, _ in commands_of_the_readme()]

    for name in (
        "services", "verify_config", "seed_forest", "rollout_worker", "populate_forest",
        "rqworker", "beam_search", "create_preferences", "export_preferences",
    ):  # fmt: skip
        assert name in names


@pytest.mark.parametrize("name", sorted({name for name, _ in commands_of_the_readme()}))
def test_the_commands_of_the_readme_have_the_options_it_shows(name: str):
    done = subprocess.run(
        [sys.executable, "manage.py", name, "--help"], capture_output=True, text=True, check=True
    )

    for shown, arguments in commands_of_the_readme():
        if shown == name:
            options = [argument for argument in arguments if argument.startswith("--")]
            assert [option for option in options if option not in done.stdout] == []
