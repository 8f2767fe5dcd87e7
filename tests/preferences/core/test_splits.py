from hypothesis import given
from hypothesis import strategies as st

from preferences.core.splits import TEST, TRAIN, split_of

PROMPTS = st.text() | st.lists(
    st.fixed_dictionaries({"role": st.just("user"), "content": st.text()}), max_size=2
)


@given(PROMPTS, st.floats(0, 1, exclude_max=True), st.integers())
def test_a_prompt_is_always_in_the_same_split(prompt, fraction, seed):
    assert split_of(prompt, fraction, seed) == split_of(prompt, fraction, seed)


def test_a_prompt_is_in_the_same_split_in_every_process():
    tested = [number for number in range(20) if split_of(f"{number}", 0.3, 7) == TEST]
    assert tested == [2, 5, 7, 9, 10, 12, 13, 16, 17, 19]


@given(PROMPTS, st.integers())
def test_without_a_test_fraction_everything_is_for_training(prompt, seed):
    assert split_of(prompt, 0.0, seed) == TRAIN


def test_the_test_split_has_about_the_wanted_share():
    tested = sum(split_of(f"prompt {number}", 0.2, 0) == TEST for number in range(5000))
    assert 900 < tested < 1100


def test_another_seed_divides_otherwise():
    first, second = ([split_of(f"{n}", 0.5, seed) for n in range(100)] for seed in (0, 1))
    assert first != second


@given(PROMPTS, st.integers(0, 5))
def test_a_greater_test_fraction_keeps_what_was_in_the_test_split(prompt, seed):
    if split_of(prompt, 0.2, seed) == TEST:
        assert split_of(prompt, 0.4, seed) == TEST
