"""The JSON Schemas in the documents are those of the types that check data.

A schema and the code that reads the data get the same values: good ones, and the same with each
part left out or replaced. What the code takes, the schema takes. What the types of the code
refuse, the schema refuses. Only the code knows rules between parts, such as a label for each step.
"""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from django.core.management import call_command
from pydantic import ValidationError

from common.errors import UserError
from deploy.schemas import DIRECTORY, schemas, written
from experiment_configs.interfaces import ConfigError, Grader, RolloutWorkerConfig
from experiment_configs.worker_settings import SETTINGS
from forests.storage.scores import start_scorer
from forests.transfer.archive_files import TransferError
from forests.transfer.archive_format import check_files, read_manifest, scorer_document
from forests.transfer.foreign_trees import ForeignTreeError
from forests.transfer.readers.registry import READERS
from metrics.measuring.sample_files import read_samples
from tests.forests.factories import add_trees, duck_tree, make_forest
from tests.forests.transfer.foreign_rows import ROWS, format_of

NODE = {"text": "4", "children": [{"text": "5", "answer": "5", "correct": True}]}
TREES: dict[str, Any] = {
    "jsonl": {"prompt": "2 + 2?", "label": 4, "children": [NODE]},
    "openr": {
        "question": "2 + 2?",
        "final_answer": "4",
        "reasoning_steps": {"children": [{"text": "4", "mc_value": 1}]},
    },
    **ROWS,
}
SAMPLES = {"label": "4", "answers": ["4", None], "scores": [1, [0.5, 1]]}
BAD_TREES: dict[str, Any] = {
    "jsonl": {"prompt": "?", "label": 4, "children": [{"children": [NODE]}]},
    "openr": {"question": "?", "final_answer": "4", "reasoning_steps": []},
    "prm800k": ROWS["prm800k"] | {"question": "?"},
    "math_shepherd": {"input": 4},
    "processbench": ROWS["processbench"] | {"label": "1"},
    "step_dpo": ROWS["step_dpo"] | {"chosen": " "},
    "math_aps": ROWS["math_aps"] | {"reasoning_steps": {}},
    "math_aps_process": ROWS["math_aps_process"] | {"label": ["?"]},
    "birm": ROWS["birm"] | {"outputs": [{}]},
    "mm_prm": ROWS["mm_prm"] | {"correct_rollouts": ["?"]},
    "mm_prm_process": ROWS["mm_prm_process"] | {"labels": []},
    "rstar": ROWS["rstar"] | {"rstar": []},
}
OTHERS: tuple[Any, ...] = (
    None, True, -1, 0, 1, 3, 0.5, "", " ", "x", [], [None], ["x"], {}, {"x": 1},
)  # fmt: skip
"""Values in place of a part."""
CHECKED_BY_FUNCTIONS = {"step_delimiter", "extra_body", "refinement", "base_urls"}
"""Settings of which a schema says the type alone."""
MOST_ENTRIES = 3
"""How many entries of a list to change."""


def schema_takes(name: str, value: Any) -> bool:
    try:
        _compiled(name)(deepcopy(value))
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


_CHECKS: dict[str, Callable[[Any], object]] = {}


def _compiled(name: str) -> Callable[[Any], object]:
    if name not in _CHECKS:
        _CHECKS[name] = fastjsonschema.compile(schemas()[name])
    return _CHECKS[name]


def changed(value: Any) -> Iterator[Any]:
    """Yield the value with each of its parts left out, replaced, or beside an unknown part."""
    yield from OTHERS
    if isinstance(value, dict):
        yield value | {"another": 1}
        for key, part in value.items():
            yield {name: one for name, one in value.items() if name != key}
            yield from (value | {key: other} for other in changed(part))
    elif isinstance(value, list):
        for position, part in enumerate(value[:MOST_ENTRIES]):
            before, after = value[:position], value[position + 1 :]
            yield before + after
            yield from ([*before, other, *after] for other in changed(part))


def refusal_of(read: Callable[[Any], object], value: Any) -> Exception | None:
    try:
        read(value)
    except (UserError, ForeignTreeError) as error:
        return error
    return None


def is_of_types(error: BaseException | None) -> bool:
    """Return whether a type refused the value, not a rule between its parts."""
    while error is not None:
        if isinstance(error, ValidationError):
            return True
        error = error.__cause__
    return False


def compare(value: Any, read: Callable[[Any], object], *names: str) -> None:
    """Compare what `read` and schemas say of a value and its changes.

    `names`: the schema of the value, then others for the same reader.
    """
    read(deepcopy(value))
    assert schema_takes(names[0], value)
    for other in changed(value):
        refusal = refusal_of(read, deepcopy(other))
        if refusal is None:
            assert any(schema_takes(name, other) for name in names), "the code takes it"
        elif is_of_types(refusal):
            assert not schema_takes(names[0], other), f"the code refuses it: {refusal}"


def test_the_files_are_what_the_code_says():
    files = {path.stem: path.read_text(encoding="utf-8") for path in DIRECTORY.glob("*.json")}

    assert files == {name: written(schema) for name, schema in schemas().items()}, (
        "run python -m deploy.schemas"
    )


@pytest.mark.parametrize("name", TREES)
def test_a_schema_of_trees_says_what_the_reader_says(name: str):
    form = format_of(name)
    others = [f"import_trees_{one}" for one in TREES if format_of(one) == form and one != name]

    compare(TREES[name], READERS[form], f"import_trees_{name}", *others)


@pytest.mark.parametrize("name", TREES)
def test_a_schema_of_trees_and_the_reader_refuse_other_rows(name: str):
    assert not schema_takes(f"import_trees_{name}", BAD_TREES[name])
    with pytest.raises(ForeignTreeError):
        READERS[format_of(name)](BAD_TREES[name])


def test_the_schema_of_samples_says_what_the_command_says(tmp_path: Path):
    path = tmp_path / "samples.jsonl"

    def read(value: Any) -> None:
        path.write_text(json.dumps(value))
        list(read_samples(path, Grader()))

    compare(SAMPLES, read, "samples")


def test_the_schema_of_settings_says_what_a_config_says():
    def read(value: Any) -> None:
        try:
            config = RolloutWorkerConfig.from_dict(value)
        except (TypeError, AttributeError) as error:
            raise ConfigError(str(error)) from error
        if problems := config.problems():
            raise ConfigError(problems[0]) from type_error(config)

    def type_error(config: RolloutWorkerConfig) -> ValidationError | None:
        try:
            SETTINGS.validate_python(vars(config))
        except ValidationError as error:
            names = {one["loc"][0] for one in error.errors()}
            return error if names - CHECKED_BY_FUNCTIONS else None
        return None

    compare(RolloutWorkerConfig().as_dict(), read, "worker_config")


def test_the_schema_of_a_manifest_says_what_an_import_says(db, tmp_path: Path):
    forest = make_forest("ducks-test-first")
    add_trees(forest, [duck_tree()])
    start_scorer(forest, "judge", {"kind": "prm"})
    directory = tmp_path / "out"
    call_command("export_forest", "--forest_name", forest.name, "--output", str(directory))
    path = directory / "manifest.json"

    def read(value: Any) -> None:
        path.write_text(json.dumps(value))
        manifest = read_manifest(directory)
        check_files(directory, manifest)
        try:
            for scorer in manifest["scorers"]:
                scorer_document(scorer, forest.name)
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            raise TransferError(str(error)) from error

    compare(json.loads(path.read_text(encoding="utf-8")), read, "forest_manifest")
