"""All strategies are run against a policy of our own, without any server."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.estimators import IMPORTED, RESEGMENTED, STRATEGY_ESTIMATORS
from forests.core.tree import Grade, ReasoningTree, TreeNode
from forests.core.values import estimate_values
from rollouts.steps.completions import Completion, Ending
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Expansion, GrowthStrategy, num_drawn
from rollouts.strategies.omega_prm import ErrorSearch, OmegaPRM, State

LETTERS = "abc"


def sample(expansion: Expansion, steps: str, max_steps: int) -> list[Completion]:
    """Write lines of one letter, and end after `max_steps` lines or by chance."""
    completions = []
    for number in range(expansion.num_samples):
        chance = random.Random(expansion.seed + number)
        text, ended = "", False
        while not ended:
            text += chance.choice(LETTERS) + "\n"
            ended = chance.random() < 0.2 or (steps + text).count("\n") >= max_steps
            if not expansion.to_end:
                break
        ending = Ending.SOLUTION if ended else Ending.STEP
        completions.append(Completion(text, ending, tokens=text.count("\n"), model="letters"))
    return completions


def grade(tree: ReasoningTree) -> None:
    """Grade finished leaves: a solution is wrong from its first "c" on."""
    for leaf in tree.leaves():
        if leaf.is_finished and leaf.grade is None:
            is_wrong = "c" in tree.steps_text(leaf.path)
            leaf.grade = Grade.INCORRECT if is_wrong else Grade.CORRECT


def true_value(steps: str, max_steps: int = 6) -> float:
    """Return the chance that an unfinished prefix becomes a correct solution."""
    if "c" in steps:
        return 0.0
    number = steps.count("\n")
    if number >= max_steps:
        return 1.0
    ends = 1.0 if number + 1 >= max_steps else 0.2
    return 2 / 3 * (ends + (1 - ends) * true_value(steps + "a\n", max_steps))


def make(name: str, **fields: Any) -> GrowthStrategy:
    config = RolloutWorkerConfig(strategy=name, **fields)
    return STRATEGIES[name](config, lambda *_: None)


def grow(strategy: GrowthStrategy, tree: ReasoningTree, max_steps: int = 6) -> Iterator[Expansion]:
    """Grow a tree to its end, and yield each expansion after it was applied."""
    while expansions := strategy.plan(tree):
        for expansion in expansions:
            completions = sample(expansion, tree.steps_text(expansion.node), max_steps)
            strategy.apply(tree, expansion, completions)
            grade(tree)
            yield expansion


def grown(strategy: GrowthStrategy, **options: int) -> ReasoningTree:
    tree = ReasoningTree()
    for _ in grow(strategy, tree, **options):
        pass
    return tree


def shape(tree: ReasoningTree) -> list[TreeNode]:
    return sorted(tree, key=lambda node: node.path)


CONFIGS: dict[str, dict[str, Any]] = {
    "math_shepherd": {"num_rollouts": 3, "rollouts_per_state": 4},
    "omega_prm": {"rollouts_per_state": 6, "num_searches": 4},
    "sampled": {"num_rollouts": 9, "samples_per_request": 4},
    "branching": {"branching": (3, 2, 1), "max_depth": 8},
}


PLAN_SETTINGS: dict[str, dict[str, Any]] = {
    "math_shepherd": {"num_rollouts": 4, "rollouts_per_state": 4},
    "omega_prm": {"rollouts_per_state": 6, "num_searches": 6},
    "sampled": {"num_rollouts": 40, "samples_per_request": 7},
    "branching": {"branching": (4, 2, 2)},
}


def test_every_strategy_says_which_estimators_serve_it():
    assert STRATEGIES.keys() | {IMPORTED, RESEGMENTED} == STRATEGY_ESTIMATORS.keys()


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_leaf_of_a_complete_tree_is_finished(name: str):
    tree = grown(make(name, **CONFIGS[name]))

    assert all(leaf.is_finished for leaf in tree.leaves())
    assert not any(node.is_finished for node in tree if not tree.is_leaf(node.path))


@pytest.mark.parametrize("name", STRATEGIES)
def test_siblings_differ_and_stand_without_gaps(name: str):
    tree = grown(make(name, **CONFIGS[name]))

    for node in tree:
        children = tree.children(node.path)
        assert [child.position for child in children] == list(range(len(children)))
        assert len({(child.text, child.is_finished) for child in children}) == len(children)


@pytest.mark.parametrize("name", STRATEGIES)
def test_growth_repeats_itself(name: str):
    strategy = make(name, **CONFIGS[name])

    assert shape(grown(strategy)) == shape(grown(strategy))


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=25)
@given(stop_after=st.integers(0, 40), lost=st.integers(0, 3))
def test_growth_goes_on_from_whatever_was_stored(name: str, stop_after: int, lost: int):
    """A killed worker stored the first nodes it inserted, and nothing of the rest."""
    strategy = make(name, **CONFIGS[name])
    tree = ReasoningTree()
    stored: list[TreeNode] = [tree.root]
    for number, _ in enumerate(grow(strategy, tree)):
        if number >= stop_after:
            break
        known = {id(node) for node in stored}
        stored += [node for node in tree if id(node) not in known]
    kept = ReasoningTree.from_nodes(stored[: max(1, len(stored) - lost)])

    for _ in grow(strategy, kept):
        pass

    if name == "sampled":
        assert num_leaf_samples(kept) == num_leaf_samples(grown(strategy))
    assert all(leaf.is_finished for leaf in kept.leaves())
    assert strategy.plan(kept) == []


SPLIT_REQUESTS: dict[str, dict[str, Any]] = {
    name: fields | {"samples_per_request": 2} for name, fields in CONFIGS.items()
}


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=40)
@given(number=st.integers(0, 10**6))
def test_no_seed_that_gave_a_sample_is_asked_again_after_the_same_prefix(name: str, number: int):
    """Requests fail, or give fewer samples; workers are killed, and the tree is read again."""
    chance = random.Random(number)
    strategy = make(name, **SPLIT_REQUESTS[name])
    tree = ReasoningTree()
    answered: set[tuple[tuple[int, ...], int]] = set()
    while expansions := strategy.plan(tree):
        for expansion in expansions:
            assert (expansion.node, expansion.seed) not in answered
            completions = sample(expansion, tree.steps_text(expansion.node), 6)
            came = completions[: chance.choice([0, 1, 2, 2, 2])]
            if chance.random() < 0.2:  # only the beginning of the last one was stored
                came[-1:] = [replace(one, ending=Ending.STEP) for one in came[-1:]]
            strategy.apply(tree, expansion, came)
            grade(tree)
            if came:
                answered.add((expansion.node, expansion.seed))


def test_torn_rollouts_of_several_origins_are_continued_with_seeds_of_their_own():
    tree = ReasoningTree.from_nodes(
        [TreeNode(()), TreeNode((0,), "a\n", drawn={0: 2, 1: 0}, count=2),
         TreeNode((0, 0), "b\n", drawn={0: 2, 1: 3}, count=5)]
    )  # fmt: skip

    plan = make("math_shepherd", num_rollouts=2, rollouts_per_state=3).plan(tree)

    assert [(one.node, one.num_samples, one.origin) for one in plan] == [
        ((0, 0), 2, 0), ((0, 0), 3, 1),
    ]  # fmt: skip
    assert len({one.seed for one in plan}) == 2


def num_leaf_samples(tree: ReasoningTree) -> int:
    return sum(leaf.count for leaf in tree.leaves())


def test_sampled_gives_as_many_leaves_as_rollouts_were_asked():
    tree = grown(make("sampled", **CONFIGS["sampled"]))

    assert num_leaf_samples(tree) == 9


def test_sampled_merges_equal_prefixes_and_counts_them():
    tree = grown(make("sampled", num_rollouts=50))

    first_steps = [node for node in tree.children(()) if not node.terminal]
    assert len(first_steps) == len(LETTERS)
    assert sum(node.count for node in tree.children(())) == 50


def test_sampled_asks_for_no_more_than_the_server_gives_at_once():
    tree = ReasoningTree()

    plan = make("sampled", num_rollouts=9, samples_per_request=4).plan(tree)

    assert [expansion.num_samples for expansion in plan] == [4, 4, 1]
    assert len({expansion.seed for expansion in plan}) == 3


def test_branching_gives_a_merged_step_the_samples_of_all_it_stands_for():
    strategy = make("branching", branching=(6, 2), max_depth=3)
    tree = ReasoningTree()
    strategy.apply(tree, strategy.plan(tree)[0], [Completion("same\n", Ending.STEP)] * 6)

    assert [node.count for node in tree.children(())] == [6]
    assert [expansion.num_samples for expansion in strategy.plan(tree)] == [12]


def test_branching_draws_again_what_a_server_left_out():
    strategy = make("branching", branching=(4,), max_depth=1)
    tree = ReasoningTree()
    first = strategy.plan(tree)[0]
    strategy.apply(tree, first, [Completion("a", Ending.SOLUTION)])

    second = strategy.plan(tree)[0]

    assert second.num_samples == 3
    assert second.seed != first.seed


def test_branching_stops_at_the_node_limit_and_leaves_open_what_it_did_not_come_to():
    strategy = make("branching", branching=(3,), max_depth=20, max_nodes=30)
    tree = grown(strategy, max_steps=99)

    assert len(tree) - 1 == 30
    assert any(not leaf.is_finished for leaf in tree.leaves())
    assert not any(leaf.truncated for leaf in tree.leaves())
    assert strategy.hit_max_nodes(tree)


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=40)
@given(
    max_nodes=st.integers(1, 150),
    max_depth=st.integers(1, 8),
    stop_after=st.integers(0, 30),
    numbers=st.integers(1, 12),
)
def test_no_tree_has_more_than_max_nodes_and_planning_ends(
    name: str, max_nodes: int, max_depth: int, stop_after: int, numbers: int
):
    """This holds for all settings, also if growth was interrupted and the stored tree is torn."""
    strategy = make(
        name, max_nodes=max_nodes, max_depth=max_depth, num_rollouts=numbers,
        rollouts_per_state=numbers, num_searches=numbers, branching=(numbers, 2),
        samples_per_request=5,
    )  # fmt: skip
    tree = ReasoningTree()
    for number, _ in enumerate(grow(strategy, tree)):
        assert len(tree) - 1 <= max_nodes
        if number >= stop_after:
            break
    stored = ReasoningTree.from_nodes(list(tree)[: max(1, len(tree) - 2)])
    for _ in grow(strategy, stored):
        assert len(stored) - 1 <= max_nodes

    assert strategy.plan(stored) == []
    reread = ReasoningTree.from_nodes(list(stored))
    assert strategy.hit_max_nodes(reread) == strategy.hit_max_nodes(stored)


@pytest.mark.parametrize("name", STRATEGIES)
@settings(max_examples=20)
@given(max_nodes=st.integers(8, 120))
def test_a_plan_follows_from_what_is_stored_and_not_from_the_order_in_which_it_came(
    name: str, max_nodes: int
):
    strategy = make(name, max_nodes=max_nodes, max_depth=8, **PLAN_SETTINGS[name])
    tree = ReasoningTree()
    for _ in grow(strategy, tree):
        reread = ReasoningTree.from_nodes(list(tree))
        assert strategy.plan(reread) == strategy.plan(tree)


@pytest.mark.parametrize("name", ["sampled", "math_shepherd", "omega_prm"])
@settings(max_examples=20)
@given(max_nodes=st.integers(8, 200))
def test_the_node_limit_cuts_no_rollout(name: str, max_nodes: int):
    """A cut rollout would count as wrong, and leaving out long ones would favour short ones."""
    strategy = make(name, max_nodes=max_nodes, max_depth=8, **PLAN_SETTINGS[name])
    tree = grown(strategy)

    assert all(leaf.is_finished and not leaf.truncated for leaf in tree.leaves() if leaf.path)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_default_limit_has_room_for_the_default_settings(name: str):
    strategy = make(name)
    most = strategy.most_nodes(strategy.config)

    assert most is not None
    assert most <= strategy.config.max_nodes
    tree = grown(strategy, max_steps=99)
    assert len(tree) - 1 <= most
    assert not strategy.hit_max_nodes(tree)


@pytest.mark.parametrize("name", STRATEGIES)
def test_most_nodes_is_what_a_policy_needs_that_never_repeats_itself(name: str):
    """Every sample is new and runs to the depth limit, and every second one is right."""
    strategy = make(name, max_depth=5, num_rollouts=3, rollouts_per_state=2, num_searches=3,
                    branching=(3, 2, 1), max_nodes=10**6)  # fmt: skip
    tree, number = ReasoningTree(), 0
    while expansions := strategy.plan(tree):
        for expansion in expansions:
            texts = []
            for _ in range(expansion.num_samples):
                steps = 5 - len(expansion.node) if expansion.to_end else 1
                texts.append("".join(f"{number}/{step}\n" for step in range(steps)))
                number += 1
            samples = [Completion(text, Ending.STEP) for text in texts]
            strategy.apply(tree, expansion, samples)
            for leaf in tree.leaves():
                if leaf.is_finished and leaf.grade is None:
                    is_right = int(leaf.text.partition("/")[0]) % 2 == 1
                    leaf.grade, leaf.terminal, leaf.truncated = (
                        Grade.CORRECT,
                        is_right,
                        not is_right,
                    )

    most = strategy.most_nodes(strategy.config)
    assert most is not None
    assert len(tree) - 1 <= most
    if name != "omega_prm":
        assert len(tree) - 1 == most


def test_a_server_that_writes_more_than_was_asked_for_does_not_break_the_limit():
    strategy = make("branching", branching=(2,), max_depth=9, max_nodes=3)
    tree = ReasoningTree()
    (expansion,) = strategy.plan(tree)

    strategy.apply(tree, expansion, [Completion(f"{n}\nb\nc\nd\n", Ending.STEP) for n in range(2)])

    assert [node.text for node in shape(tree)] == ["", "0\n", "b\n", "c\n"]
    assert not any(node.is_finished for node in tree)
    assert strategy.plan(tree) == []


def test_a_full_tree_still_counts_samples_of_steps_that_it_has():
    strategy = make("sampled", num_rollouts=2, max_depth=2, max_nodes=2)
    tree = ReasoningTree()
    strategy.apply(tree, Expansion((), 1, True, 0), [Completion("a\nb\n", Ending.SOLUTION)])

    strategy.apply(tree, Expansion((), 1, True, 1), [Completion("a\nb\n", Ending.SOLUTION)])

    assert [node.count for node in shape(tree)][1:] == [2, 2]


def test_a_tree_that_has_all_its_samples_did_not_hit_the_limit_however_full_it_is():
    strategy = make("sampled", num_rollouts=1, max_depth=2, max_nodes=2)
    tree = ReasoningTree()
    strategy.apply(tree, strategy.plan(tree)[0], [Completion("a\nb\n", Ending.SOLUTION)])

    assert len(tree) - 1 == 2
    assert not strategy.hit_max_nodes(tree)


def test_math_shepherd_at_the_limit_has_whole_solutions_annotated_first():
    strategy = make(
        "math_shepherd", num_rollouts=4, rollouts_per_state=4, max_nodes=35, max_depth=6
    )
    tree = grown(strategy)

    steps = [
        node for node in shape(tree) if node.path and node.drawn.get(0) and not node.is_finished
    ]
    annotated = [num_drawn(tree, node.path, node.depth) > 0 for node in steps]
    assert strategy.hit_max_nodes(tree)
    assert {True, False} == set(annotated)
    assert annotated == sorted(annotated, reverse=True)


def test_a_solution_is_truncated_at_the_depth_limit():
    tree = grown(make("sampled", num_rollouts=8, max_depth=2), max_steps=50)

    deepest = [node for node in tree if node.depth == 2]
    assert max(node.depth for node in tree) == 2
    assert any(node.truncated for node in deepest)


@pytest.mark.parametrize("to_end", [True, False])
def test_a_solution_ends_where_its_answer_is_found(to_end: bool):
    config = RolloutWorkerConfig(strategy="branching")

    def find_answer(before: str, steps: Sequence[str]) -> int | None:
        return next((n for n, step in enumerate(steps, start=1) if "answer" in step), None)

    strategy = STRATEGIES["branching"](config, find_answer)
    tree = ReasoningTree()
    text = "a\nThe answer is 4.\nmore\n"

    strategy.apply(tree, Expansion((), 1, to_end, 0), [Completion(text, Ending.STEP)])

    assert [node.text for node in shape(tree)] == ["", "a\n", "The answer is 4.\n"]
    assert tree.leaves()[0].terminal


def test_the_end_of_one_sample_among_siblings_that_go_on_is_kept():
    strategy = make("branching", branching=(1, 2), max_depth=5)
    tree = ReasoningTree()
    strategy.apply(tree, strategy.plan(tree)[0], [Completion("a\n", Ending.STEP)])

    strategy.apply(
        tree,
        strategy.plan(tree)[0],
        [Completion("", Ending.SOLUTION), Completion("b\n", Ending.STEP)],
    )

    ends = [node for node in tree.leaves() if node.terminal]
    assert [node.text for node in ends] == [""]
    assert [expansion.node for expansion in strategy.plan(tree)] == [(0, 1)]


def test_a_sample_that_ends_and_one_that_goes_on_are_two_siblings():
    strategy = make("sampled", num_rollouts=2)
    tree = ReasoningTree()

    strategy.apply(
        tree,
        strategy.plan(tree)[0],
        [Completion("a\n", Ending.SOLUTION), Completion("a\nb", Ending.SOLUTION)],
    )

    assert [(n.text, n.terminal) for n in tree.children(())] == [("a\n", True), ("a\n", False)]


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_samples_of_a_node_add_up_by_where_they_were_drawn(name: str):
    for node in grown(make(name, **CONFIGS[name])):
        assert not node.path or node.count == sum(node.drawn.values())


@pytest.mark.parametrize(("name", "searches"), [("math_shepherd", 0), ("omega_prm", 20)])
def test_estimates_lie_around_the_true_values(name: str, searches: int):
    """Each lies within 4.5 standard deviations of the binomial: one in 10^5 falls outside."""
    num = 400
    strategy = make(
        name, num_rollouts=5, rollouts_per_state=num, num_searches=max(searches, 1),
        samples_per_request=1000, max_nodes=100_000,
    )  # fmt: skip
    tree = grown(strategy)

    annotated = [
        (path, value)
        for path, value in estimate_values(tree, "own_rollouts").items()
        if value.leaves == num and not tree.is_leaf(path)
    ]

    assert len(annotated) > 5
    for path, value in annotated:
        truth = true_value(tree.steps_text(path))
        assert value.value is not None
        assert abs(value.value - truth) <= 4.5 * math.sqrt(truth * (1 - truth) / num)


def test_math_shepherd_annotates_every_step_of_every_solution():
    tree = grown(make("math_shepherd", num_rollouts=4, rollouts_per_state=7))

    steps = [node for node in tree if node.path and node.drawn.get(0) and not node.is_finished]
    assert steps
    assert all(num_drawn(tree, node.path, node.depth) == 7 for node in steps)
    others = [node for node in tree if node.path and not node.drawn.get(0)]
    assert all(num_drawn(tree, node.path, node.depth) == 0 for node in others)


def test_omega_prm_finds_the_first_wrong_step_of_each_rollout_it_searches():
    strategy = OmegaPRM(
        RolloutWorkerConfig(
            strategy="omega_prm", rollouts_per_state=64, num_searches=10, max_nodes=10**6
        ),
        lambda *_: None,
    )
    tree = grown(strategy, max_steps=12)

    errors = strategy.search(tree).first_errors

    assert len(errors) == 10
    for path in errors:
        assert tree.nodes[path].text == "c\n"
        assert "c" not in tree.steps_text(path[:-1])


def test_omega_prm_looks_at_logarithmically_many_prefixes():
    """A chain of 64 steps, wrong from step 40 on, is searched with six states besides the root."""
    strategy = OmegaPRM(
        RolloutWorkerConfig(rollouts_per_state=4, num_searches=1, max_depth=64), lambda *_: None
    )
    tree = ReasoningTree()
    requests = 0
    while expansions := strategy.plan(tree):
        for expansion in expansions:
            requests += 1
            done = len(expansion.node)
            wrong = "".join(f"{n}\n" for n in range(done, 64))
            right = "good\n"
            is_lost = done >= 40
            texts = [wrong] * 4 if is_lost else [wrong, wrong, right, right]
            strategy.apply(tree, expansion, [Completion(text, Ending.SOLUTION) for text in texts])
            for leaf in tree.leaves():
                good = leaf.text == right
                leaf.grade = Grade.CORRECT if good else Grade.INCORRECT

    assert requests == 1 + 6
    assert [len(path) for path in strategy.search(tree).first_errors] == [40]


def test_omega_prm_prefers_rollouts_of_states_that_nearly_succeed_and_short_ones():
    strategy = OmegaPRM(RolloutWorkerConfig(), lambda *_: None)
    likely = State((0,), 0.9, [((0, 0), 100)])
    unlikely = State((1,), 0.1, [((1, 0), 100)])
    long = State((2,), 0.9, [((2, 0), 900)])

    picked = strategy._pick(ErrorSearch({s.path: s for s in (unlikely, long, likely)}))

    assert picked == (likely, (0, 0))
    q = 0.5 ** (1 - 0.9) * 0.9 ** (100 / 500)
    assert strategy._exploitation(0.9, 100) == pytest.approx(q)


def test_omega_prm_explores_states_that_were_visited_less():
    strategy = OmegaPRM(RolloutWorkerConfig(omega_c_puct=10), lambda *_: None)
    often = State((0,), 0.9, [((0, 0), 100)], visits=9)
    never = State((1,), 0.1, [((1, 0), 100)])

    picked = strategy._pick(ErrorSearch({s.path: s for s in (often, never)}))

    assert picked is not None
    assert picked[0] is never


@pytest.mark.parametrize("letter", ["a", "c"])
def test_omega_prm_leaves_trees_alone_that_are_all_right_or_all_wrong(letter: str):
    strategy = make("omega_prm", rollouts_per_state=4)
    tree = ReasoningTree()
    (expansion,) = strategy.plan(tree)
    strategy.apply(tree, expansion, [Completion(f"{letter}\n", Ending.SOLUTION)] * 4)
    grade(tree)

    assert strategy.plan(tree) == []


def test_omega_prm_searches_a_full_tree_no_further():
    strategy = OmegaPRM(
        RolloutWorkerConfig(rollouts_per_state=2, max_nodes=16, max_depth=8), lambda *_: None
    )
    tree = ReasoningTree()
    (expansion,) = strategy.plan(tree)
    texts = ["".join(f"{n}\n" for n in range(8)), "".join(f"so {n}\n" for n in range(7)) + "good\n"]
    strategy.apply(tree, expansion, [Completion(text, Ending.SOLUTION) for text in texts])
    for leaf in tree.leaves():
        leaf.grade = Grade.CORRECT if leaf.text == "good\n" else Grade.INCORRECT

    assert len(tree) - 1 == 16
    assert strategy.plan(tree) == []
    assert strategy.search(tree).first_errors == []
    assert strategy.hit_max_nodes(tree)


def test_omega_prm_finds_a_first_error_for_fewer_tokens_than_math_shepherd():
    """The paper's point; `benchmarks/annotation.py` reports the ratio over lengths."""
    costs = {}
    for name in ("math_shepherd", "omega_prm"):
        tree = grown(
            make(name, num_rollouts=4, rollouts_per_state=8, max_nodes=10**6, max_depth=40),
            max_steps=30,
        )
        annotated = estimate_values(tree, "own_rollouts")
        first_errors = [
            node
            for node in tree
            if node.text == "c\n"
            and num_drawn(tree, node.path, node.depth)
            and annotated[node.path].value == 0
            and "c" not in tree.steps_text(node.path[:-1])
        ]
        costs[name] = sum(node.tokens * node.count for node in tree) / len(first_errors)

    assert costs["omega_prm"] < costs["math_shepherd"]


def test_omega_prm_takes_no_value_from_rollouts_that_could_not_be_compared():
    strategy = OmegaPRM(RolloutWorkerConfig(rollouts_per_state=4), lambda *_: None)
    grades = (Grade.CORRECT, Grade.INCORRECT, Grade.UNCOMPARED, Grade.UNCOMPARED)
    tree = ReasoningTree()
    for number, one in enumerate(grades):
        tree.add(TreeNode((number,), text=f"{number}", drawn={0: 1}, terminal=True, grade=one))

    state = strategy.search(tree).states[()]

    assert state.value == 0.5
    assert state.visits == 1  # only its wrong rollout was searched
    assert strategy.search(tree).first_errors == [(1,)]


def test_omega_prm_gives_up_a_search_whose_middle_has_no_result_and_goes_on_with_the_next():
    strategy = OmegaPRM(RolloutWorkerConfig(rollouts_per_state=2), lambda *_: None)
    tree = ReasoningTree()

    def add(path: tuple[int, ...], drawn_from: dict[int, int], grade: Grade | None = None) -> None:
        is_end = grade is not None
        node = TreeNode(path, text="x\n", drawn=drawn_from, terminal=is_end, grade=grade)
        tree.add(node)

    # From the root: one right rollout, and a wrong one of four steps.
    add((0,), {0: 1}, Grade.CORRECT)
    for depth in range(1, 4):
        add((1, *[0] * (depth - 1)), {0: 1})
    add((1, 0, 0, 0), {0: 1}, Grade.INCORRECT)
    # Neither rollout from its middle, after two steps, could be compared.
    for number in (1, 2):
        add((1, 0, number), {2: 1}, Grade.UNCOMPARED)

    search = strategy.search(tree)

    assert search.states[1, 0].value is None
    assert search.first_errors == []
    assert search.missing == []
    assert strategy.plan(tree) == []
