"""Keep scores and labels of steps from a file as a scorer of a forest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from common.directories import checksum
from common.errors import UserError
from common.json_lines import JsonFileError, RowPlace, read_json_rows
from common.storable import storing_problem
from forests.core.naming import check_slug, tree_id
from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import HUMAN
from forests.models import Forest, Scorer, TreeStatus
from forests.storage.scores import delete_scores, start_scorer, write_judged
from forests.storage.trees import in_batches, read_trees
from forests.transfer.score_rows import (
    Scale,
    ScoreRow,
    ScoreRowError,
    TreeRows,
    check_scale_is_clear,
    read_score_row,
    scale_of,
)


class ImportScoresError(UserError):
    """A file cannot be imported; the message is one line with the remedy."""


@dataclass(frozen=True, slots=True)
class ScoresRequest:
    """What to import, and under which name."""

    file: Path
    scorer: str
    kind: str
    scale: Scale | None = None
    """None: `signed` if the file has a negative number, `unit` if it has a fraction."""
    replaces: bool = False


@dataclass(frozen=True, slots=True)
class ImportedScores:
    scorer: Scorer
    scale: Scale
    has_numbers: bool
    """Whether the file has numbers; the scale matters only for them."""
    trees: int
    nodes: int
    """Nodes with a score, without roots."""
    without_result: int
    """Rows without a result."""


def import_scores(
    forest: Forest, request: ScoresRequest, report: Callable[[int], None] = lambda _: None
) -> ImportedScores:
    """Store the scores of a file. Nothing is stored unless the whole file can be.

    Importing the same file again stores the same. `report` gets the number of trees done.

    Raises:
        ImportScoresError: the file cannot be read, or does not fit the forest.
        ConfigError: the scorer is known with other scores, and `replaces` is not set.
    """
    check_slug(request.scorer, "scorer")
    if request.scorer == HUMAN:
        raise ImportScoresError(
            f"the name {HUMAN!r} is for labels that people give on this site: choose another "
            "--scorer, such as people"
        )
    if problem := storing_problem(request.file.name):
        raise ImportScoresError(f"the name of {str(request.file)!r} {problem}: rename the file")
    rows = list(_rows(request.file))
    if not rows:
        raise ImportScoresError(f"{request.file} has no score: give one JSON object per line")
    scale = request.scale or scale_of(row for _, row in rows)
    judged = _judged(forest, request.file, rows, scale)
    if request.scale is None:
        try:
            check_scale_is_clear(row for _, row in rows)
        except ScoreRowError as error:
            raise ImportScoresError(f"{request.file}: {error}") from error
    parameters = {
        "file": request.file.name,
        "sha256": checksum(request.file)["sha256"],
        "scale": scale,
    }
    if request.replaces:
        delete_scores(forest, request.scorer)
    scorer = start_scorer(forest, request.scorer, parameters, request.kind)
    for batch in in_batches(sorted(judged)):
        write_judged(scorer, {tree_id(forest.name, index): judged[index] for index in batch})
        report(batch[-1] + 1)
    return ImportedScores(
        scorer=scorer,
        scale=scale,
        has_numbers=any(isinstance(row.score, float) for _, row in rows),
        trees=len(judged),
        nodes=sum(sum(map(bool, one.scores)) for one in judged.values()),
        without_result=sum(row.score is None for _, row in rows),
    )


def _rows(file: Path) -> Iterator[tuple[RowPlace, ScoreRow]]:
    try:
        for place, row in read_json_rows(file):
            try:
                yield place, read_score_row(row)
            except ScoreRowError as error:
                raise ImportScoresError(f"{file} {place}: {error}") from error
    except JsonFileError as error:
        raise ImportScoresError(str(error)) from error


def _judged(
    forest: Forest, file: Path, rows: list[tuple[RowPlace, ScoreRow]], scale: Scale
) -> dict[int, JudgedTree]:
    by_tree: dict[int, list[tuple[RowPlace, ScoreRow]]] = {}
    for place, row in rows:
        if row.tree >= forest.num_trees:
            raise ImportScoresError(
                f"{file} {place}: forest {forest.name!r} has {forest.num_trees} trees, from 0, and "
                f"no tree {row.tree}"
            )
        by_tree.setdefault(row.tree, []).append((place, row))
    judged: dict[int, JudgedTree] = {}
    for batch in in_batches(sorted(by_tree)):
        for stored in read_trees(forest, batch):
            place, _ = by_tree[stored.index][0]
            if stored.status != TreeStatus.COMPLETE:
                raise ImportScoresError(f"{file} {place}: tree {stored.index} is not complete")
            collected = TreeRows(stored.tree)
            for place, row in by_tree[stored.index]:
                try:
                    collected.add(row, scale)
                except ScoreRowError as error:
                    raise ImportScoresError(f"{file} {place}: {error}") from error
            judged[stored.index] = collected.judged()
    return judged
