"""Make a forest of trees that other programs made."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from experiment_configs.interfaces import Api, Grader, RolloutWorkerConfig
from forests.core.counting import count_tree, root_value
from forests.core.foreign_trees import READERS, ForeignTree, ForeignTreeError
from forests.core.naming import tree_id
from forests.core.tree import Grade
from forests.core.voting import AnswerGroups
from forests.directories import checksum
from forests.grading import ItemGrader, same_by
from forests.models import Forest, Node, Tree, TreeStatus
from forests.scores import start_scorer, write_scores
from forests.store import Document, collection, insert_new, node_document, tree_document

SCORER = "imported"
"""Scorer under whose name a forest keeps what the file says that nodes are worth."""
TREES_PER_WRITE = 32

Report = Callable[[int], None]
"""Called with the number of trees done."""


class ImportTreesError(Exception):
    """A file cannot be imported; the message names the line and the remedy."""


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """Which trees are to be read, and what the forest is called."""

    file: Path
    format: str
    name: str
    config_name: str
    dataset_split: str
    grader: Grader


def import_trees(request: ImportRequest, report: Report = lambda _: None) -> Forest:
    """Read the trees of a file into a new forest and return it.

    The whole file is checked before anything is written. Interrupted, the same call goes on.

    Raises:
        ImportTreesError: a line is no tree, the name is taken, or there is no tree.
        ConfigError: the config cannot grade a leaf.
        OSError: the file cannot be read.
    """
    number = sum(1 for _ in iter_foreign_trees(request.file, request.format))
    if not number:
        raise ImportTreesError(f"{request.file} has no tree: give one JSON object a line")
    forest = _start_forest(request, number)
    scorer = None
    sums: Counter[str] = Counter()
    batch: list[tuple[int, ForeignTree]] = []
    for index, foreign in enumerate(iter_foreign_trees(request.file, request.format)):
        _grade(foreign, request.grader)
        batch.append((index, foreign))
        sums.update(count_tree(foreign.tree))
        if len(batch) == TREES_PER_WRITE or index == number - 1:
            _write(forest, batch)
            if any(one.values for _, one in batch):
                scorer = scorer or start_scorer(forest, SCORER, {"file": request.file.name})
                write_scores(
                    scorer,
                    {tree_id(forest.name, index): one.values for index, one in batch if one.values},
                )
            batch = []
            report(index + 1)
    facts = {"is_seeded": True, "importer": "", "num_trees": number, "num_complete": number, **sums}
    collection(Forest).update_one({"_id": forest.name}, {"$set": facts})
    return Forest.objects.get(pk=forest.name)


def iter_foreign_trees(path: Path, format_name: str) -> Iterator[ForeignTree]:
    """Yield the trees of a file: JSON lines, or one JSON object or list.

    Raises:
        ImportTreesError: a line is no tree.
        OSError: the file cannot be read.
    """
    for place, row in _rows(path):
        try:
            json.dumps(row, ensure_ascii=False).encode()
            yield READERS[format_name](row)
        except ForeignTreeError as error:
            raise ImportTreesError(f"{path} {place}: {error}") from error
        except UnicodeEncodeError as error:
            raise ImportTreesError(f"{path} {place}: a text holds half a character") from error


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    yield f"line {number}", json.loads(line)
                except (ValueError, RecursionError) as error:
                    if number > 1:
                        raise ImportTreesError(f"{path} line {number} is no JSON") from error
                    break
            else:
                return
        whole = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ImportTreesError(f"{path} is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ImportTreesError(f"{path} is no JSON, and its first line neither") from error
    for number, row in enumerate(whole if isinstance(whole, list) else [whole], start=1):
        yield f"tree {number}", row


def _start_forest(request: ImportRequest, num_trees: int) -> Forest:
    digest = checksum(request.file)["sha256"]
    known = Forest.objects.filter(pk=request.name).first()
    if known is not None:
        if not known.importer or known.config_sha256 != digest:
            raise ImportTreesError(
                f"a forest named {request.name!r} is there: choose another --forest_name_suffix"
            )
        return known
    first = next(iter_foreign_trees(request.file, request.format))
    api: Api = "completions" if isinstance(first.prompt, str) else "chat"
    return Forest.objects.create(
        name=request.name,
        config_name=request.config_name,
        config_source=f"Trees of {request.file.name}, format {request.format}.\n",
        config_sha256=digest,
        dataset_split=request.dataset_split,
        dataset_source=request.file.name,
        worker_config=RolloutWorkerConfig(api=api).as_dict(),
        num_trees=num_trees,
        created_at=datetime.now(UTC),
        importer="import_trees",
    )


def _grade(foreign: ForeignTree, grader: Grader) -> None:
    """Set answers, grades and voted answers of the leaves.

    What the file says goes first; where it says nothing, the grader does.
    """
    item, groups = ItemGrader(grader, foreign.label), AnswerGroups(same_by(grader))
    for leaf in sorted(foreign.tree.leaves(), key=lambda leaf: leaf.path):
        if not leaf.path:
            continue
        if leaf.answer is None:
            leaf.answer, leaf.grade = item.grade_solution(foreign.tree.steps_text(leaf.path))
        else:
            leaf.grade = item.grade_answer(leaf.answer)
        if leaf.path in foreign.correct:
            leaf.grade = _grade_of(foreign.correct[leaf.path])
        elif leaf.answer is None and leaf.path in foreign.presumed:
            leaf.grade = _grade_of(foreign.presumed[leaf.path])
        groups.add(leaf)


def _grade_of(is_right: bool) -> Grade:
    return Grade.CORRECT if is_right else Grade.INCORRECT


def _write(forest: Forest, batch: list[tuple[int, ForeignTree]]) -> None:
    now = datetime.now(UTC)
    nodes: list[Document] = []
    for index, foreign in batch:
        tree = tree_id(forest.name, index)
        nodes += [node_document(forest.name, tree, node, now) for node in foreign.tree if node.path]
    insert_new(Tree, [_tree_document(forest, index, foreign, now) for index, foreign in batch])
    insert_new(Node, nodes)


def _tree_document(forest: Forest, index: int, foreign: ForeignTree, now: datetime) -> Document:
    counters = count_tree(foreign.tree)
    pending = tree_document(
        forest.name,
        index,
        item=foreign.item,
        label=foreign.label,
        prompt=foreign.prompt,
        now=now,
    )
    return {
        **pending,
        **counters,
        "status": str(TreeStatus.COMPLETE),
        "root_value": root_value(counters["num_correct"], counters["num_leaves"]),
        "completed_at": now,
    }
