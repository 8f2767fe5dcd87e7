"""Exports of what `math_shepherd` and `omega_prm` annotate, as in their papers' datasets."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment_configs.refinements import Refinement
from forests.core.tree import ReasoningTree, TreeNode, parse_path
from forests.core.values import estimate_values
from preferences.export.formats.annotation import Annotation, Kind
from preferences.export.formats.base import Item, Row, RowOptions
from preferences.export.writing import FORMATS
from rollouts.strategies.omega_prm import OmegaPRM
from tests.preferences.export.formats.test_all_formats import rows_of
from tests.preferences.trees import RIGHT, WRONG
from tests.rollouts.strategies.test_refining import HARD, Policy, refined
from tests.rollouts.strategies.test_refining import grown as grown_by
from tests.rollouts.strategies.test_strategies import grown, make


def item_of(tree: ReasoningTree, kind: Kind) -> Item:
    values = estimate_values(tree, "own_rollouts")
    annotation = Annotation.of(kind, tree)
    return Item(
        prompt="Q?", label="5", dataset="letters", tree=tree, values=values, annotation=annotation
    )


def dropped_by(name: str, item: Item) -> Counter[str]:
    dropped: Counter[str] = Counter()
    list(FORMATS[name].rows(item, RowOptions(label_threshold=0.0), dropped))
    return dropped


def drawn_tree(steps: dict[str, tuple[str, object, dict[int, int]]]) -> ReasoningTree:
    """Return the tree of {path: (text, grade of a leaf or None, {depth drawn from: samples})}."""
    nodes = [TreeNode(())]
    for path, (text, grade, drawn) in steps.items():
        nodes.append(
            TreeNode(
                parse_path(path), text=text, count=sum(drawn.values()), drawn=drawn,
                terminal=grade is not None, grade=grade,  # type: ignore[arg-type]
            )
        )  # fmt: skip
    return ReasoningTree.from_nodes(nodes)


SHEPHERD = drawn_tree(
    {
        "0.0": ("a\n", None, {0: 1}),
        "0.0.0": ("b\n", None, {0: 1}),
        "0.0.0.0": ("so 5", RIGHT, {0: 1}),  # noqa: S104
        "0.0.1": ("so 6", WRONG, {1: 1}),
        "0.0.2": ("so 5", RIGHT, {1: 1}),
        "0.0.0.1": ("so 7", WRONG, {2: 2}),
    }
)
"""One solution, a b 5, with two completions of each of its first two steps."""


def test_math_shepherd_gives_the_solutions_from_the_root_with_the_values_of_their_completions():
    item = item_of(SHEPHERD, "solutions")
    [row] = rows_of("trl_stepwise", item, with_values=True)
    assert row["completions"] == ["a\n", "b\n", "so 5"]
    assert row["values"] == [0.5, 0.0, 1.0]
    assert row["labels"] == [True, False, True]
    assert dropped_by("trl_stepwise", item) == Counter(rollouts_that_only_annotate=3)


@pytest.mark.parametrize("name", ["trl_stepwise", "math_shepherd", "processbench"])
@settings(max_examples=20)
@given(
    num_rollouts=st.integers(1, 6),
    per_state=st.integers(1, 5),
    seed=st.integers(0, 99),
    max_nodes=st.sampled_from([30, 100_000]),
)
def test_rows_of_math_shepherd_are_its_annotated_solutions_and_none_of_the_completers(
    name: str, num_rollouts: int, per_state: int, seed: int, max_nodes: int
):
    strategy = make(
        "math_shepherd", num_rollouts=num_rollouts, rollouts_per_state=per_state, seed=seed,
        max_nodes=max_nodes,
    )  # fmt: skip
    tree = grown(strategy)
    solutions = {
        tuple(step.text.strip() for step in tree.path_nodes(leaf.path))
        for leaf in tree.leaves()
        if leaf.drawn.get(0)
    }
    item = item_of(tree, "solutions")
    rows = rows_of(name, item)
    written = [steps_of(row) for row in rows]
    assert set(written) <= solutions
    assert len(written) == len(set(written))
    left_out = dropped_by(name, item)
    if not strategy.hit_max_nodes(tree):
        assert set(written) == solutions
        assert left_out["rollouts_that_only_annotate"] == sum(
            1 for leaf in tree.leaves() if not leaf.drawn.get(0)
        )
    else:
        assert sum(left_out.values()) + len(rows) >= len(tree.leaves())


def steps_of(row: Row) -> tuple[str, ...]:
    if "input" in row:
        lines = row["input"].removeprefix("Q? ").split("\n")
        return tuple(line.split(": ", 1)[1].removesuffix(" ки") for line in lines)
    return tuple(step.strip() for step in row.get("completions") or row["steps"])


@settings(max_examples=20)
@given(seed=st.integers(0, 99), max_nodes=st.sampled_from([20, 40, 100_000]))
def test_no_step_of_a_limited_tree_has_a_label_from_rollouts_of_other_steps(
    seed: int, max_nodes: int
):
    """Each value is the share of right ones among the rollouts drawn from that step."""
    strategy = make(
        "math_shepherd", num_rollouts=4, rollouts_per_state=4, seed=seed, max_nodes=max_nodes,
        max_depth=6,
    )  # fmt: skip
    tree = grown(strategy)
    for row in rows_of("trl_stepwise", item_of(tree, "solutions"), with_values=True):
        path: tuple[int, ...] = ()
        for number, (text, value) in enumerate(zip(row["completions"], row["values"], strict=True)):
            is_end = number == len(row["completions"]) - 1
            path = next(
                one.path
                for one in tree.children(path)
                if one.text == text and one.is_finished == is_end
            )
            if not is_end:
                own = [
                    (leaf.drawn[len(path)], leaf.grade is RIGHT)
                    for leaf in tree.leaves()
                    if leaf.path[: len(path)] == path and leaf.drawn.get(len(path))
                ]
                total = sum(number for number, _ in own)
                assert total > 0
                assert value == sum(number for number, right in own if right) / total


OMEGA = drawn_tree(
    {
        "0.0": ("a\n", None, {0: 1}),
        "0.0.0": ("b\n", None, {0: 1}),
        "0.0.0.0": ("c\n", None, {0: 1}),  # noqa: S104
        "0.0.0.0.0": ("d\n", None, {0: 1}),
        "0.0.0.0.0.0": ("so 9", WRONG, {0: 1}),
        "0.1": ("so 5", RIGHT, {0: 1}),
        "0.0.0.1": ("so 5", RIGHT, {2: 1}),
        "0.0.0.2": ("so 6", WRONG, {2: 1}),
        "0.0.0.0.1": ("so 7", WRONG, {3: 2}),
    }
)
"""The wrong rollout a b c d 9 was searched: state b may still be right, state c is wrong."""


@pytest.mark.parametrize("strategy", ["sampled", "math_shepherd", "branching"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99))
def test_a_refined_tree_gives_the_solutions_of_its_strategy_with_their_hard_labels(
    strategy: str, seed: int
):
    policy = Policy(seed, num_texts=10**9)
    before = grown_by(policy, strategy)
    tree, refining = refined(Policy(seed, num_texts=10**9), strategy)
    is_drawn_from_root = {leaf.path for leaf in before.leaves() if leaf.drawn.get(0)}

    values = estimate_values(tree, "any")
    goal = refining.refinement
    annotation = Annotation.of_refined(strategy, goal, tree, refining.steps)
    item = replace(item_of(tree, "solutions"), values=values, annotation=annotation)

    written = {tuple(row["completions"]): row["labels"] for row in rows_of("trl_stepwise", item)}
    whole = {
        tuple(node.text for node in before.path_nodes(leaf.path)): [
            values[leaf.path[:depth]].value == 1.0 for depth in range(1, leaf.depth + 1)
        ]
        for leaf in before.leaves()
        if strategy == "branching" or leaf.path in is_drawn_from_root
    }
    assert whole.items() <= written.items()
    assert written.keys() == whole.keys() or strategy == "branching"


STEPWISE = drawn_tree(
    {
        "0.0": ("a\n", None, {0: 1}),
        "0.0.0": ("b\n", None, {1: 1}),
        "0.0.0.0": ("so 6", WRONG, {2: 1}),  # noqa: S104
        "0.0.0.1": ("so 5", RIGHT, {1: 1}),
        "0.0.1": ("c\n", None, {1: 1}),
        "0.0.1.0": ("so 7", WRONG, {1: 1}),
        "0.1": ("d\n", None, {0: 1}),
        "0.1.0": ("so 5", RIGHT, {1: 1}),
    }
)
"""Two solutions of single steps, a b 6 and d 5, with the rollouts b 5 and c 7 from a."""

FROM_ROOT = drawn_tree(
    {
        "0.0": ("a\n", None, {0: 1, 1: 1}),
        "0.0.0": ("so 6", WRONG, {0: 1}),
        "0.0.1": ("so 5", RIGHT, {1: 1}),
        "0.1": ("d\n", None, {0: 1}),
        "0.1.0": ("so 5", RIGHT, {0: 1}),
    }
)


@pytest.mark.parametrize(
    ("strategy", "tree", "solutions", "left_out"),
    [
        ("branching", STEPWISE, [("a", "b", "so 6"), ("d", "so 5")], 2),
        ("sampled", FROM_ROOT, [("a", "so 6"), ("d", "so 5")], 1),
    ],
)
def test_a_tree_refined_for_pairs_gives_the_solutions_of_its_strategy(
    strategy: str, tree: ReasoningTree, solutions: list[tuple[str, ...]], left_out: int
):
    item = Item(
        prompt="Q?", label="5", dataset="letters", tree=tree,
        values=estimate_values(tree, "through_rollouts"),
        annotation=Annotation.of_strategy(strategy, tree),
    )  # fmt: skip

    for name, column in (("trl_stepwise", "completions"), ("processbench", "steps")):
        written = [tuple(step.strip() for step in row[column]) for row in rows_of(name, item)]
        assert sorted(written) == solutions
        assert dropped_by(name, item) == Counter(rollouts_that_only_annotate=left_out)


def test_a_refined_tree_that_is_not_finished_gives_decided_solutions_only():
    policy = Policy(HARD, num_texts=10**9)
    tree = grown_by(policy, "sampled")
    goal = Refinement(goal="labels", most_rollouts=4)
    wrong = sum(not leaf.is_correct for leaf in tree.leaves())

    annotation = Annotation.of_refined("sampled", goal, tree, None)
    item = replace(item_of(tree, "solutions"), annotation=annotation)

    assert len(rows_of("trl_stepwise", item)) == len(tree.leaves()) - wrong
    assert dropped_by("trl_stepwise", item) == Counter(solutions_not_fully_annotated=wrong)
    assert wrong


def test_omega_prm_gives_its_states_with_the_steps_between_two_of_them_as_one():
    item = item_of(OMEGA, "states")
    [row] = rows_of("trl_stepwise", item, with_values=True)
    assert row["completions"] == ["a\nb\n", "c\n"]
    assert row["values"] == [0.5, 0.0]
    [session] = rows_of("prm800k", item)
    assert [
        [(one["text"], one["rating"]) for one in step["completions"]]
        for step in session["label"]["steps"]
    ] == [[("a\nb", 1)], [("c", -1)]]


def test_omega_prm_gives_processbench_the_first_errors_that_it_found():
    rows = rows_of("processbench", item_of(OMEGA, "states"))
    assert {(*row["steps"], row["label"]) for row in rows} == {
        ("a", "b", "c", "d", "so 9", 2),  # searched
        ("so 5", -1),
        ("a", "b", "so 6", 2),  # drawn from b, so its only own step is the first wrong one
    }
    assert dropped_by("processbench", item_of(OMEGA, "states")) == Counter(
        rollouts_that_only_annotate=1, solutions_without_first_error=1
    )


@settings(max_examples=15)
@given(seed=st.integers(0, 99))
def test_the_first_errors_of_omega_prm_are_those_that_its_searches_named(seed: int):
    strategy = make("omega_prm", rollouts_per_state=6, num_searches=5, seed=seed)
    assert isinstance(strategy, OmegaPRM)
    tree = grown(strategy)
    named = {tree.steps_text(path) for path in strategy.search(tree).first_errors}
    exported = {
        "".join(f"{step}\n" for step in row["steps"][: row["label"] + 1])
        for row in rows_of("processbench", item_of(tree, "states"))
        if row["label"] >= 0
    }
    assert named <= exported
    found = rows_of("trl_stepwise", item_of(tree, "states"), with_values=True)
    states = set(strategy.search(tree).states) - {()}
    prefixes = {
        "".join(row["completions"][:end])
        for row in found
        for end in range(1, len(row["completions"]) + 1)
    }
    assert prefixes == {tree.steps_text(path) for path in states}


@pytest.mark.parametrize("name", ["trl_stepwise", "math_shepherd", "prm800k"])
def test_a_tree_that_was_not_searched_is_counted(name: str):
    tree = drawn_tree({"0.0": ("so 5", RIGHT, {0: 4})})
    dropped = dropped_by(name, item_of(tree, "states"))
    assert dropped == Counter(rollouts_that_only_annotate=1, trees_without_annotated_steps=1)
