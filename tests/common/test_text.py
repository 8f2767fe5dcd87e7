"""How texts of users and models are shown."""

from hypothesis import given
from hypothesis import strategies as st

from common.text import describe, one_line, printable


def test_what_cannot_be_encoded_or_drawn_is_made_visible():
    assert printable("a\ud800b") == "a\ufffdb"
    assert printable("\ud83d\ude00") == "\U0001f600"
    assert printable("a\x00\x1b[31m\tb\n") == "a\u2400\u241b[31m\tb\n"
    assert printable("\x9b31m\x7f") == "\ufffd31m\u2421"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_other_texts_stay_as_they_are(text: str):
    assert printable(text) == text


@given(st.text(st.characters()))
def test_one_line_has_no_line_ends_no_control_characters_and_a_limit(text: str):
    line = one_line(text, longest=20)
    assert len(line) <= 20
    assert line.splitlines() in ([], [line])
    line.encode()


def test_an_error_is_one_line_of_its_kind_and_message():
    assert describe(ValueError("two\nlines")) == "ValueError: two lines"
    assert describe(ValueError("\x1b[2J")) == "ValueError: \u241b[2J"


def test_a_long_message_is_cut():
    assert one_line("word " * 100, longest=9) == "word word"


def test_an_error_whose_message_fails_is_described_nevertheless():
    class HostileError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert describe(HostileError()) == "HostileError: its message cannot be read (ValueError)"
