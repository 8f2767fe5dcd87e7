"""The JSON Schemas in the documents are those of the types that check data."""

import json
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from django.core.management import call_command

from deploy.schemas import DIRECTORY, schemas, written
from experiment_configs.interfaces import RolloutWorkerConfig
from forests.storage.scores import start_scorer
from tests.forests.factories import add_trees, duck_tree, make_forest
from tests.forests.transfer.foreign_rows import ROWS

NODE = {"text": "4", "children": [{"text": "5", "answer": "5", "correct": True}]}
GOOD: dict[str, Any] = {
    "worker_config": RolloutWorkerConfig().as_dict(),
    "import_trees_jsonl": {"prompt": "2 + 2?", "label": 4, "children": [NODE]},
    "import_trees_openr": {
        "question": "2 + 2?",
        "final_answer": "4",
        "reasoning_steps": {"children": [{"text": "4", "mc_value": 1}]},
    },
    "samples": {"label": "4", "answers": ["4", None], "scores": [1, [0.5, 1]]},
    **{f"import_trees_{schema}": row for schema, row in ROWS.items()},
}
BAD: dict[str, Any] = {
    "worker_config": {"max_depth": 0},
    "import_trees_jsonl": {"prompt": "?", "label": 4, "children": [{"children": [NODE]}]},
    "import_trees_openr": {"question": "?", "final_answer": "4", "reasoning_steps": []},
    "import_trees_prm800k": ROWS["prm800k"] | {"question": "?"},
    "import_trees_math_shepherd": {"input": 4},
    "import_trees_processbench": ROWS["processbench"] | {"label": "1"},
    "import_trees_step_dpo": ROWS["step_dpo"] | {"chosen": " "},
    "import_trees_math_aps": ROWS["math_aps"] | {"reasoning_steps": {}},
    "import_trees_math_aps_process": ROWS["math_aps_process"] | {"label": ["?"]},
    "import_trees_birm": ROWS["birm"] | {"outputs": [{}]},
    "import_trees_mm_prm": ROWS["mm_prm"] | {"correct_rollouts": ["?"]},
    "import_trees_mm_prm_process": ROWS["mm_prm_process"] | {"labels": []},
    "import_trees_rstar": ROWS["rstar"] | {"rstar": []},
    "samples": {"label": "4", "answers": []},
    "forest_manifest": {"format": "prm_site forest", "version": True},
}


def test_the_files_are_what_the_code_says():
    files = {path.stem: path.read_text(encoding="utf-8") for path in DIRECTORY.glob("*.json")}

    assert files == {name: written(schema) for name, schema in schemas().items()}, (
        "run python -m deploy.schemas"
    )


@pytest.mark.parametrize("name", GOOD)
def test_a_schema_takes_what_the_code_takes(name: str):
    fastjsonschema.compile(schemas()[name])(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_schema_refuses_what_the_code_refuses(name: str):
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        fastjsonschema.compile(schemas()[name])(BAD[name])


def test_the_schema_of_a_manifest_takes_an_export(db, tmp_path: Path):
    forest = make_forest("ducks-test-first")
    add_trees(forest, [duck_tree()])
    start_scorer(forest, "judge", {"kind": "prm"})
    call_command("export_forest", "--forest_name", forest.name, "--output", str(tmp_path / "out"))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))

    fastjsonschema.compile(schemas()["forest_manifest"])(manifest)
