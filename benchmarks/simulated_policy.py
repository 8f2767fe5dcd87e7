"""A simulated policy that errs in a step with a chance, and corrects an error with another one.

A sample depends only on the text before it and on its number, so all strategies see the same world.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from forests.core.tree import Grade, ReasoningTree
from rollouts.steps.completions import Completion, Ending
from rollouts.strategies.base import Expansion, GrowthStrategy

TOKENS_OF_A_STEP = 20
TOKENS_OF_A_PROMPT = 200


@dataclass(frozen=True)
class Kind:
    """Simulated policies and items of one kind."""

    name: str
    corrects: float
    """Chance of correcting an error, in each later step."""
    easy: float
    hard: float
    """Pass rates are Beta(easy, hard)."""


@dataclass
class Spent:
    """The cost of growing trees."""

    tokens: int = 0
    """Of the samples."""
    requests: int = 0
    prompt_tokens: int = 0
    """Of all requests, whether a server computes them or finds them in its cache."""

    def add(self, other: "Spent") -> None:
        self.tokens += other.tokens
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens


class Policy:
    """Writes solutions for one item."""

    def __init__(self, kind: Kind, steps: int, item: int) -> None:
        self.steps, self.corrects = steps, kind.corrects
        self.name = f"{kind.name}/{steps}/{item}"
        pass_rate = random.Random(self.name).betavariate(kind.easy, kind.hard)
        self.errs = chance_of_error(pass_rate, kind.corrects, steps)

    def grow(self, strategy: GrowthStrategy, tree: ReasoningTree) -> Spent:
        """Grow a tree to its end, and return the cost."""
        spent = Spent()
        while expansions := strategy.plan(tree):
            for expansion in expansions:
                completions = self.sample(tree, expansion)
                spent.requests += 1
                spent.tokens += sum(one.tokens for one in completions)
                spent.prompt_tokens += TOKENS_OF_A_PROMPT + TOKENS_OF_A_STEP * len(expansion.node)
                for node in strategy.apply(tree, expansion, completions).added.values():
                    if node.is_finished:
                        is_wrong = node.text.startswith("wrong")
                        node.grade = Grade.INCORRECT if is_wrong else Grade.CORRECT
        return spent

    def sample(self, tree: ReasoningTree, expansion: Expansion) -> Sequence[Completion]:
        before, depth = tree.steps_text(expansion.node), len(expansion.node)
        is_wrong = tree.nodes[expansion.node].text.startswith("wrong")
        num_steps = self.steps - depth if expansion.to_end else 1
        return [
            self._sample(
                f"{self.name}/{before}/{expansion.number + i}", depth, num_steps, is_wrong=is_wrong
            )
            for i in range(expansion.num_samples)
        ]

    def _sample(self, seed: str, depth: int, num_steps: int, *, is_wrong: bool) -> Completion:
        chance, texts = random.Random(seed), []
        for _ in range(num_steps):
            is_wrong = chance.random() >= self.corrects if is_wrong else chance.random() < self.errs
            texts.append(f"{'wrong' if is_wrong else 'right'} {chance.random()}\n")
        ending = Ending.SOLUTION if depth + num_steps == self.steps else Ending.STEP
        return Completion("".join(texts), ending, tokens=TOKENS_OF_A_STEP * len(texts))


def chance_of_error(pass_rate: float, corrects: float, steps: int) -> float:
    """Return the chance of an error per step with which solutions have this pass rate."""
    low, high = 0.0, 1.0 - corrects
    for _ in range(50):
        middle = (low + high) / 2
        stays = corrects / (middle + corrects) if middle + corrects else 1.0
        is_easier = stays + (1 - stays) * (1 - middle - corrects) ** steps > pass_rate
        low, high = (middle, high) if is_easier else (low, middle)
    return low
