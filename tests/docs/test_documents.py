"""The examples in README and docs work."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class

from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.loading import load_config
from forests.core.items import check_item, iterate_items
from forests.core.tree import ReasoningTree
from rollouts.steps.completions import Completion, Ending

_COMMAND = re.compile(r"(?:^|`)python manage\.py ([a-z][^`\n]*)", re.MULTILINE)


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", Path(document).read_text(), re.DOTALL)


def python_blocks(document: str) -> list[str]:
    return blocks(document, "python")


def test_the_config_of_the_guide_can_be_used(tmp_path: Path):
    source = next(block for block in python_blocks("docs/configs.md") if "class Config" in block)
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


def test_the_config_for_a_reasoning_model_can_be_used(tmp_path: Path):
    (source,) = python_blocks("docs/reasoning-models.md")
    (tmp_path / "chat_template.jinja").write_text("{{ messages[0].content }}|{{ enable_thinking }}")
    (tmp_path / "mine.py").write_text(
        source.replace('late("Qwen/Qwen3-4B")', f'late("{tmp_path}")')
    )

    config = load_config("mine", [tmp_path]).config

    (item,) = iterate_items(config, "test")
    assert check_item(config, item)[:2] == ("2 + 3?|True", "5")
    assert config.rollout_worker_config.problems() == []


def test_the_strategy_of_the_guide_grows_a_tree():
    namespace: dict[str, Any] = {}
    exec(python_blocks("docs/extending.md")[0], namespace)  # noqa: S102  our own document
    strategy = namespace["TwoByTwo"](RolloutWorkerConfig(), lambda *_: None)
    tree = ReasoningTree()

    while expansions := strategy.plan(tree):
        for expansion in expansions:
            texts = [f"step {expansion.seed} {n}\nend\n" for n in range(expansion.num_samples)]
            completions = [Completion(text, Ending.SOLUTION) for text in texts]
            strategy.apply(tree, expansion, completions)

    assert len(tree.children(())) == 2
    assert [len(tree.children(node.path)) for node in tree.children(())] == [3, 3]


def documents() -> list[str]:
    return [*sorted(map(str, [*Path().glob("*.md"), *Path("docs").rglob("*.md")]))]


def commands_of(document: str) -> list[str]:
    """Return the commands on lines of their own and in tables, as they are typed, each once."""
    lines = [line.strip() for line in _COMMAND.findall(Path(document).read_text())]
    return list(dict.fromkeys(lines))


def test_the_readme_shows_the_whole_flow():
    names = {line.split()[0] for line in commands_of("README.md")}

    assert names >= {
        "services", "verify_config", "seed_forest", "rollout_worker", "populate_forest",
        "rqworker", "beam_search", "create_preferences", "export_preferences",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("document", "line"),
    [(document, line) for document in documents() for line in commands_of(document)],
)
def test_a_command_that_a_document_shows_can_be_typed(document: str, line: str):
    name, *arguments = shlex.split(line)
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("manage.py", name)
    parser.called_from_command_line = False  # raises an error instead of an exit
    parser.parse_args(arguments)


APPS = (
    "common", "experiment_configs", "forests", "rollouts", "metrics", "preferences", "prm_site",
)  # fmt: skip


def folders_of_the_apps() -> set[str]:
    """Return the folders with code of our own, except commands and migrations."""
    return {
        str(module.parent)
        for app in APPS
        for module in Path(app).rglob("*.py")
        if module.name != "__init__.py" and not re.search(r"migrations|management", str(module))
    }


def test_the_table_of_folders_is_the_tree():
    text = Path("docs/architecture.md").read_text()
    named = re.findall(r"^\| \**`([\w/]+)/`\** \|", text, re.MULTILINE)

    assert [folder for folder in named if not Path(folder).is_dir()] == []
    missing = folders_of_the_apps() - set(named)
    assert [one for one in missing if not any(other.startswith(f"{one}/") for other in named)] == []


@pytest.mark.parametrize("document", documents())
def test_every_file_of_ours_that_a_document_names_is_there(document: str):
    top = "|".join([*APPS, "tests", "benchmarks", "deploy", "templates"])
    named = re.findall(rf"`((?:{top})/[\w/.-]+\.\w+)`", Path(document).read_text())
    if document != "CHANGELOG.md":  # it also names what earlier releases had
        assert [path for path in named if not Path(path).exists()] == []
