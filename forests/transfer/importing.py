"""Make a forest from trees of other programs."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from common.directories import checksum
from common.storable import storing_problem
from experiment_configs.interfaces import Api, Grader, RolloutWorkerConfig
from forests.core.counting import count_tree
from forests.core.estimators import IMPORTED
from forests.core.model_counts import as_fields, count_models
from forests.core.naming import IMPORTED_JUDGE, IMPORTED_SCORER, tree_id
from forests.core.opinions.verdicts import JUDGE
from forests.core.tree import Grade
from forests.core.voting import AnswerGroups
from forests.grading import ItemGrader, same_by
from forests.models import Forest, Scorer, TreeStatus
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
from forests.transfer.foreign_trees import ForeignTree
from forests.transfer.readers.registry import KINDS, READERS
from forests.transfer.resuming import import_refusal
from forests.transfer.tree_files import ImportTreesError, TreeFile

IMPORTER = "import_trees"
TREES_PER_WRITE = 32

Report = Callable[[int], None]
"""Called with the number of finished trees."""


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


@dataclass(frozen=True, slots=True)
class ImportedTrees:
    """A new forest, and what it lacks of the file."""

    forest: Forest
    left_out: Counter[str]
    """How many parts of the file were left out, by the reason that is shown."""
    scorers: list[str]
    """Names of the scorers that keep the file's scores of steps."""


@dataclass(slots=True)
class _Contents:
    """What the whole file holds."""

    trees: int = 0
    steps: int = 0
    api: Api = "completions"
    left_out: Counter[str] = field(default_factory=Counter)


def import_trees(request: ImportRequest, report: Report = lambda _: None) -> ImportedTrees:
    """Read the trees of a file into a new forest.

    The whole file is checked before anything is written. If it is interrupted, the same call
    continues.

    Raises:
        ImportTreesError: a line is not a tree, the name is taken, or the file has no tree.
        ConfigError: the config cannot grade a leaf.
        OSError: the file cannot be read.
    """
    if problem := storing_problem(request.file.name):
        raise ImportTreesError(f"the name of {str(request.file)!r} {problem}: rename the file")
    file = TreeFile(request.file, request.format)
    contents = _contents(file)
    if not contents.trees:
        raise ImportTreesError(f"{request.file} has no tree: give one JSON object per line")
    if contents.left_out and not contents.steps:
        reasons = ", ".join(f"{number} {reason}" for reason, number in contents.left_out.items())
        raise ImportTreesError(f"{request.file} has no step that can be imported ({reasons})")
    forest = _start_forest(request, contents)
    scorers: dict[str, Scorer] = {}
    sums: Counter[str] = Counter()
    models: Counter[str] = Counter()
    batch: list[tuple[int, ForeignTree]] = []
    for index, foreign in enumerate(file):
        _grade(foreign, request.grader)
        batch.append((index, foreign))
        sums.update(count_tree(foreign.tree))
        models.update(as_fields(count_models(foreign.tree)))
        if len(batch) == TREES_PER_WRITE or index == contents.trees - 1:
            _write(forest, batch)
            _write_scores(forest, batch, KINDS.get(request.format, ""), scorers)
            batch = []
            report(index + 1)
    whole = {"is_seeded": True, "importer": "", "import_sha256": ""}
    number = contents.trees
    numbers = {"num_trees": number, "num_complete": number, "nodes_by_model": models, **sums}
    collection(Forest).update_one({"_id": forest.name}, {"$set": whole | numbers})
    return ImportedTrees(Forest.objects.get(pk=forest.name), +contents.left_out, sorted(scorers))


def _contents(file: TreeFile) -> _Contents:
    """Read and check the whole file.

    Raises:
        ImportTreesError: see `TreeFile`.
    """
    contents = _Contents()
    for foreign in file:
        if not contents.trees and not isinstance(foreign.prompt, str):
            contents.api = "chat"
        contents.trees += 1
        contents.steps += len(foreign.tree) - 1
        contents.left_out.update(foreign.left_out)
    return contents


def _write_scores(
    forest: Forest,
    batch: list[tuple[int, ForeignTree]],
    kind: str,
    scorers: dict[str, Scorer],
) -> None:
    """Write the file's scores of steps; add the scorers that they start to `scorers`."""
    file = {"file": forest.dataset_source}
    for name, kind_of_scores, scores in (
        (IMPORTED_SCORER, kind, [(index, one.values) for index, one in batch]),
        (IMPORTED_JUDGE, JUDGE, [(index, one.verdicts) for index, one in batch]),
    ):
        given = {tree_id(forest.name, index): scored for index, scored in scores if scored}
        if given:
            if name not in scorers:
                scorers[name] = start_scorer(forest, name, file, kind_of_scores)
            write_scores(scorers[name], given)


def _start_forest(request: ImportRequest, contents: _Contents) -> Forest:
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
    forest = Forest(
        name=request.name,
        config_name=request.config_name,
        config_source=f"Trees of {request.file.name}, format {request.format}{by}.\n",
        config_sha256=digest,
        dataset_split=request.dataset_split,
        dataset_source=request.file.name,
        worker_config=RolloutWorkerConfig(api=contents.api, strategy=IMPORTED).as_dict(),
        num_trees=contents.trees,
        created_at=datetime.now(UTC),
        importer=IMPORTER,
        import_sha256=whole_digest,
    )
    delete_forest(forest)  # remains of a deletion that was interrupted, or raced a worker
    forest.save(force_insert=True)
    return forest


def _grade(foreign: ForeignTree, grader: Grader) -> None:
    """Set answers, grades and voted answers of the finished leaves.

    The file's grades take precedence; the grader fills in the others.
    """
    item, groups = ItemGrader(grader, foreign.label), AnswerGroups(same_by(grader))
    for leaf in sorted(foreign.tree.leaves(), key=lambda leaf: leaf.path):
        if not leaf.is_finished:
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
