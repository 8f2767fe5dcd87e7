"""What docs/benchmarks.md says about `refine_forest --goal pairs` holds for a few items, too."""

import pytest

from benchmarks.pair_refinement import (
    MOST_ROLLOUTS,
    STEPS,
    TARGET,
    TOKENS_OF_A_STEP,
    measure,
    measures,
)


@pytest.mark.parametrize(
    "policy", ["siblings differ much (s = 1)", "half equal, half different (s = 2)"]
)
def test_more_sure_pairs_for_the_tokens_and_as_right_as_they_say(policy: str):
    found = list(measure(policy, 30, refined=[(4, 4, 1)], wider=[(4, 4, 1), (4, 8, 1)]))

    refined, narrow, wide = found
    assert refined.pairs_per_million > max(narrow.pairs_per_million, wide.pairs_per_million)
    right = refined.right(TARGET)
    assert len(right) >= 20
    assert sum(right) >= TARGET * len(right)
    assert len(measures(found)) == 2 + 3 * 4


def test_equally_good_steps_get_hardly_any_sure_pair_and_few_rollouts():
    refined, grown = measure("equal siblings", 20, refined=[(4, 2, 1)], wider=[(4, 2, 1)])

    num_pairs = 20 * (1 + 4)
    at_most = 2 * MOST_ROLLOUTS * TOKENS_OF_A_STEP * (STEPS - 2)
    assert len(refined.right(TARGET)) <= 0.02 * num_pairs
    assert grown.tokens < refined.tokens < grown.tokens + 0.2 * num_pairs * at_most
