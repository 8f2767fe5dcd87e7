"""Write the JSON Schemas of configs and file formats, from the types that check them.

python -m deploy.schemas
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import django
from pydantic import ConfigDict, TypeAdapter, with_config

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prm_site.settings")
django.setup()

from experiment_configs.interfaces import RolloutWorkerConfig  # noqa: E402
from experiment_configs.worker_settings import SETTINGS  # noqa: E402
from forests.transfer.archive_files import ADDED, FORMAT, READ_VERSIONS  # noqa: E402
from forests.transfer.archive_format import FOREST, SCORERS  # noqa: E402
from forests.transfer.readers.birm import BIRM_LINE  # noqa: E402
from forests.transfer.readers.jsonl import JSONL_LINE  # noqa: E402
from forests.transfer.readers.math_aps import APS_LINE, APS_PROCESS  # noqa: E402
from forests.transfer.readers.math_shepherd import MATH_SHEPHERD_LINE  # noqa: E402
from forests.transfer.readers.mm_prm import MM_PRM_PROCESS, MM_PRM_TREE  # noqa: E402
from forests.transfer.readers.openr import OPENR_LINE  # noqa: E402
from forests.transfer.readers.prm800k import PRM800K_LINE  # noqa: E402
from forests.transfer.readers.processbench import PROCESSBENCH_LINE  # noqa: E402
from forests.transfer.readers.rstar import RSTAR_LINE  # noqa: E402
from forests.transfer.readers.step_dpo import STEP_DPO_LINE  # noqa: E402
from metrics.measuring.sample_files import SAMPLE_LINE  # noqa: E402

DIRECTORY = Path(__file__).parents[1] / "docs" / "reference" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

TREE_LINES: Mapping[str, TypeAdapter[Any]] = {
    "jsonl": JSONL_LINE,
    "openr": OPENR_LINE,
    "prm800k": PRM800K_LINE,
    "math_shepherd": MATH_SHEPHERD_LINE,
    "processbench": PROCESSBENCH_LINE,
    "step_dpo": STEP_DPO_LINE,
    "math_aps": APS_LINE,
    "math_aps_process": APS_PROCESS,
    "birm": BIRM_LINE,
    "mm_prm": MM_PRM_TREE,
    "mm_prm_process": MM_PRM_PROCESS,
    "rstar": RSTAR_LINE,
}


def schemas() -> Mapping[str, Schema]:
    """Return each schema by the name of its file."""
    found = {
        "worker_config": worker_config(),
        **{f"import_trees_{name}": line.json_schema() for name, line in TREE_LINES.items()},
        "samples": SAMPLE_LINE.json_schema(),
        "forest_manifest": forest_manifest(),
    }
    return {name: {"$schema": DIALECT} | schema for name, schema in found.items()}


def worker_config() -> Schema:
    """Return the schema of the settings as a forest stores them, with defaults and meanings."""
    documented = with_config(ConfigDict(use_attribute_docstrings=True))(RolloutWorkerConfig)
    meanings = TypeAdapter(documented).json_schema()["properties"]
    schema = SETTINGS.json_schema()
    for name, default in RolloutWorkerConfig().as_dict().items():
        meaning = meanings[name].get("description")
        described = {"description": meaning} if meaning else {}
        schema["properties"][name] |= {**described, "default": default}
    del schema["required"]
    return schema | {"additionalProperties": False}


def forest_manifest() -> Schema:
    """Return the schema of the manifest that `export_forest` writes."""
    forest, scorer = FOREST.rows.json_schema(), SCORERS.rows.json_schema()
    forest["properties"] = {"name": {"type": "string"}} | forest["properties"]
    forest["required"] = ["name", *(key for key in forest["required"] if key not in ADDED)]
    for name in ("parameters", "spent"):
        scorer["properties"][name] = {"type": "object"}  # in tables they are texts
    scorer["required"] = ["name", "parameters", "created_at"]
    parts = {
        "format": {"const": FORMAT},
        "version": {"enum": list(READ_VERSIONS)},
        "forest": forest,
        "scorers": {"type": "array", "items": scorer},
        "files": {"type": "object", "additionalProperties": {"type": "object"}},
    }
    return {"title": "Manifest", "type": "object", "properties": parts, "required": list(parts)}


def written(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, schema in schemas().items():
        (DIRECTORY / f"{name}.json").write_text(written(schema), encoding="utf-8")
