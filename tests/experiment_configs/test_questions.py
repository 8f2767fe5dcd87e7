import pytest

from experiment_configs.questions import looks_few_shot

ITEM = "A baker has 12 eggs and uses 5. How many has she now?"


@pytest.mark.parametrize(
    "prompt",
    [
        f"Question: 1 + 1?\nAnswer: 2\n\nQuestion: {ITEM}\nAnswer:",
        f"Q: 1 + 1?\nA: 2\n\nQ: {ITEM}\nA:",
        f"**Problem 1:** 1 + 1?\n2\n\n**Problem 2:** {ITEM}",
        "Rules of the game.\n" * 60 + ITEM,
        [{"role": "user", "content": f"Q: 1 + 1?\nA: 2\nQ: {ITEM}\nA:"}],
    ],
)
def test_several_questions_and_much_more_than_the_item_look_like_examples(prompt):
    assert looks_few_shot(prompt, ITEM)


@pytest.mark.parametrize(
    "prompt",
    [
        ITEM,
        f"Question: {ITEM}\nAnswer:",
        f"Solve the problem step by step. {ITEM}",
        [
            {"role": "system", "content": "Rules. " * 500},
            {"role": "user", "content": "Q: 1 + 1?"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": ITEM},
        ],
    ],
)
def test_a_question_alone_does_not(prompt):
    assert not looks_few_shot(prompt, ITEM)


def test_a_long_item_may_have_a_long_prompt():
    assert not looks_few_shot("Text. " * 500, "Text. " * 400)
