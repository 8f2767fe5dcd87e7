"""The notebook of the documents runs from its first cell to its last, on a real archive."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from forests.models import Forest
from tests.forests.factories import RIGHT, WRONG, add_trees, duck_tree, leaf, make_forest, tree_of

NOTEBOOK = Path("docs/notebooks/explore_a_forest.ipynb")
OUTVOTED = tree_of(
    leaf("0.0", "#### 26", WRONG, answer="26", count=3),
    leaf("0.1", "#### 18", RIGHT, answer="18"),
)
_RUN = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
# Jupyter's debugger imports some of Django itself.
end = "import sys; print({'forests.models', 'prm_site.settings'} & set(sys.modules))"
notebook.cells.append(nbformat.v4.new_code_cell(end))
client = NotebookClient(notebook, timeout=300, kernel_name="python3")
client.execute()
nbformat.write(notebook, sys.argv[2])
"""


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text())["cells"]
    return found


def test_the_notebook_is_kept_without_outputs():
    code = [cell for cell in cells() if cell["cell_type"] == "code"]

    assert len(code) > 5
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"]] == []


@pytest.mark.slow
@pytest.mark.skipif(
    not (find_spec("nbclient") and find_spec("ipykernel")),
    reason="nbclient or ipykernel is not installed: make lint installs the development extra",
)
@pytest.mark.django_db
def test_the_notebook_runs_without_a_database(tmp_path: Path):
    make_forest("ducks-test-first")
    add_trees(Forest.objects.get(), [duck_tree(), OUTVOTED])
    output = str(tmp_path / "backups" / "first")
    call_command("export_forest", "--forest_name", "ducks-test-first", "--output", output)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = kept | {
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]),
        "JUPYTER_PLATFORM_DIRS": "1",
        **{
            name: str(tmp_path / "jupyter")
            for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR", "MPLCONFIGDIR")
        },
    }

    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(NOTEBOOK.resolve()), "run.ipynb"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    executed = json.loads((tmp_path / "run.ipynb").read_text())["cells"]
    outputs = [output for cell in executed for output in cell.get("outputs", ())]
    told = "".join(
        "".join(output.get("text", ()) or output.get("data", {}).get("text/plain", ()))
        for output in outputs
    )
    assert "<forest ducks-test-first: 2 trees, 14 nodes>" in told
    assert "[1]" in told  # where the majority is wrong and a sample is right
    assert "FAIL" not in told
    assert "ok   loads" in told
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert "".join(outputs[-1]["text"]) == "set()\n"
