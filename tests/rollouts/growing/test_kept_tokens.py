"""Token ids of samples: kept exactly as the model had them, or not at all."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given as cases
from hypothesis import strategies as st

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tokens.branches import Chain, TokenRatio, chain_of, ids_to
from forests.core.tokens.kept import KeptTokens, given, rounded, unpack
from forests.core.tree import ReasoningTree, TreeNode
from rollouts.protocol.responses import StopRules, read_completions
from rollouts.steps.completions import Completion
from rollouts.strategies import STRATEGIES
from rollouts.strategies.base import Expansion

PROMPT = (7, 8, 9)
WORDS = ["a", " b", "1", ".\n", "\n", "\n\n", "c\nd", " é", "🦆", "\r\n"]
VOCABULARY = {word: number for number, word in enumerate(WORDS, 100)}
END = 2

pieces = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).filter(
    lambda words: bool("".join(words).strip())
)


def answered(words: list[str], *, is_llama: bool = False, ends: bool = True) -> dict[str, Any]:
    """Return the response of vLLM or llama.cpp to a request for a whole solution."""
    text = "".join(words)
    listed = [(word, VOCABULARY[word]) for word in words] + [("", END)] * ends
    logprobs = [-0.25 * (number + 1) for number in range(len(listed))]
    choice: dict[str, Any] = {"text": text, "finish_reason": "stop" if ends else "length"}
    if is_llama:
        content = [
            {"token": word, "id": id_, "bytes": list(word.encode()), "logprob": logprob}
            for (word, id_), logprob in zip(listed, logprobs, strict=True)
        ]
        return {"choices": [choice | {"logprobs": {"content": content}}]}
    listing = {"tokens": [word for word, _ in listed], "token_logprobs": logprobs}
    told = {"token_ids": [id_ for _, id_ in listed], "prompt_token_ids": list(PROMPT)}
    return {"choices": [choice | told | {"logprobs": listing, "stop_reason": None}]}


def read(response: dict[str, Any], **fields: Any) -> Completion:
    rules = StopRules(prefix="", stop=(), step_rule=None, keeps_tokens=True, **fields)
    [sample], _ = read_completions(response, rules)
    return sample


def grown(*samples: Completion, tree: ReasoningTree | None = None) -> ReasoningTree:
    """Return the tree of whole solutions."""
    config = RolloutWorkerConfig(strategy="sampled", keep_tokens=True, max_depth=100)
    strategy = STRATEGIES["sampled"](config, lambda before, steps: None)
    tree = tree or ReasoningTree()
    for sample in samples:
        strategy.apply(tree, Expansion((), 1, to_end=True, seed=1), [sample])
    return tree


def kept_of(owner: Completion | TreeNode) -> KeptTokens:
    assert owner.kept is not None
    return owner.kept


@cases(pieces, st.booleans(), st.booleans())
def test_steps_together_have_the_ids_and_the_text_of_their_sample(words, is_llama, ends):
    sample = read(answered(words, is_llama=is_llama, ends=ends))
    if is_llama:
        sample = replace(sample, kept=replace(kept_of(sample), prompt=PROMPT))
    tree = grown(sample)
    [leaf] = tree.leaves()
    assert tree.steps_text(leaf.path) == "".join(words)
    ids = tuple(VOCABULARY[word] for word in words) + (END,) * ends
    assert ids_to(tree, leaf.path) == PROMPT + ids
    steps = tree.path_nodes(leaf.path)
    covered = 0
    for step in steps:
        start = covered - sum(len(one.text) for one in steps[: step.depth - 1])
        assert kept_of(step).start == min(start, len(step.text))
        assert unpack(kept_of(step).pack()) == step.kept
        covered += sum(kept_of(step).lengths)
    assert covered == len("".join(words))


@cases(pieces, pieces)
def test_samples_that_share_steps_have_their_own_ids_or_a_broken_chain(one, other):
    tree = grown(read(answered(one)), read(answered(other)))
    possible = {PROMPT + tuple(VOCABULARY[w] for w in words) + (END,) for words in (one, other)}
    for leaf in tree.leaves():
        ids = ids_to(tree, leaf.path)
        assert ids in possible or chain_of(tree, leaf.path) is Chain.BROKEN


@pytest.mark.parametrize(
    "spoil",
    [
        lambda choice: choice.pop("token_ids"),
        lambda choice: choice["token_ids"].pop(),
        lambda choice: choice["token_ids"].__setitem__(0, "100"),
        lambda choice: choice["token_ids"].__setitem__(0, -1),
        lambda choice: choice["logprobs"]["token_logprobs"].__setitem__(0, None),
        lambda choice: choice["logprobs"]["tokens"].__setitem__(0, "x"),
        lambda choice: choice.update(text="other"),
    ],
    ids=["none", "too few", "texts", "negative", "no log-probability", "other tokens", "text"],
)
def test_ids_that_do_not_fit_the_sample_are_not_kept(spoil):
    response = answered(["a", " b"])
    spoil(response["choices"][0])
    assert read(response).kept is None


def test_characters_that_servers_cannot_show_in_parts_belong_to_the_first_part():
    response = answered(["a", " b", "1"], ends=False)
    choice = response["choices"][0]
    choice["text"], choice["logprobs"]["tokens"] = "a🦆", ["a", "\ufffd", "\ufffd"]
    assert kept_of(read(response)).lengths == (1, 1, 0)


def test_a_token_that_reaches_beyond_the_sample_is_left_out():
    response = answered(["a", "c\nd"], ends=False)
    response["choices"][0] |= {"text": "ac", "finish_reason": "stop", "stop_reason": "\n"}
    assert kept_of(read(response)).ids == (VOCABULARY["a"],)
    response["choices"][0] |= {"text": "ac", "finish_reason": "length"}
    assert kept_of(read(response)).ids == (VOCABULARY["a"],)


def test_a_thought_that_the_server_splits_off_keeps_the_marks_around_it():
    texts = ["<think>", "Hm", "</think>", "\n\n", "14", ""]
    content = [{"token": text, "logprob": -0.5} for text in texts]
    choice = {
        "message": {"content": "14", "reasoning_content": "Hm"},
        "finish_reason": "stop",
        "stop_reason": None,
        "token_ids": [1, 3, 4, 5, 6, END],
        "logprobs": {"content": content},
    }
    tree = grown(read({"choices": [choice], "prompt_token_ids": list(PROMPT)}))
    [leaf] = tree.leaves()
    assert [node.text for node in tree.path_nodes(leaf.path)] == ["Hm", "14"]
    assert ids_to(tree, leaf.path) == (*PROMPT, 1, 3, 4, 5, 6, END)


def test_what_comes_between_two_requests_was_not_sampled():
    first = KeptTokens((10,), rounded([-0.5]), (1,), prompt=PROMPT)
    second = KeptTokens((11,), rounded([-0.5]), (1,), prompt=(*PROMPT, 10, 5))
    both = second.after(first, uncovered=1)
    assert both is not None
    assert both.ids == (10, 5, 11)
    assert both.logprobs == (-0.5, None, -0.5)
    assert both.lengths == (1, 1, 1)
    assert replace(second, prompt=(*PROMPT, 12)).after(first, 0) is None


def test_the_ratio_counts_the_tries_of_areal():
    ratio = TokenRatio()
    ratio.add([(1, 2, 3), (1, 2, 4, 5), (1, 2, 3)])
    assert (ratio.unique, ratio.total) == (5, 10)


@pytest.mark.parametrize("data", [b"", b"\x01" * 10, given(PROMPT).pack()[:-1]])
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError, match=re.escape("kept tokens")):
        unpack(data)
