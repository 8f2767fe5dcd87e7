"""What the benchmark reads from real llama.cpp servers, and what it compares."""

from dataclasses import replace

from benchmarks.measures import Measure
from benchmarks.servers import llama_cpp
from benchmarks.slot_cache import (
    Case,
    Growth,
    Result,
    counters,
    counters_in,
    measures,
    num_distinct,
)

METRICS = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 637
# TYPE llamacpp:prompt_tokens_cached_total counter
llamacpp:prompt_tokens_cached_total 1.2e+06
llamacpp:requests_deferred 0
"""
PLAIN = Result(
    case=Case(is_affine=False, in_flight=16),
    forest=Growth(10.0, 20, prompt_tokens=1000, cached_tokens=600, distinct_tokens=100),
    computed_tokens=400,
    cached_tokens=600,
)
AFFINE = replace(
    PLAIN,
    case=Case(is_affine=True, in_flight=16),
    forest=replace(PLAIN.forest, seconds=5.0, cached_tokens=880),
    computed_tokens=120,
    cached_tokens=880,
)


def by_kind(results: list[Result]) -> list[tuple[str, Measure]]:
    return [(one.case.split(",")[0], one) for one in measures(results)]


def test_both_counters_are_read_from_what_the_server_prints():
    assert counters_in(METRICS) == {"computed": 637, "cached": 1_200_000}


def test_the_product_s_own_model_server_prints_them():
    with llama_cpp(slots=1) as url:
        assert counters([url, url]) == {"computed": 0, "cached": 0}


def test_a_token_is_distinct_if_no_prompt_has_it_after_the_same_prefix():
    assert num_distinct([(1, 2, 3), (1, 2, 4), (1, 2), (2, 3)]) == 6


def test_hits_and_computed_tokens_are_measured_against_the_best_possible_order():
    found = dict(by_kind([PLAIN, AFFINE])[3:])
    assert found["cache hits"].ratio == 0.978
    assert found["computed prompt tokens"].ratio == 1.2
    assert found["speed"].ratio == 2.0
    assert all(measure.is_met is not False for measure in found.values())


def test_a_forest_that_counts_a_thousandth_too_few_or_too_many_misses_the_goal():
    for counted in (879, 881):
        forest = replace(AFFINE.forest, cached_tokens=counted)
        found = dict(by_kind([PLAIN, replace(AFFINE, forest=forest)])[3:])
        assert found["cached tokens that the forest counted"].is_met is False
