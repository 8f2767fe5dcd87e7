from hypothesis import given
from hypothesis import strategies as st

from preferences.core.decontamination import Benchmark, words_of

LONG = "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning, and bakes."
SHORT = "How much is 2 plus 3?"

words = st.lists(st.sampled_from(["one", "two", "three", "four"]), min_size=4, max_size=30)


def test_a_question_is_found_whatever_its_case_punctuation_and_examples_before_it():
    prompt = (
        f"Question: How many?\nAnswer: 3\n\nQuestion: {LONG.upper().replace('.', ' !')}\nAnswer:"
    )
    assert Benchmark([LONG]).is_in(prompt)
    assert not Benchmark([LONG]).is_in(prompt.replace("BREAKFAST", "LUNCH").replace("PER", "A"))


def test_thirteen_words_in_a_row_are_enough_of_a_long_question_and_twelve_are_not():
    found = words_of(LONG)
    assert Benchmark([LONG]).is_in(" ".join(["so", *found[2:15], "end"]))
    assert not Benchmark([LONG]).is_in(" ".join(["so", *found[2:14], "end"]))
    assert Benchmark([LONG], ngram=5).is_in(" ".join(found[2:7]))


def test_a_short_question_is_found_as_a_whole():
    assert Benchmark([SHORT]).is_in(f"Tell me: {SHORT} Think.")
    assert not Benchmark([SHORT]).is_in("How much is 2 plus 4?")


def test_a_question_of_a_few_words_is_only_the_whole_prompt():
    assert Benchmark(["Is it?"]).is_in("is it")
    assert not Benchmark(["Is it?"]).is_in("What is it worth?")


def test_in_a_question_without_letters_signs_count():
    assert Benchmark(["∑ ∫"]).is_in("∑∫")
    assert not Benchmark(["∑ ∫"]).is_in("∆ ?")
    assert not Benchmark(["???"]).is_in("!!!")
    assert Benchmark(["2 + 3 = ?"]).is_in("2+3=")
    assert not Benchmark(["2 + 3 = ?"]).is_in("2 * 3 = ?")
    assert Benchmark(["1 + 2 * 3 - 4"]).is_in("Compute 1+2*3-4.")
    assert not Benchmark(["1 + 2 * 3 - 4"]).is_in("Compute 1 - 2 + 3 * 4.")


@given(words, words, st.integers(2, 8))
def test_a_prompt_is_known_where_it_shares_enough_words_in_a_row(question, prompt, ngram):
    length = min(ngram, len(question))
    runs = {tuple(question[n : n + length]) for n in range(len(question) - length + 1)}
    shared = any(tuple(prompt[n : n + length]) in runs for n in range(len(prompt)))
    assert Benchmark([" ".join(question)], ngram).is_in(" ".join(prompt)) == shared


def test_other_alphabets_have_words_too():
    assert Benchmark(["\u044f \u0442\u044b \u043e\u043d \u043c\u044b"]).is_in(
        "\u042f, \u0422\u042b; \u041e\u041d \u041c\u042b."
    )
