"""Cut a model's text into steps, and divide its tokens among them."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from common.child_process import ChildProcess
from experiment_configs.answers import NotComparedError
from experiment_configs.calling import call_method
from experiment_configs.interfaces import ConfigError, RolloutConfig, RolloutWorkerConfig
from experiment_configs.step_delimiters import read_delimiter
from rollouts.steps.whole_blocks import Blocks

MAX_STOPS = 4
"""Maximum number of stop texts that servers accept in one request."""
PROCESSOR_SECONDS = 0.5
"""CPU time limit for a regular expression on one text."""
WALL_SECONDS = 10.0
"""Wall-clock limit for the same, in case the process does not get its CPU time."""

_TRIAL_LENGTH = 2000
_TRIALS = (
    "14",
    "First, 3 + 4 = 7.\n\nStep 2: so 7 * 2 = 14.\r\n\r\n| a | b |\n|---|---|\n\n#### 14\n",
    "<think>\nLet us see. Wait, is it so?\n\nNo! Then 1. and 2. hold; hence:\n</think>\n\n"
    "### Step 1: Find x\n\n```python\nx = 7\n\nprint(x * 2)\n```\n\n1. One.\n2. Then \\[ x \\].\n\n"
    "**Step 2**: So the answer is $$\\boxed{14}$$\n\n\n",
)

Splitter = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class StepRule:
    """Decides where steps end.

    The concatenated steps are exactly the text. No step is blank: blank lines belong to the next
    step, or to the last step at the end of the text.
    """

    delimiter: str | tuple[str, ...] | re.Pattern[str]
    keep_blocks: bool = False
    splitter: Splitter | None = None
    """The config's `split_steps`, if it defines one; it overrides the other fields."""

    @classmethod
    def of(cls, config: RolloutWorkerConfig, owner: RolloutConfig | None = None) -> "StepRule":
        """Return the step rule of a config.

        `owner`: a config that may define `split_steps`, which overrides the other settings.

        Raises:
            ConfigError: `step_delimiter` cannot be used, or `split_steps` is not a method.
        """
        splitter = getattr(owner, "split_steps", None)
        if splitter is not None and not callable(splitter):
            raise ConfigError("split_steps must be a method: def split_steps(self, text)")
        try:
            delimiter = read_delimiter(config.step_delimiter)
        except ValueError as error:
            raise ConfigError(f"step_delimiter is {config.step_delimiter!r}: {error}") from error
        return cls(delimiter, config.keep_blocks, splitter)

    def split(self, text: str) -> list[str]:
        """Return the steps of a text; an empty list for a blank text.

        Raises:
            ConfigError: the regular expression takes too long, or the config's `split_steps` failed
                or did not return the whole text.
        """
        steps: list[str] = []
        blank, start = "", 0
        for end in (*self._borders(text), len(text)):
            piece, start = blank + text[start:end], end
            blank = ""
            if piece.strip():
                steps.append(piece)
            else:
                blank = piece
        if steps:
            steps[-1] += blank
        return steps

    def first_step(self, text: str) -> tuple[str, bool]:
        """Return the first step of a text that may continue, and whether that step is complete.

        A blank text is complete if it ends where a step may end.

        Raises:
            ConfigError: as `split`.
        """
        borders = self._borders(text)
        for border in borders:
            if text[:border].strip():
                return text[:border], True
        return text, bool(borders) and borders[-1] == len(text)

    def stops(self) -> list[str]:
        """Return the stop texts with which a server ends each step exactly.

        Empty if only the client can find the end of a step: with a regular expression,
        `split_steps`, `keep_blocks`, or more than `MAX_STOPS` texts.
        """
        if self.splitter or self.keep_blocks or isinstance(self.delimiter, re.Pattern):
            return []
        texts = self._texts()
        return texts if len(texts) <= MAX_STOPS else []

    def ending_of(self, step: str) -> str:
        """Return the delimiter at the end of a step, as spelled there; empty if there is none."""
        if self.splitter or isinstance(self.delimiter, re.Pattern):
            return ""
        found = re.search(rf"(?:{self._pattern()})\Z", step)
        return found[0] if found else ""

    def try_out(self) -> None:
        """Cut sample texts, to find a bad rule before growth begins.

        Raises:
            ConfigError: as `split`.
        """
        for text in _trials(self.delimiter):
            self.split(text)

    def _borders(self, text: str) -> list[int]:
        """Return the positions at which a step may end, in order."""
        if self.splitter:
            return _own_borders(self.splitter, text)
        if isinstance(self.delimiter, re.Pattern):
            borders = _regex_borders(self.delimiter, text)
        else:
            borders = [found.end() for found in re.finditer(self._pattern(), text)]
        if self.keep_blocks and borders:
            blocks = Blocks(text)
            borders = [border for border in borders if not blocks.holds(border)]
        return borders

    def _texts(self) -> list[str]:
        """Return the distinct delimiters, without those that contain another delimiter."""
        given = [self.delimiter] if isinstance(self.delimiter, str) else [*self.delimiter]  # type: ignore[misc]
        texts = list(dict.fromkeys(given))
        return [text for text in texts if not any(one in text for one in texts if one != text)]

    def _pattern(self) -> str:
        return "|".join(map(_pattern, self._texts()))


def _pattern(text: str) -> str:
    is_line_breaks = not text.strip("\n")
    return r"\r?\n" * len(text) if is_line_breaks else re.escape(text)


def _own_borders(splitter: Splitter, text: str) -> list[int]:
    if not text.strip():
        return []
    try:
        steps = call_method(splitter, text)
    except NotComparedError as error:
        raise ConfigError("split_steps raised NotComparedError, which is for is_correct") from error
    _require_texts(steps)
    if "".join(steps) != text:
        raise ConfigError(
            "split_steps must return steps whose concatenation is the text: "
            + _difference(text, "".join(steps))
        )
    return [border for border in accumulate(map(len, steps)) if 0 < border < len(text)]


def _require_texts(steps: object) -> None:
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise ConfigError("split_steps must return a list of str")


def _difference(text: str, joined: str) -> str:
    same = next(
        (n for n, (a, b) in enumerate(zip(text, joined, strict=False)) if a != b),
        min(len(text), len(joined)),
    )
    return (
        f"at character {same} the text has {text[same : same + 20]!r} and the steps "
        f"{joined[same : same + 20]!r}"
    )


def _regex_borders(pattern: re.Pattern[str], text: str) -> list[int]:
    borders = _child.ask([pattern.pattern, pattern.flags & ~re.DEBUG, text], WALL_SECONDS)
    if borders is None:
        raise ConfigError(
            f"step_delimiter is the regular expression {pattern.pattern!r:.80}, which needs more "
            f"than {PROCESSOR_SECONDS} s for the {len(text)} characters of {text[:40]!r}: avoid "
            "repeats inside repeats, such as (a+)+"
        )
    return [border for border in borders if border]


def _trials(delimiter: str | tuple[str, ...] | re.Pattern[str]) -> Iterator[str]:
    """Yield texts with many kinds of steps, and repeated characters that expose backtracking."""
    yield from _TRIALS
    if isinstance(delimiter, re.Pattern):
        characters = dict.fromkeys(f"a1 \n.{delimiter.pattern}")
        for character in characters:
            yield character * _TRIAL_LENGTH + "\0"


def split_pieces(
    pieces: Iterable[tuple[str, bool]], rule: StepRule, rule_of_thoughts: StepRule | None
) -> list[tuple[str, bool]]:
    """Return the steps of pieces of text and thought, each with whether it is thought.

    `rule_of_thoughts`: where the steps of thoughts end; None: thoughts stay whole. Blank pieces
    always stay whole.

    Raises:
        ConfigError: as `StepRule.split`.
    """
    found: list[tuple[str, bool]] = []
    for text, is_thought in pieces:
        used = rule_of_thoughts if is_thought else rule
        steps = used.split(text) if used else []
        found += [(step, is_thought) for step in steps or [text]]
    return found


def share_tokens(tokens: int, steps: Sequence[str]) -> list[int]:
    """Divide tokens among steps in proportion to their characters; the counts sum to `tokens`."""
    total = sum(map(len, steps))
    counts, used, characters = [], 0, 0
    for step in steps:
        characters += len(step)
        reached = round(tokens * characters / total) if total else 0
        counts.append(reached - used)
        used = reached
    return counts


def share_logprobs(
    token_logprobs: Sequence[tuple[str, float]] | None, steps: Sequence[str]
) -> list[float | None]:
    """Return the summed log-probability of each step; a list of None if there are none.

    A token that spans two steps counts for the step in which it begins. Tokens after the last step
    (an end token) count for the last step.
    """
    if token_logprobs is None:
        return [None] * len(steps)
    sums = [0.0] * len(steps)
    step, end, position = 0, len(steps[0]) if steps else 0, 0
    for text, logprob in token_logprobs:
        while position >= end and step < len(steps) - 1:
            step += 1
            end += len(steps[step])
        if sums:
            sums[step] += logprob
        position += len(text)
    return list(sums)


_child = ChildProcess(Path(__file__).with_name("regex_process.py"), str(PROCESSOR_SECONDS))
