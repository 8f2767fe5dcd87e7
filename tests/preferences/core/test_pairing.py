from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forests.core.tree import Grade, NodePath, ReasoningTree, TreeNode
from forests.core.values import NodeValue, estimate_values
from preferences.core.pairing import (
    LEVELS,
    PAIRINGS,
    REASONS,
    PairingOptions,
    PairSelection,
    select_pairs,
)
from tests.metrics.trees import trees as any_trees
from tests.preferences.trees import RIGHT, UNCOMPARED, WRONG, Step, addition_tree, tree_of


def select(tree: ReasoningTree, key: str = "", **options) -> PairSelection:
    values = estimate_values(tree, "leaf_mean", "incorrect")
    return select_pairs(tree, values, PairingOptions(**{"level": "step"} | options), key=key)


def three_steps(first: float | None, second: float | None, third: float | None):
    """Return a tree of three leaves and these values for them."""
    tree = tree_of({"0.0": ("a", RIGHT), "0.1": ("b", RIGHT), "0.2": ("c", RIGHT)})
    values: dict[NodePath, NodeValue] = {(): NodeValue(0.5, 3)}
    values |= {(i,): NodeValue(v, 4) for i, v in enumerate((first, second, third))}
    return tree, values


def texts(selection: PairSelection) -> list[tuple[str, str]]:
    return [(pair.chosen.text, pair.rejected.text) for pair in selection.pairs]


def test_the_better_sibling_is_chosen_at_every_prefix():
    selection = select(addition_tree())
    assert [(pair.prefix, pair.chosen.path, pair.rejected.path) for pair in selection.pairs] == [
        ((), (0,), (1,)),
        ((0,), (0, 0), (0, 1)),
        ((1,), (1, 1), (1, 0)),
    ]
    assert [pair.margin for pair in selection.pairs] == [0.5, 1.0, 1.0]
    assert selection.dropped == Counter()


@pytest.mark.parametrize(
    ("pairing", "expected"),
    [
        ("best_vs_worst", [("b", "c")]),
        ("adjacent", [("b", "a"), ("a", "c")]),
        ("all_pairs", [("b", "a"), ("b", "c"), ("a", "c")]),
    ],
)
def test_a_pairing_decides_how_many_pairs_a_prefix_gives(pairing, expected):
    tree, values = three_steps(0.5, 0.75, 0.25)
    assert texts(select_pairs(tree, values, PairingOptions(pairing=pairing))) == expected


def test_no_result_is_never_a_side_of_a_pair():
    tree, values = three_steps(None, 0.75, 0.25)
    selection = select_pairs(tree, values, PairingOptions(pairing="all_pairs"))
    assert texts(selection) == [("b", "c")]
    assert selection.dropped == Counter(nodes_without_result=1)


def test_equal_values_and_small_margins_are_counted_apart():
    tree, values = three_steps(0.5, 0.5, 0.25)
    selection = select_pairs(tree, values, PairingOptions(pairing="all_pairs", min_margin=0.3))
    assert selection.pairs == []
    assert selection.dropped == Counter(pairs_with_equal_values=1, pairs_below_min_margin=2)


def test_a_margin_of_the_wanted_size_is_enough_despite_binary_fractions():
    tree, values = three_steps(0.7, 0.2, 0.2)  # 0.7 - 0.2 < 0.5 in binary
    assert texts(select_pairs(tree, values, PairingOptions(min_margin=0.5))) == [("a", "b")]


def test_sides_with_too_few_leaves_are_left_out():
    selection = select(addition_tree(), min_leaves=2)
    assert [pair.prefix for pair in selection.pairs] == [()]
    assert selection.dropped["nodes_with_too_few_leaves"] == 2


def test_of_siblings_with_one_text_the_one_with_most_leaves_stays():
    tree = tree_of(
        {
            "0.0": ("same", WRONG, 1),
            "0.1": ("same", None),
            "0.1.0": (" on", RIGHT, 2),
            "0.2": ("other", WRONG, 1),
        }
    )
    selection = select(tree, pairing="all_pairs")
    assert [(pair.chosen.path, pair.rejected.path) for pair in selection.pairs] == [((1,), (2,))]
    assert selection.dropped["nodes_with_repeated_text"] == 1


def test_the_blank_end_of_a_sample_is_no_continuation():
    tree = tree_of({"0.0": ("a", None), "0.0.0": ("\n", RIGHT), "0.0.1": ("b", WRONG)})
    selection = select(tree)
    assert selection.pairs == []
    assert selection.dropped["nodes_with_blank_text"] == 1


def test_trajectories_are_whole_solutions_right_against_wrong():
    tree = addition_tree()
    selection = select(tree, level="trajectory", pairing="all_pairs")
    assert len(selection.pairs) == 4
    for pair in selection.pairs:
        assert tree.nodes[pair.chosen.path].grade is RIGHT
        assert tree.nodes[pair.rejected.path].grade is WRONG
        assert pair.chosen.text == tree.steps_text(pair.chosen.path)
        assert pair.prefix_text == ""


def test_caps_keep_a_sample_that_the_seed_decides():
    tree = tree_of({f"0.{i}": (f"step {i}", RIGHT if i % 2 else WRONG) for i in range(12)})
    everything = select(tree, pairing="all_pairs").pairs
    assert len(everything) == 36
    samples = [
        select(tree, pairing="all_pairs", max_pairs_per_prefix=9, seed=seed) for seed in range(5)
    ]
    assert all(len(sample.pairs) == 9 for sample in samples)
    assert all(sample.dropped["pairs_over_prefix_cap"] == 27 for sample in samples)
    assert all(set(sample.pairs) <= set(everything) for sample in samples)
    assert len({tuple(texts(sample)) for sample in samples}) > 1
    again = select(tree, pairing="all_pairs", max_pairs_per_prefix=9, seed=0)
    assert again == samples[0]


def test_caps_sample_other_positions_in_another_tree():
    tree = tree_of({f"0.{i}": (f"step {i}", RIGHT if i % 2 else WRONG) for i in range(12)})
    kept = {
        tuple(texts(select(tree, key=str(key), pairing="all_pairs", max_pairs_per_tree=5)))
        for key in range(5)
    }
    assert len(kept) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairing": "random"}, "pairing must be one of best_vs_worst, adjacent, all_pairs"),
        ({"level": "word"}, "level must be one of step, step_to_end, trajectory"),
        ({"min_margin": 1.5}, "min_margin must be a number from 0 to 1"),
        ({"min_margin": float("nan")}, "min_margin must be a number from 0 to 1"),
        ({"min_leaves": 0}, "min_leaves must be at least 1"),
        ({"max_pairs_per_tree": 0}, "a cap on pairs must be at least 1"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PairingOptions(**options)


STEP_TEXTS = st.text(alphabet=" \n\tabé数ки\u2028🙂", max_size=4)


@st.composite
def trees(draw) -> ReasoningTree:
    """Any tree of up to three levels, leaves graded or not, texts that repeat and are blank."""
    random = Random(draw(st.integers(0, 2**32)))
    tree = ReasoningTree()
    level: list[tuple[int, ...]] = [()]
    for _ in range(draw(st.integers(1, 3))):
        following = []
        for parent in level:
            for position in range(random.randint(0, 4)):
                path = (*parent, position)
                tree.add(TreeNode(path, text=draw(STEP_TEXTS), count=random.randint(1, 3)))
                following.append(path)
        level = following
    for leaf in tree.leaves():
        leaf.terminal = True
        leaf.grade = random.choice([None, *Grade])
    return tree


@st.composite
def options(draw) -> PairingOptions:
    caps = st.none() | st.integers(1, 4)
    return PairingOptions(
        pairing=draw(st.sampled_from(PAIRINGS)),
        level=draw(st.sampled_from(LEVELS)),
        min_margin=draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        min_leaves=draw(st.integers(1, 3)),
        max_pairs_per_tree=draw(caps),
        max_pairs_per_prefix=draw(caps),
        seed=draw(st.integers(0, 3)),
    )


@given(trees(), options(), st.sampled_from(["incorrect", "exclude"]))
def test_every_pair_keeps_the_promises_of_its_options(tree, wanted, ungraded):
    values = estimate_values(tree, "leaf_mean", ungraded)
    selection = select_pairs(tree, values, wanted, key="t")
    assert selection == select_pairs(tree, values, wanted, key="t")
    assert selection.dropped.keys() <= REASONS.keys()
    assert all(count > 0 for count in selection.dropped.values())
    for pair in selection.pairs:
        assert pair.margin > 0
        assert pair.margin >= wanted.min_margin - 1e-9
        assert pair.chosen.text != pair.rejected.text
        for side in (pair.chosen, pair.rejected):
            assert pair.prefix_text + side.text == tree.steps_text(side.path)
            assert side.path[: len(pair.prefix)] == pair.prefix
            assert side.text.strip()
            is_longer = wanted.level == "step_to_end"
            valued = values[side.path[: len(pair.prefix) + 1] if is_longer else side.path]
            assert (side.value, side.leaves) == (valued.value, valued.leaves)
            assert side.leaves >= wanted.min_leaves
    assert len({pair.texts for pair in selection.pairs}) == len(selection.pairs)
    by_prefix = Counter(pair.prefix for pair in selection.pairs)
    assert max(by_prefix.values(), default=0) <= (wanted.max_pairs_per_prefix or 1000)
    assert len(selection.pairs) <= (wanted.max_pairs_per_tree or 1000)


@given(trees())
def test_no_text_is_both_better_and_worse_than_the_same_sibling(tree):
    selection = select(tree, pairing="all_pairs")
    ordered = {pair.texts for pair in selection.pairs}
    assert not any((prefix, worse, better) in ordered for prefix, better, worse in ordered)


def test_pairs_that_prefixes_of_equal_text_order_in_both_ways_are_left_out():
    tree = tree_of(
        {
            "0.0": ("ab", None), "0.0.0": ("x", RIGHT), "0.0.1": ("y", WRONG),
            "0.1": ("a", None), "0.1.0": ("b", None),
            "0.1.0.0": ("x", WRONG), "0.1.0.1": ("y", RIGHT),
        }
    )  # fmt: skip
    selection = select(tree)
    assert selection.pairs == []
    assert selection.dropped == Counter(
        pairs_contradicted=2, pairs_with_equal_values=1, prefixes_with_one_continuation=1
    )


def test_steps_to_the_end_have_the_values_of_the_steps_and_the_texts_of_solutions():
    tree = addition_tree()
    options = PairingOptions(level="step_to_end")
    [first, *_] = select_pairs(tree, estimate_values(tree), options).pairs
    assert first.margin == 0.5
    assert first.chosen.text == tree.steps_text((0, 0))
    assert first.rejected.text == tree.steps_text((1, 0))  # its other end is right


@given(any_trees(all_finished=True))
def test_the_chosen_end_is_the_best_and_the_rejected_end_is_the_worst_below_their_steps(tree):
    values = estimate_values(tree)
    options = PairingOptions(level="step_to_end", pairing="all_pairs")
    for pair in select_pairs(tree, values, options).pairs:
        for side, is_wanted in ((pair.chosen, True), (pair.rejected, False)):
            step = side.path[: len(pair.prefix) + 1]
            assert tree.is_leaf(side.path)
            assert values[step].value == side.value
            below = {
                bool(values[leaf.path].value)
                for leaf in tree.leaves()
                if leaf.path[: len(step)] == step
            }
            if is_wanted in below:
                assert bool(values[side.path].value) is is_wanted


def test_sides_with_the_same_answer_are_left_out_when_asked():
    tree = tree_of(
        {
            "0.0": ("Five, so 5", RIGHT),
            "0.1": ("By luck 5", WRONG),
            "0.2": ("It is 6", WRONG),
        }
    )
    wanted = PairingOptions(level="trajectory", pairing="all_pairs")
    both = select_pairs(tree, estimate_values(tree), wanted)
    assert len(both.pairs) == 2
    one = select_pairs(tree, estimate_values(tree), replace(wanted, drop_same_answer=True))
    assert [pair.rejected.text for pair in one.pairs] == ["It is 6"]
    assert one.dropped["pairs_with_the_same_answer"] == 1


def twice(steps: Mapping[str, Step]) -> ReasoningTree:
    """Return a tree in which these steps stand under two different first steps."""
    under = {f"0.{n}.{path[2:]}": step for n in (0, 1) for path, step in steps.items()}
    return tree_of({"0.0": ("first ", None), "0.1": ("other ", None)} | under)


class TestCounting:
    """Left-out nodes and pairs are counted over the whole tree, not only at its last prefix."""

    def test_prefixes_with_one_continuation(self):
        tree = twice({"0.0": ("a", RIGHT)})
        assert select(tree).dropped["prefixes_with_one_continuation"] == 2

    def test_continuations_without_a_result(self):
        tree = twice({"0.0": ("a", RIGHT), "0.1": ("b", RIGHT), "0.2": ("c", RIGHT)})
        values = dict.fromkeys(tree.nodes, NodeValue(None, 0))
        dropped = select_pairs(tree, values, PairingOptions()).dropped
        assert dropped["nodes_without_result"] == 8

    def test_continuations_without_text(self):
        tree = twice({"0.0": ("a", RIGHT), "0.1": (" ", WRONG)})
        assert select(tree).dropped["nodes_with_blank_text"] == 2

    def test_continuations_with_the_text_of_a_sibling(self):
        tree = twice({"0.0": ("a", RIGHT), "0.1": ("a", WRONG), "0.2": ("b", WRONG)})
        assert select(tree).dropped["nodes_with_repeated_text"] == 2

    def test_pairs_with_equal_values(self):
        tree = twice({"0.0": ("a", RIGHT), "0.1": ("b", RIGHT)})
        assert select(tree).dropped["pairs_with_equal_values"] == 3

    def test_pairs_with_the_same_answer(self):
        tree = twice({"0.0": ("so 5", RIGHT), "0.1": ("then 5", WRONG)})
        dropped = select(tree, drop_same_answer=True).dropped
        assert dropped["pairs_with_the_same_answer"] == 2

    def test_pairs_beyond_the_caps(self):
        tree = twice({"0.0": ("a", RIGHT), "0.1": ("b", WRONG), "0.2": ("c", WRONG)})
        options = {"pairing": "all_pairs"}
        assert len(select(tree, **options).pairs) == 4
        assert select(tree, max_pairs_per_prefix=1, **options).dropped["pairs_over_prefix_cap"] == 2
        assert select(tree, max_pairs_per_tree=3, **options).dropped["pairs_over_tree_cap"] == 1

    def test_pairs_whose_sides_nobody_can_continue(self):
        tree = tree_of({"0.0": ("a", None), "0.1": ("b", RIGHT), "0.0.0": ("c", UNCOMPARED)})
        values = {path: NodeValue(None, 0) for path in tree.nodes}
        values |= {(0,): NodeValue(0.9, 1), (1,): NodeValue(0.1, 1)}
        dropped = select_pairs(tree, values, PairingOptions(level="step_to_end")).dropped
        assert dropped["pairs_without_end"] == 1

    def test_steps_that_go_on_to_the_same_whole(self):
        tree = tree_of(
            {
                "0.0": ("a", None),
                "0.1": ("ab", None),
                "0.0.0": ("bc", RIGHT),
                "0.1.0": ("c", RIGHT),
                "0.1.1": ("c", WRONG),
            }
        )
        selection = select(tree, level="step_to_end")
        assert selection.dropped["pairs_with_equal_texts"] == 1
        assert select(tree, level="step").dropped["pairs_with_equal_texts"] == 0
        assert select(addition_tree(), level="step_to_end").dropped == Counter()

    def test_pairs_whose_texts_another_prefix_has_too(self):
        steps: dict[str, Step] = {}
        for n in range(3):
            steps |= {f"0.{n}": ("x", None), f"0.{n}.0": ("a", RIGHT), f"0.{n}.1": ("b", WRONG)}
        tree = tree_of(steps)
        selection = select(tree)
        assert selection.dropped["pairs_repeated"] == 2
        assert len(selection.pairs) == 1


def test_of_equal_values_the_one_with_more_evidence_is_compared():
    tree = tree_of({f"0.{n}": (text, RIGHT) for n, text in enumerate("abcd")})
    values: dict[NodePath, NodeValue] = {(): NodeValue(0.5, 9)}
    evidence = [(0.9, 2), (0.9, 5), (0.1, 2), (0.1, 5)]
    values |= {(n,): NodeValue(value, leaves) for n, (value, leaves) in enumerate(evidence)}
    (pair,) = select_pairs(tree, values, PairingOptions()).pairs
    assert (pair.chosen.text, pair.rejected.text) == ("b", "d")


def test_sides_without_an_answer_are_no_two_sides_with_the_same_one():
    tree = tree_of({"0.0": ("a 5", None), "0.1": ("b 5", None)})
    values: dict[NodePath, NodeValue] = {
        (): NodeValue(0.5, 2),
        (0,): NodeValue(1.0, 1),
        (1,): NodeValue(0.0, 1),
    }
    assert len(select_pairs(tree, values, PairingOptions(drop_same_answer=True)).pairs) == 1


def test_options_are_written_as_before_the_newest_of_them_was_there():
    options = PairingOptions(min_margin=0.25, level="step", seed=3)
    assert options.as_dict() == {
        "pairing": "best_vs_worst",
        "min_margin": 0.25,
        "min_leaves": 1,
        "level": "step",
        "max_pairs_per_tree": None,
        "max_pairs_per_prefix": None,
        "seed": 3,
    }
    assert PairingOptions(drop_same_answer=True).as_dict()["drop_same_answer"] is True


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"pairing": "best"}, "pairing must be one of best_vs_worst, adjacent, all_pairs"),
        ({"level": "node"}, "level must be one of step, step_to_end, trajectory"),
        ({"min_margin": 1.5}, "min_margin must be a number from 0 to 1"),
        ({"min_leaves": 0}, "min_leaves must be at least 1"),
        ({"max_pairs_per_tree": 0}, "a cap on pairs must be at least 1"),
    ],
)
def test_the_rule_that_an_option_breaks_is_said_in_whole(options, rule):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  the message is compared below
        PairingOptions(**options)
    assert str(refusal.value) == rule


def test_a_continuation_that_could_not_be_compared_is_no_side_of_a_pair():
    tree = tree_of({"0.0": ("so 5", RIGHT), "0.1": ("so 6", WRONG), "0.2": ("so odd", UNCOMPARED)})
    selection = select(tree, pairing="all_pairs", level="trajectory")
    assert [(p.chosen.text, p.rejected.text) for p in selection.pairs] == [("so 5", "so 6")]
    assert selection.dropped["nodes_without_result"] == 1


def test_near_duplicates_are_left_out_and_counted():
    tree = tree_of(
        {
            "0.0": ("First, it takes 1 bolt", RIGHT),
            "0.1": ("First, it takes 2 bolt", WRONG),
            "0.2": ("Nothing of that kind.", WRONG),
        }
    )
    values = estimate_values(tree)

    found = select_pairs(tree, values, PairingOptions(pairing="all_pairs", min_edit_distance=0.1))

    assert [pair.rejected.text for pair in found.pairs] == ["Nothing of that kind."]
    assert found.dropped["pairs_below_min_edit_distance"] == 1


def test_unsure_pairs_are_left_out_and_unknown_ones_stay():
    tree = tree_of({"0.0": ("a", RIGHT), "0.1": ("b", WRONG), "0.2": ("c", WRONG)})
    values = estimate_values(tree)
    chances: dict[NodePath, float | None] = {(1,): 0.79, (2,): None}

    found = select_pairs(
        tree,
        values,
        PairingOptions(pairing="all_pairs", min_confidence=0.8),
        confidence=lambda _, rejected: chances[rejected],
    )

    assert [(pair.rejected.text, pair.confidence) for pair in found.pairs] == [("c", None)]
    assert found.dropped["pairs_below_min_confidence"] == 1
