"""Make a forest from trees of other programs."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.directories import checksum
from common.errors import UserError
from common.json_lines import JsonFileError, read_json_rows
from common.storable import storing_problem
from experiment_configs.interfaces import Api, Grader, RolloutWorkerConfig
from forests.core.counting import count_tree
from forests.core.estimators import IMPORTED
from forests.core.model_counts import as_fields, count_models
from forests.core.naming import IMPORTED_SCORER, tree_id
from forests.core.tree import Grade
from forests.core.voting import AnswerGroups
from forests.grading import ItemGrader, same_by
from forests.models import Forest, TreeStatus
from forests.storage.counters import counted
from forests.storage.scores import start_scorer, write_scores
from forests.storage.trees import (
    Document,
    collection,
    delete_forest,
    insert_nodes,
    insert_trees,
    node_document,
    tree_document,
)
from forests.transfer.foreign_trees import READERS, ForeignTree, ForeignTreeError, read_tree
from forests.transfer.resuming import import_refusal

IMPORTER = "import_trees"
TREES_PER_WRITE = 32

Report = Callable[[int], None]
"""Called with the number of finished trees."""


class ImportTreesError(UserError):
    """A file cannot be imported. The message names the line and the remedy."""


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """The trees to read, and the name of the forest."""

    file: Path
    format: str
    name: str
    config_name: str
    dataset_split: str
    grader: Grader
    grader_sha256: str = ""
    """SHA-256 of the source of the config that grades; empty for the built-in grading."""


def import_trees(request: ImportRequest, report: Report = lambda _: None) -> Forest:
    """Read the trees of a file into a new forest and return it.

    The whole file is checked before anything is written. If it is interrupted, the same call
    continues.

    Raises:
        ImportTreesError: a line is not a tree, the name is taken, or the file has no tree.
        ConfigError: the config cannot grade a leaf.
        OSError: the file cannot be read.
    """
    if problem := storing_problem(request.file.name):
        raise ImportTreesError(f"the name of {str(request.file)!r} {problem}: rename the file")
    number = sum(1 for _ in iter_foreign_trees(request.file, request.format))
    if not number:
        raise ImportTreesError(f"{request.file} has no tree: give one JSON object per line")
    forest = _start_forest(request, number)
    scorer = None
    sums: Counter[str] = Counter()
    models: Counter[str] = Counter()
    batch: list[tuple[int, ForeignTree]] = []
    for index, foreign in enumerate(iter_foreign_trees(request.file, request.format)):
        _grade(foreign, request.grader)
        batch.append((index, foreign))
        sums.update(count_tree(foreign.tree))
        models.update(as_fields(count_models(foreign.tree)))
        if len(batch) == TREES_PER_WRITE or index == number - 1:
            _write(forest, batch)
            if any(one.values for _, one in batch):
                scorer = scorer or start_scorer(
                    forest, IMPORTED_SCORER, {"file": forest.dataset_source}
                )
                write_scores(
                    scorer,
                    {tree_id(forest.name, index): one.values for index, one in batch if one.values},
                )
            batch = []
            report(index + 1)
    whole = {"is_seeded": True, "importer": "", "import_sha256": ""}
    numbers = {"num_trees": number, "num_complete": number, "nodes_by_model": models, **sums}
    collection(Forest).update_one({"_id": forest.name}, {"$set": whole | numbers})
    return Forest.objects.get(pk=forest.name)


def iter_foreign_trees(path: Path, format_name: str) -> Iterator[ForeignTree]:
    """Yield the trees of a file: JSON lines, or one JSON object or list.

    Raises:
        ImportTreesError: the file cannot be read, or a row is not a tree.
    """
    try:
        for place, row in read_json_rows(path):
            try:
                yield read_tree(row, format_name)
            except ForeignTreeError as error:
                raise ImportTreesError(f"{path} {place}: {error}") from error
    except JsonFileError as error:
        raise ImportTreesError(str(error)) from error


def _start_forest(request: ImportRequest, num_trees: int) -> Forest:
    digest = checksum(request.file)["sha256"]
    package = READERS.package(request.format)
    parts = (digest, request.format, *([package] if package else []), request.grader_sha256)
    whole_digest = hashlib.sha256(" ".join(parts).encode()).hexdigest()
    known = Forest.objects.filter(pk=request.name).first()
    if known is not None:
        if refusal := import_refusal(known, IMPORTER, whole_digest, request.dataset_split):
            raise ImportTreesError(refusal)
        return known
    by = f" of {package}" if package else ""
    first = next(iter_foreign_trees(request.file, request.format))
    api: Api = "completions" if isinstance(first.prompt, str) else "chat"
    forest = Forest(
        name=request.name,
        config_name=request.config_name,
        config_source=f"Trees of {request.file.name}, format {request.format}{by}.\n",
        config_sha256=digest,
        dataset_split=request.dataset_split,
        dataset_source=request.file.name,
        worker_config=RolloutWorkerConfig(api=api, strategy=IMPORTED).as_dict(),
        num_trees=num_trees,
        created_at=datetime.now(UTC),
        importer=IMPORTER,
        import_sha256=whole_digest,
    )
    delete_forest(forest)  # remains of a deletion that was interrupted, or raced a worker
    forest.save(force_insert=True)
    return forest


def _grade(foreign: ForeignTree, grader: Grader) -> None:
    """Set answers, grades and voted answers of the leaves.

    The file's grades take precedence; the grader fills in the others.
    """
    item, groups = ItemGrader(grader, foreign.label), AnswerGroups(same_by(grader))
    for leaf in sorted(foreign.tree.leaves(), key=lambda leaf: leaf.path):
        if not leaf.path:
            continue
        if leaf.answer is None:
            leaf.answer, leaf.grade = item.grade_solution(foreign.tree.solution_text(leaf.path))
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
    begun = insert_trees([_tree_document(forest, index, foreign, now) for index, foreign in batch])
    for index, foreign in batch:
        tree = tree_id(forest.name, index)
        insert_nodes(
            [
                node_document(forest.name, tree, node, now, begun[tree])
                for node in foreign.tree
                if node.path
            ]
        )


def _tree_document(forest: Forest, index: int, foreign: ForeignTree, now: datetime) -> Document:
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
        **counted(foreign.tree, forest.estimator),
        "question": foreign.question,
        "status": str(TreeStatus.COMPLETE),
        "completed_at": now,
    }
