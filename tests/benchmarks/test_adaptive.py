"""What docs/benchmarks.md says about `refine_forest` holds for a few items, too."""

import pytest

from benchmarks.adaptive import KINDS, measure, measures
from benchmarks.simulated_policy import chance_of_error

BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.mark.parametrize("name", BY_NAME)
def test_labels_equal_those_of_math_shepherd_for_fewer_tokens(name: str):
    drawn, inferred = measure(BY_NAME[name], steps=6, num_items=5)

    assert drawn.share_equal == 1.0
    assert drawn.tokens < 0.7 * drawn.tokens_of_math_shepherd
    assert len(measures([drawn, inferred])) == 4


def test_errors_that_the_policy_corrects_make_the_inference_wrong():
    drawn, inferred = measure(BY_NAME["5 % corrected a step, hard items"], steps=6, num_items=5)

    assert inferred.share_equal < drawn.share_equal == 1.0
    assert drawn.tokens < 0.3 * drawn.tokens_of_math_shepherd


@pytest.mark.parametrize(("pass_rate", "corrects"), [(0.3, 0.0), (0.5, 0.1)])
def test_the_policy_has_the_pass_rate_of_its_item(pass_rate: float, corrects: float):
    errs, right = chance_of_error(pass_rate, corrects, 6), 1.0
    for _ in range(6):
        right = right * (1 - errs) + (1 - right) * corrects

    assert right == pytest.approx(pass_rate)
