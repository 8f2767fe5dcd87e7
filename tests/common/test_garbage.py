"""Python searches for garbage less often."""

import gc

from common.garbage import OBJECTS_BEFORE_A_SEARCH, rare_searches_for_garbage


def test_searches_are_rare_inside_and_as_before_outside():
    before = gc.get_threshold()
    with rare_searches_for_garbage():
        assert gc.get_threshold() == (OBJECTS_BEFORE_A_SEARCH, *before[1:])
    assert gc.get_threshold() == before


def test_searches_that_are_off_stay_off():
    before = gc.get_threshold()
    try:
        gc.set_threshold(0)
        with rare_searches_for_garbage():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
