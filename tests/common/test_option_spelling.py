import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.option_spelling import as_declared

DECLARED = ("--forest_name", "--no-color", "--no-save", "--limit", "-v", "--step_tag")


@pytest.mark.parametrize(
    ("given", "declared"),
    [
        (["--forest-name", "a-b"], ["--forest_name", "a-b"]),
        (["--forest-name=a-b=c-d"], ["--forest_name=a-b=c-d"]),
        (["--no_color"], ["--no-color"]),
        (["--step-tag", "-x-"], ["--step_tag", "-x-"]),
        (["--forest-na", "x"], ["--forest_name", "x"]),
        (["--no_c"], ["--no-color"]),
        (["--no"], ["--no"]),
        (["--un-known"], ["--un-known"]),
        (["-v", "2", "a-file"], ["-v", "2", "a-file"]),
        (["--limit", "3", "--", "--forest-name"], ["--limit", "3", "--", "--forest-name"]),
    ],
)
def test_an_option_is_spelled_as_it_was_declared(given: list[str], declared: list[str]):
    assert as_declared(given, DECLARED) == declared


@given(st.lists(st.sampled_from(DECLARED)), st.randoms())
def test_every_mixture_of_both_letters_means_the_same(options: list[str], random):
    def mixed(option: str) -> str:
        return option[:2] + "".join(
            random.choice("-_") if one in "-_" else one for one in option[2:]
        )

    assert as_declared([mixed(one) for one in options], DECLARED) == options
