"""Plugins that another package adds by entry points, such as the package in docs/extending.md."""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from forests.core.estimators import EstimatorError, choose_estimator, own_estimator
from forests.models import Forest, Scorer, Tree
from forests.storage.scores import read_scores
from preferences.export.writing import FORMATS
from rollouts.growing.growing_process import load_frozen_config
from rollouts.growing.needs_of_jobs import OtherConfigError
from rollouts.strategies import STRATEGIES
from rollouts.workers.jobs import grow_slice
from tests.docs.test_documents import blocks
from tests.openai_server import OpenAIServer
from tests.reward_server import RewardServer
from tests.rollouts.forests import assert_whole

pytestmark = pytest.mark.django_db(transaction=True)

DOCUMENT = "docs/extending.md"
CONFIG = """
from experiment_configs.interfaces import RolloutWorkerConfig
from experiment_configs.rollout.demo_arithmetic import Config as Arithmetic


class Config(Arithmetic):
    rollout_worker_config = RolloutWorkerConfig(strategy="two_by_two")
"""


def install(
    folder: Path, name: str, version: str, points: Mapping[str, Mapping[str, str]], code: str = ""
) -> None:
    """Put a package into a folder as pip does."""
    (told,) = [folder / f"{name.replace('-', '_')}-{version}.dist-info"]
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {place}\n" for key, place in ours.items())
        for group, ours in points.items()
    ]
    (told / "entry_points.txt").write_text("\n".join(lines))
    if code:
        (folder / f"{name.replace('-', '_')}.py").write_text(code)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path of Python."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def examples(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install the package of the document; return its name and version."""
    (block,) = blocks(DOCUMENT, "toml")
    project = tomllib.loads(block)["project"]
    code = "\n\n".join(blocks(DOCUMENT, "python"))
    install(folder, project["name"], project["version"], project["entry-points"], code)
    monkeypatch.delitem(sys.modules, "prm_examples", raising=False)
    return f"{project['name']} {project['version']}"


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        call_command(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def grown(examples: str, tmp_path: Path, settings, model_server: OpenAIServer, capsys) -> Forest:
    (tmp_path / "mine.py").write_text(CONFIG)
    settings.CONFIG_PATH = [tmp_path]
    call_command(
        "seed_forest", "--dataset_config_name", "mine", "--dataset_split", "train",
        "--forest_name_suffix", "a", "--limit", "2",
    )  # fmt: skip
    grow_slice("mine-train-a", 0, 2)
    return Forest.objects.get(pk="mine-train-a")


def test_a_strategy_of_a_package_grows_a_forest_that_notes_it(grown: Forest, examples: str):
    assert_whole(grown)
    assert grown.num_complete == 2
    assert grown.worker_config["strategy_package"] == examples
    assert own_estimator("two_by_two") == STRATEGIES["two_by_two"].estimators[0]


def test_the_refusal_of_an_estimator_says_nothing_of_how_a_package_draws(
    examples: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(STRATEGIES["two_by_two"], "estimators", ("leaf_mean", "any"))

    with pytest.raises(EstimatorError) as refused:
        choose_estimator("two_by_two", "own_rollouts")

    assert str(refused.value) == (
        "--estimator own_rollouts has no meaning for a forest of strategy two_by_two: "
        "use leaf_mean, any"
    )


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("return ['the root']", "AttributeError: 'str' object has no attribute 'to_end'"),
    ],
)
def test_a_strategy_of_a_package_that_fails_fails_its_tree_and_names_the_package(
    grown: Forest, examples: str, monkeypatch: pytest.MonkeyPatch, wanted: str, said: str
):
    code: dict[str, Any] = {}
    exec(f"def wanted(self, tree):\n    {wanted}", code)  # noqa: S102
    monkeypatch.setattr(STRATEGIES["two_by_two"], "wanted", code["wanted"])
    Tree.objects.filter(index=1).update(status="pending")

    assert grow_slice(grown.name, 1, 2) == {"complete": 0, "failed": 1}

    error = Tree.objects.get(index=1).error
    assert error == f"strategy 'two_by_two' of {examples} failed: {said}"


def test_a_forest_is_not_grown_by_another_version_of_its_strategy(
    grown: Forest, examples: str, folder: Path
):
    newer = folder.with_name("newer")
    newer.mkdir()
    install(newer, "prm-examples", "1.1", {"prm.strategies": {"two_by_two": "prm_examples:X"}})
    others = [one for one in sys.path if one != str(folder)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", others)
        with pytest.raises(OtherConfigError, match="and here no package has it: install that"):
            load_frozen_config(grown)
        patch.setattr(sys, "path", [str(newer), *others])
        with pytest.raises(OtherConfigError) as caught:
            load_frozen_config(grown)
    assert str(caught.value) == (
        f"strategy 'two_by_two' is to come from {examples}, and here it comes from prm-examples "
        "1.1: install that package in that version, or seed a new forest"
    )


@pytest.mark.parametrize("command", ["recount_forest", "regrade_forest"])
def test_values_of_a_strategy_whose_package_is_missing_are_not_written(
    grown: Forest, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
):
    before = list(Tree.objects.values())
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(folder)])

    message = refused(command, "--forest_name", grown.name)

    assert "strategy 'two_by_two' comes from a package that is not installed here" in message
    assert list(Tree.objects.values()) == before


def test_a_format_of_a_package_writes_a_dataset_that_notes_it(
    grown: Forest, examples: str, tmp_path: Path
):
    call_command(
        "create_preferences",
        "--min_confidence",
        "0",
        "--forest_name",
        grown.name,
        "--min_margin",
        "0.1",
    )
    output = tmp_path / "out"
    call_command(
        "export_preferences", "--forest_name", grown.name, "--format", "sides",
        "--container", "jsonl", "--output", str(output),
    )  # fmt: skip

    rows = [
        json.loads(line) for line in (output / "jsonl" / "train.jsonl").read_text().splitlines()
    ]
    assert {row["is_better"] for row in rows} == {True, False}
    assert json.loads((output / "manifest.json").read_text())["format_package"] == examples


def test_a_scorer_of_a_package_scores_every_step(grown: Forest, examples: str):
    with RewardServer() as server:
        call_command(
            "score_nodes", "--forest_name", grown.name, "--scorer", "judge",
            "--kind", "step_alone", "--base_url", server.url,
        )  # fmt: skip

    assert read_scores(grown, "judge", [0])[0]
    assert Scorer.objects.get(name="judge").parameters["package"] == examples


def test_a_reader_of_a_package_makes_a_forest_that_notes_it(examples: str, tmp_path: Path):
    row = {"question": "1 + 1?", "answer": 2, "steps": ["One more.\n", "The answer is 2."]}
    (tmp_path / "chains.jsonl").write_text(json.dumps(row))
    command = (
        "import_trees", str(tmp_path / "chains.jsonl"), "--format", "chains",
        "--forest_name_suffix", "a",
    )  # fmt: skip

    call_command(*command)

    forest = Forest.objects.get(pk="imported-train-a")
    assert (forest.num_nodes, forest.num_correct) == (2, 1)
    assert f"format chains of {examples}" in forest.config_source

    (tmp_path / "chains.jsonl").write_text(json.dumps(row | {"steps": [" "]}))
    assert "`text` of node [0] must be a text that is not blank" in refused(*command[:-1], "b")
    (tmp_path / "chains.jsonl").write_text(json.dumps(row | {"steps": [1]}))
    assert "`text` of node [0] must be a text that is not blank" in refused(*command[:-1], "b")
    (tmp_path / "chains.jsonl").write_text(json.dumps(row | {"steps": 1}))
    assert f"the reader of {examples} failed: " in refused(*command[:-1], "b")
    assert not Forest.objects.filter(pk="imported-train-b")


EXPORT = ("export_preferences", "--forest_name", "none", "--output", "out", "--format")


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("no_such_module:X", "cannot be loaded (ModuleNotFoundError: No module named "),
        ("broken:NO_SUCH", "cannot be loaded (AttributeError: "),
        ("broken:TEXT", "is not a Format: see docs/extending.md"),
    ],
)
def test_a_plugin_that_cannot_be_used_ends_its_command_with_one_line(
    folder: Path, place: str, problem: str
):
    install(folder, "broken", "2.0", {"prm.formats": {"odd": place}}, "TEXT = 'no format'")

    told = refused(*EXPORT, "odd")

    assert told.startswith(f"export format 'odd' of package broken 2.0 {problem}")
    assert "no forest named 'none'" in refused(*EXPORT, "trl")


def test_a_name_that_is_taken_is_refused(folder: Path):
    install(folder, "one", "1", {"prm.formats": {"trl": "one:X", "new": "one:X"}}, "X = 1")
    install(folder, "two", "2", {"prm.formats": {"new": "two:X"}}, "X = 1")

    assert refused(*EXPORT, "trl") == (
        "export format 'trl' is a name that several packages give (prm-site, one 1): uninstall "
        "one, or have it renamed"
    )
    assert "(one 1, two 2)" in refused(*EXPORT, "new")
    assert "no forest named 'none'" in refused(*EXPORT, "trl_stepwise")


def test_plugins_are_not_imported_by_listing_them(folder: Path):
    install(folder, "loud", "1", {"prm.formats": {"loud": "loud:X"}}, "raise SystemExit('loud')")

    assert "loud" in FORMATS
    assert list(FORMATS)[-1] == "loud"
    assert "cannot be loaded (SystemExit: loud)" in refused(*EXPORT, "loud")
