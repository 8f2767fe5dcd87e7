"""All readers by the name of their format: ours, and those of plugins (docs/extending.md)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common.plugins import Registry
from common.text import describe
from forests.core.opinions.verdicts import IMPORTED
from forests.transfer.foreign_trees import ForeignTree, ForeignTreeError, check_tree
from forests.transfer.readers.birm import read_birm
from forests.transfer.readers.jsonl import read_jsonl
from forests.transfer.readers.math_aps import read_math_aps
from forests.transfer.readers.math_shepherd import read_math_shepherd
from forests.transfer.readers.mm_prm import read_mm_prm
from forests.transfer.readers.openr import read_openr
from forests.transfer.readers.prm800k import read_prm800k
from forests.transfer.readers.processbench import read_processbench
from forests.transfer.readers.rstar import read_rstar
from forests.transfer.readers.step_dpo import read_step_dpo
from forests.transfer.solution_trees import SolutionReader

READERS: Registry[Callable[[Any], ForeignTree]] = Registry(
    "prm.tree_readers",
    "tree reader",
    {
        "openr": read_openr,
        "jsonl": read_jsonl,
        "prm800k": read_prm800k,
        "math_shepherd": read_math_shepherd,
        "processbench": read_processbench,
        "step_dpo": read_step_dpo,
        "math_aps": read_math_aps,
        "birm": read_birm,
        "mm_prm": read_mm_prm,
        "rstar": read_rstar,
    },
    lambda _, loaded: "" if callable(loaded) else "is not a function",
)

KINDS: Mapping[str, str] = {"prm800k": IMPORTED, "processbench": IMPORTED}
"""The kind of the scorer that keeps the values of a format: here they are verdicts on steps.
Others are Monte Carlo values, values of a program that the file does not name, or pairs."""

_NAMES = {"prm800k": "PRM800K", "math_shepherd": "Math-Shepherd", "processbench": "ProcessBench",
          "step_dpo": "Step-DPO", "math_aps": "MATH-APS", "birm": "BiRM", "mm_prm": "MM-PRM",
          "rstar": "rStar-Math", "openr": "OpenR"}  # fmt: skip


def read_tree(row: Any, format_name: str) -> ForeignTree:
    """Return the tree of one row.

    Raises:
        ForeignTreeError: the row is not in the format, or the reader of a plugin fails.
        PluginError: the plugin cannot be loaded.
    """
    reader = READERS[format_name]
    if not (package := READERS.package(format_name)):
        return reader(row)
    try:
        found = reader(row)
        check_tree(found)
    except ForeignTreeError:
        raise
    except Exception as error:  # a plugin may raise anything
        raise ForeignTreeError(f"the reader of {package} failed: {describe(error)}") from error
    return found


def merging_reader(format_name: str) -> SolutionReader | None:
    """Return the reader of a format whose rows are merged into trees; None for another format."""
    reader = READERS.built_in.get(format_name)
    return reader if isinstance(reader, SolutionReader) else None


def hint_at_format(row: Any, format_name: str) -> str:
    """Return which other format a row looks like, as the end of a message; empty if none."""
    found = next((name for name, fits in _FITS if isinstance(row, dict) and fits(row)), "")
    if found in ("", format_name):
        return ""
    return f"; this looks like {_NAMES.get(found, found)}: use --format {found}"


def _has(*keys: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: row.keys() >= {*keys}


_FITS: Sequence[tuple[str, Callable[[Mapping[str, Any]], bool]]] = (
    ("rstar", _has("question", "rstar")),
    ("birm", _has("question", "outputs")),
    ("mm_prm", _has("question", "answer", "image_path")),
    ("math_aps", lambda row: isinstance(row.get("reasoning_steps"), list)),
    ("math_aps", _has("question", "process", "label")),
    ("openr", _has("question", "reasoning_steps")),
    ("prm800k", lambda row: isinstance(row.get("question"), dict) and "label" in row),
    ("processbench", _has("problem", "steps", "label")),
    ("step_dpo", _has("prompt", "chosen", "rejected")),
    ("math_shepherd", _has("input", "label")),
    ("math_shepherd", _has("input", "value")),
    ("jsonl", _has("prompt", "children")),
)
"""Tests for the rows of each format. The first test that fits names the format."""
