"""What docs/benchmarks.md says about annotated steps holds for a few items, too."""

import pytest

from benchmarks.annotation import BASELINE, REFINED, Yield, measures, yields


@pytest.fixture(scope="module")
def found() -> dict[str, Yield]:
    return {one.strategy: one for one in yields(steps=6, num_trees=4)}


def test_binary_search_finds_more_first_errors_for_a_token(found):
    searched, brute = found["omega_prm"], found[BASELINE]
    assert searched.first_errors > 0
    assert searched.per_million(searched.first_errors) > brute.per_million(brute.first_errors)


def test_single_samples_annotate_nothing_and_a_correct_one_decides_its_steps(found):
    assert found["sampled"].annotated == 0
    assert found["sampled"].decided > 0
    assert found["sampled"].first_errors == 0


def test_refining_finds_first_errors_that_solutions_alone_do_not(found):
    assert found[REFINED].first_errors > found["sampled"].first_errors


def test_a_server_with_a_prefix_cache_computes_the_prompt_of_a_tree_once(found):
    for one in found.values():
        assert one.computed_tokens == one.spent.tokens + 4 * 200
        assert one.cached_tokens == one.spent.prompt_tokens - 4 * 200
    assert found["sampled"].cached_tokens == 0
    assert found["branching"].cached_tokens > 0


def test_each_strategy_has_its_measures_against_math_shepherd(found):
    assert len(measures(list(found.values()))) == 3 * (len(found) - 1)
