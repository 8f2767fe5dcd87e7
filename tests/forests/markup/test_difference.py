from hypothesis import given
from hypothesis import strategies as st

from forests.markup.difference import MAX_EQUAL_WORDS, MAX_WORDS, difference

TEXTS = st.text(alphabet="ab 12+=.\né数🙂", max_size=40)


@given(TEXTS, TEXTS)
def test_the_stretches_spell_both_texts(new, old):
    spans = difference(new, old)
    assert spans is not None
    assert "".join(span.text for span in spans if span.kind != "removed") == new
    assert "".join(span.text for span in spans if span.kind != "added") == old


@given(TEXTS)
def test_equal_texts_have_no_difference(text):
    assert all(span.kind == "same" for span in difference(text, text) or ())


def test_words_are_compared_and_not_characters():
    spans = difference("so 2 + 2 = 14.", "so 2 + 2 = 15.")
    assert [(span.kind, span.text) for span in spans or ()] == [
        ("same", "so 2 + 2 = "),
        ("removed", "15"),
        ("added", "14"),
        ("same", "."),
    ]


def test_texts_that_are_too_long_are_not_compared():
    assert difference("a b " * MAX_WORDS, "a") is None
    words = " ".join(str(number) for number in range(MAX_WORDS - 1))
    assert difference(words, words[:-1]) is not None


def test_texts_that_repeat_too_many_words_are_not_compared():
    often = int(MAX_EQUAL_WORDS**0.5)
    assert difference("a " * often, "a " * (often - 1)) is not None
    assert difference("a " * (often + 1), "a " * (often + 1)) is None
