"""The next call runs while the result of the one before is used."""

import threading
from functools import partial

import pytest

from common.ahead import one_ahead


def test_the_next_call_runs_while_a_result_is_used_and_no_further():
    begun = [threading.Event() for _ in range(3)]

    def call(number: int) -> int:
        begun[number].set()
        return number

    results = one_ahead([partial(call, number) for number in range(3)])
    assert next(results) == 0
    assert begun[1].wait(10)
    assert not begun[2].is_set()
    assert list(results) == [1, 2]


def test_an_error_comes_in_its_place_and_one_call_needs_no_thread():
    assert list(one_ahead([])) == []
    assert list(one_ahead([threading.current_thread])) == [threading.current_thread()]
    results = one_ahead([lambda: 1, lambda: 1 // 0, lambda: 3])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
