"""Which settings can become larger when trees have grown, and what happens to the trees."""

from dataclasses import fields
from typing import Any

import pytest

from experiment_configs.interfaces import (
    LIMITS_OF_SOLUTIONS,
    SAMPLE_FREE_SETTINGS,
    SETTINGS_THAT_ADD,
    ConfigError,
    RolloutWorkerConfig,
)
from forests.core.tree import ReasoningTree
from rollouts.maintenance.larger_settings import (
    extended,
    num_lacking,
    settings_that_add,
    why_not_extended,
)
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import GrowthStrategy, num_drawn
from tests.rollouts.strategies.test_strategies import grow, grown, make, num_leaf_samples, shape

# (strategy, settings of the first growth, settings that become larger)
EXTENSIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "sampled": ("sampled", {"num_rollouts": 6}, {"num_rollouts": 10}),
    "branching": ("branching", {"branching": (3, 2, 1), "max_depth": 6}, {"branching": (5, 2, 2)}),
    "branching, fewer numbers": ("branching", {"branching": (2, 1), "max_depth": 5},
                                 {"branching": (2,)}),
    "math_shepherd, N": ("math_shepherd", {"num_rollouts": 3, "rollouts_per_state": 3},
                         {"num_rollouts": 6}),
    "math_shepherd, K": ("math_shepherd", {"num_rollouts": 3, "rollouts_per_state": 3},
                         {"rollouts_per_state": 7}),
    "omega_prm, searches": ("omega_prm", {"rollouts_per_state": 6, "num_searches": 1},
                            {"num_searches": 6}),
    "omega_prm, k": ("omega_prm", {"rollouts_per_state": 4, "num_searches": 3},
                     {"rollouts_per_state": 8}),
    "both": ("math_shepherd", {"num_rollouts": 2, "rollouts_per_state": 3},
             {"num_rollouts": 4, "rollouts_per_state": 5}),
}  # fmt: skip
SAME_AS_FROM_THE_START = ("sampled", "branching", "branching, fewer numbers", "omega_prm, searches")
"""In the other cases, steps that were already continued get new samples. So nodes get other paths,
and seeds follow from paths."""


def grown_twice(
    name: str, first: dict[str, Any], larger: dict[str, Any]
) -> tuple[ReasoningTree, GrowthStrategy]:
    """Return a tree grown, extended and grown again; check that it asks no (node, seed) twice."""
    tree, asked = ReasoningTree(), list[object]()
    strategy = make(name, **first)
    asked += [(expansion.node, expansion.seed) for expansion in grow(strategy, tree)]
    before = {node.path: (node.text, node.count) for node in tree}
    config = extended(strategy.config, larger)
    strategy = STRATEGIES[name](config, lambda *_: None)
    assert num_lacking(strategy, tree) > 0

    asked += [(expansion.node, expansion.seed) for expansion in grow(strategy, tree)]

    assert len(set(asked)) == len(asked)
    for path, (text, count) in before.items():
        assert tree.nodes[path].text == text
        assert tree.nodes[path].count >= count
    assert num_lacking(strategy, tree) == 0
    return tree, strategy


@pytest.mark.parametrize("case", EXTENSIONS)
@pytest.mark.parametrize("samples_per_request", [1, 2, 64])
def test_what_is_there_stays_and_what_is_missing_is_asked_once(case: str, samples_per_request: int):
    name, first, larger = EXTENSIONS[case]

    grown_twice(name, first | {"samples_per_request": samples_per_request}, larger)


@pytest.mark.parametrize("case", SAME_AS_FROM_THE_START)
def test_the_tree_is_that_of_the_larger_settings_from_the_start(case: str):
    """This holds if requests ask for the same number of samples: here, for one each."""
    name, first, larger = EXTENSIONS[case]
    alike = {"samples_per_request": 1}

    tree, _ = grown_twice(name, first | alike, larger)

    assert shape(tree) == shape(grown(make(name, **first | larger | alike)))


@pytest.mark.parametrize("case", ["math_shepherd, N", "math_shepherd, K", "both"])
def test_math_shepherd_has_all_solutions_and_every_step_of_each_all_its_completions(case: str):
    name, first, larger = EXTENSIONS[case]

    tree, strategy = grown_twice(name, first, larger)

    assert num_drawn(tree, (), 0) == strategy.config.num_rollouts
    steps = [
        node for node in tree if node.path and node.drawn.get(0, 0) > 0 and not node.is_finished
    ]
    assert steps
    for node in steps:
        drawn = num_drawn(tree, node.path, node.depth)
        assert drawn == strategy.config.rollouts_per_state


def test_math_shepherd_has_the_solutions_that_it_has_with_the_larger_number_from_the_start():
    first = {"num_rollouts": 3, "rollouts_per_state": 3, "samples_per_request": 1}

    tree, _ = grown_twice("math_shepherd", first, {"num_rollouts": 6})
    from_the_start = grown(make("math_shepherd", **first | {"num_rollouts": 6}))

    assert solutions(tree) == solutions(from_the_start)


def solutions(tree: ReasoningTree) -> list[tuple[str, int]]:
    drawn = [(tree.steps_text(leaf.path), leaf.drawn.get(0, 0)) for leaf in tree.leaves()]
    return sorted(one for one in drawn if one[1])


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_full_tree_grows_further_with_more_room(name: str):
    first: dict[str, Any] = {
        "num_rollouts": 8, "branching": (3, 2), "max_depth": 8, "num_searches": 10,
        "max_nodes": 24,
    }  # fmt: skip
    full = grown(make(name, **first))
    assert make(name, **first).hit_max_nodes(full)

    tree, strategy = grown_twice(name, first, {"max_nodes": 5000})

    assert not strategy.hit_max_nodes(tree)
    assert len(tree) > len(full)


def test_truncated_leaves_stay_and_are_not_continued():
    first = {"num_rollouts": 8, "max_depth": 2}
    before = grown(make("sampled", **first), max_steps=50)

    tree, _ = grown_twice("sampled", first, {"num_rollouts": 30})

    assert any(leaf.truncated for leaf in before.leaves())
    assert num_leaf_samples(tree) == 30
    assert not any(node.is_finished for node in tree if not tree.is_leaf(node.path))


@pytest.mark.parametrize(
    ("strategy", "wanted", "message"),
    [
        ("sampled", {"num_rollouts": 7}, "num_rollouts is 8 and can only become larger, not 7"),
        ("branching", {"branching": (4, 1, 9)}, "branching is 4,2,1 and can only become larger"),
        ("branching", {"branching": (3, 9, 9)}, "branching is 4,2,1 and can only become larger"),
        ("branching", {"branching": ()},
         "a tuple with at least one entry, each entry a whole number of at least 1"),
        ("branching", {"num_rollouts": 9},
         "num_rollouts adds nothing to a forest of strategy branching: branching and max_nodes"),
        ("sampled", {"max_depth": 50}, "max_depth has cut solutions .* seed a new forest"),
        ("sampled", {"concurrency": 50}, "configure_forest --set concurrency=VALUE"),
        ("sampled", {"temperature": 1.0}, "of one kind: seed a new forest"),
        ("sampled", {"num_rollouts": 9, "omega_c_puct": 2}, "of one kind: seed a new forest"),
        ("own", {"num_rollouts": 9}, "num_rollouts adds nothing .*own: max_nodes can"),
    ],
)  # fmt: skip
def test_what_does_more_than_add_is_refused_in_one_line(
    strategy: str, wanted: dict[str, Any], message: str
):
    with pytest.raises(ConfigError, match=f"^[^\n]*{message}[^\n]*$"):
        extended(RolloutWorkerConfig(strategy=strategy), wanted)


@pytest.mark.parametrize("branching", [(4, 2), (4, 2, 1, 1), (4, 2, 1, 2), (5,), (4, 3, 1)])
def test_branching_is_compared_at_each_depth(branching: tuple[int, ...]):
    config = RolloutWorkerConfig(branching=(4, 2, 1))

    assert extended(config, {"branching": branching}).branching == branching


def test_every_strategy_says_what_adds():
    assert SETTINGS_THAT_ADD.keys() == STRATEGIES.keys()
    assert settings_that_add("of somebody else") == ("max_nodes",)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_setting_adds_or_says_why_it_does_not(strategy: str):
    names = {field.name for field in fields(RolloutWorkerConfig)}
    adding = {name for name in names if not why_not_extended(strategy, name)}

    assert adding == set(SETTINGS_THAT_ADD[strategy])
    assert adding.isdisjoint({*SAMPLE_FREE_SETTINGS, *LIMITS_OF_SOLUTIONS})
