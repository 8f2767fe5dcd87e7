"""`import_trees` reads our exports back: exported again, the rows are the same."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from forests.core.opinions.verdicts import IMPORTED, JUDGE_STEPS, SCORES, Verdict
from forests.core.tree import Grade, ReasoningTree, TreeNode
from forests.core.values import scored_values
from forests.transfer.foreign_trees import ForeignTree
from forests.transfer.readers.math_shepherd import read_math_shepherd
from forests.transfer.readers.prm800k import read_prm800k
from forests.transfer.readers.processbench import read_processbench
from forests.transfer.readers.registry import KINDS
from forests.transfer.readers.step_dpo import read_step_dpo
from forests.transfer.solution_trees import SolutionReader
from preferences.core.pairing import PairingOptions, select_pairs
from preferences.export.formats.base import Item, Row
from tests.preferences.core.test_pairing import trees
from tests.preferences.export.formats.test_all_formats import ASKED, item_of, rows_of

BEST = PairingOptions(pairing="best_vs_worst", level="step", min_margin=0.1, min_leaves=1)


def imported_item(name: str, rows: Iterable[Row], reader: SolutionReader) -> Item | None:
    """Return the item that `--values scorer:imported` exports after an import of these rows."""
    rows = list(rows)
    if not rows:
        return None
    found = reader.read(rows)
    for path, is_correct in found.correct.items():
        found.tree.nodes[path].grade = Grade.CORRECT if is_correct else Grade.INCORRECT
    values = scored_values(found.tree, found.values)
    judges = KINDS.get(name, "") in JUDGE_STEPS
    return Item(
        prompt=found.prompt,
        label=found.label,
        dataset="sums",
        tree=found.tree,
        values=values,
        pairs=select_pairs(found.tree, values, BEST).pairs,
        question=found.question,
        judges_steps=judges,
        neutral=SCORES[Verdict.NEUTRAL] if judges else None,
    )


def again(name: str, rows: list[Row], reader: SolutionReader) -> list[Row]:
    item = imported_item(name, rows, reader)
    threshold = 0.5 if KINDS.get(name) == IMPORTED else 0.0
    return [] if item is None else rows_of(name, item, threshold)


def divided(solutions: Iterable[list[tuple[str, Any]]]) -> set[tuple[str, ...]]:
    """Return the prefixes to which solutions give different labels at the last step."""
    labels: defaultdict[tuple[str, ...], set[Any]] = defaultdict(set)
    for steps in solutions:
        for number, (_, label) in enumerate(steps, start=1):
            if label is not None:
                labels[tuple(text for text, _ in steps[:number])].add(label)
    return {prefix for prefix, found in labels.items() if len(found) > 1}


def is_clear(steps: list[tuple[str, Any]], unclear: set[tuple[str, ...]]) -> bool:
    texts = tuple(text for text, _ in steps)
    return not any(texts[:number] in unclear for number in range(1, len(texts) + 1))


def of_math_shepherd(row: Row) -> list[tuple[str, Any]]:
    texts = [one.strip() for one in row["input"].removeprefix(ASKED).split("ки")[:-1]]
    marks = [line[-1] for line in row["label"].split("\n") if line.endswith((" +", " -"))]
    return list(zip(texts, marks[-len(texts) :], strict=True))


def plain(value: str) -> bool:
    return "\n" not in value and "\u2028" not in value


@given(trees())
def test_math_shepherd_rows_survive_unless_two_solutions_label_one_prefix_differently(tree):
    rows = [
        row for row in rows_of("math_shepherd", item_of(tree))
        if row["label"].count("\n") == row["input"].count("ки") - 1
    ]  # fmt: skip
    unclear = divided(map(of_math_shepherd, rows))
    kept = [row for row in rows if is_clear(of_math_shepherd(row), unclear)]

    assert in_any_order(again("math_shepherd", rows, read_math_shepherd)) == in_any_order(kept)


def of_processbench(row: Row) -> list[tuple[str, Any]]:
    known = len(row["steps"]) if row["label"] == -1 else row["label"] + 1
    return [
        (text, None if number >= known else number == row["label"])
        for number, text in enumerate(row["steps"])
    ]


@given(trees())
def test_processbench_rows_survive_except_for_their_ids(tree):
    rows = rows_of("processbench", item_of(tree))
    unclear = divided(map(of_processbench, rows))
    kept = [row for row in rows if is_clear(of_processbench(row), unclear)]

    found = again("processbench", rows, read_processbench)

    assert without(found, "id") == without(kept, "id")


@given(trees())
def test_a_prm800k_session_survives_whole(tree):
    for row in rows_of("prm800k", item_of(tree)):
        assert again("prm800k", [row], read_prm800k) == [row]


@st.composite
def worded_trees(draw) -> ReasoningTree:
    """A tree of steps that are lines; siblings differ in their texts."""
    random = Random(draw(st.integers(0, 2**32)))
    tree = ReasoningTree()
    level: list[tuple[int, ...]] = [()]
    for depth in range(draw(st.integers(1, 4))):
        level = [(*path, n) for path in level for n in range(random.randint(0, 3))]
        for path in level:
            tree.add(TreeNode(path, text=f"Step {depth}: {'abc'[path[-1]]}.\n"))
    for leaf in tree.leaves():
        leaf.terminal = True
        leaf.grade = random.choice(list(Grade))
    return tree


@given(worded_trees())
def test_the_best_and_worst_steps_of_step_dpo_rows_survive(tree):
    item = replace(item_of(tree), label="5")
    item = replace(item, pairs=select_pairs(tree, item.values, BEST).pairs)
    rows = rows_of("step_dpo", item)

    assert without(again("step_dpo", rows, read_step_dpo)) == without(rows)


def without(rows: list[Row], *names: str) -> list[Any]:
    return sorted(
        sorted((key, str(value)) for key, value in row.items() if key not in names) for row in rows
    )


def in_any_order(rows: list[Row]) -> list[Any]:
    return without(rows, "task")


@given(trees(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter_and_no_solution_is_lost(tree, random):
    rows = rows_of("processbench", item_of(tree))
    if not rows:
        return
    shuffled = random.sample(rows, len(rows))
    first, second = (list(_labelled(read_processbench.read(one))) for one in (rows, shuffled))

    assert sorted(first, key=str) == sorted(second, key=str)
    whole = {texts for texts, *_ in first}
    assert {tuple(row["steps"]) for row in rows} <= whole


def _labelled(found: ForeignTree) -> Iterator[tuple[Any, ...]]:
    for node in found.tree:
        texts = tuple(one.text.strip() for one in found.tree.path_nodes(node.path))
        texts = tuple(text for text in texts if text)
        yield texts, found.values.get(node.path), found.correct.get(node.path)


def test_what_rows_disagree_on_is_counted():
    row = {"problem": "2 + 3?", "steps": ["a", "b"], "label": -1, "final_answer_correct": True}
    other = row | {"label": 0, "final_answer_correct": False}

    found = read_processbench.read([row, other])

    assert found.left_out == Counter(
        {"steps that rows value differently": 1, "solutions that rows grade differently": 1}
    )
    assert (0,) not in found.values
