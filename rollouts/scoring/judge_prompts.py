r"""Write prompts for verdicts on the steps of a solution, and read replies; send no requests.

The protocol `first_error` is that of ProcessBench's critics (2412.06559): paragraphs in tags with
numbers from 0, and the index of the first wrong paragraph, or -1, in \boxed{}. `per_step` asks for
a verdict on each paragraph, as ThinkPRM (2504.16828) does. The wording is ours.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from common.errors import UserError
from experiment_configs.answers.extraction.thoughts import without_thoughts
from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import (
    MAX_RATIONALE,
    MAX_RATIONALES_OF_A_NODE,
    MAX_RATIONALES_OF_A_TREE,
    Verdict,
    bounded_rationale,
    mean_score,
    verdict_in,
    verdict_of,
)
from forests.core.tree import NodePath, ReasoningTree, TreeNode

JudgeTemplate: TypeAlias = Literal["first_error", "per_step"]
JUDGE_TEMPLATES: tuple[JudgeTemplate, ...] = get_args(JudgeTemplate)

MAX_PROMPT = 20_000
"""Most characters of a user's own prompt."""
PLACES = ("{problem}", "{solution}")

_SPLIT = """\
Below are a problem and a solution to it. The solution is split into paragraphs. Each paragraph
stands between tags with its number, and the numbers begin with 0.

[Problem]

{problem}

[Solution]

{solution}

"""
PROMPTS: Mapping[JudgeTemplate, str] = {
    "first_error": _SPLIT
    + r"""
Check the paragraphs one after the other. Find the first paragraph that contains an error. Explain
in a few sentences what you checked. End your reply with the number of that paragraph in \boxed{},
such as \boxed{2}. If no paragraph contains an error, end it with \boxed{-1}.""".lstrip(),
    "per_step": _SPLIT
    + r"""
Judge every paragraph, given the paragraphs before it. Write one line for each paragraph, in order.
Begin the line with the number of the paragraph and a colon. Say why in one sentence, and end the
line with \boxed{correct} or \boxed{incorrect}. Use \boxed{neutral} for a paragraph that neither
helps nor harms, such as one that only repeats the problem. For example:

0: The sum is computed as the problem asks. \boxed{correct}""".lstrip(),
}

_BOXED = re.compile(
    r"\\boxed\s?\{(?:\s?\\(?:text(?:bf|it|rm|sf|tt)?|math(?:bf|it|rm)|emph)\s?\{([^{}]{0,60})\}\s?"
    r"|([^{}]{0,60}))\}"
)
_NUMBERED = re.compile(
    r"^[\s*#>-]{0,8}"
    r"(?:<paragraph_(\d{1,6})>|(?:paragraph[ _]|step )?(\d{1,6})\*{0,2}\s?([:.)\uff1a])(?!\d))",
    re.IGNORECASE,
)
_MARK = re.compile(r"(?:\A|\n\n)\*\*(right|neutral|wrong):\*\* ")
_TAG = re.compile(r"<[\s/]*paragraph[\s_]*\d", re.IGNORECASE)
_LIKE_A_BRACKET = str.maketrans(dict.fromkeys("\u2039\u27e8\u2329\u3008\ufe64", "<"))


class JudgePromptError(UserError):
    """A prompt cannot be used; the message says why."""


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """How to ask a judge. Two runs under one name must have the same options."""

    kind: str = "judge"
    model: str = ""
    template: JudgeTemplate = "first_error"
    prompt: str = ""
    """The user's own prompt; empty: that of the template."""
    votes: int = 1
    """Replies for each solution."""
    solutions: int = 0
    """Most solutions of a tree; 0: all."""
    temperature: float = 0.0
    max_tokens: int = 8192


@dataclass(frozen=True, slots=True)
class Solution:
    """A leaf and the steps that lead to it, without thoughts and blank steps."""

    steps: Sequence[TreeNode]

    @property
    def paths(self) -> list[NodePath]:
        return [step.path for step in self.steps]


@dataclass(frozen=True, slots=True)
class Vote:
    """The verdicts of one reply on the steps of a solution."""

    verdicts: Mapping[int, Verdict]
    """By step number; steps that the reply does not judge are absent."""
    rationales: Mapping[int, str]
    """The reasons for verdicts, by step number."""


def check_prompt(text: str) -> str:
    """Return a user's prompt.

    Raises:
        JudgePromptError: it is too long, or does not have each place exactly once.
    """
    if len(text) > MAX_PROMPT:
        raise JudgePromptError(f"the judge's prompt has more than {MAX_PROMPT} characters")
    for place in PLACES:
        if text.count(place) != 1:
            raise JudgePromptError(
                f"the judge's prompt has {place} {text.count(place)} times: write it once, where "
                f"the {place[1:-1]} belongs"
            )
    return text


def read_prompt(file: Path) -> str:
    """Return the user's prompt in a file.

    Raises:
        JudgePromptError: the file cannot be read, or its text cannot be used.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            return check_prompt(opened.read(MAX_PROMPT + 1))
    except UnicodeDecodeError as error:
        raise JudgePromptError(f"{file} is not UTF-8: save the file as UTF-8") from error
    except OSError as error:
        raise JudgePromptError(f"{file} cannot be read: {error.strerror}") from error


def solutions_of(tree: ReasoningTree, most: int) -> tuple[list[Solution], int]:
    """Return the solutions of a tree to judge, and how many cannot be judged.

    A solution cannot be judged if a step contains a paragraph tag like those of the prompt: the
    judge would take it for the end of a paragraph. `most` limits the number; 0: no limit. Solutions
    that share the fewest steps with those already chosen come first; of equal ones, the first in
    the tree. The same tree always gives the same choice.
    """
    found: list[Solution] = []
    unclear = 0
    for leaf in sorted(tree.leaves(), key=lambda node: node.path):
        steps = [
            node for node in tree.path_nodes(leaf.path) if node.text.strip() and not node.is_thought
        ]
        if not leaf.is_finished or not steps:
            continue
        if any(has_paragraph_tag(step.text) for step in steps):
            unclear += 1
        else:
            found.append(Solution(steps))
    return (_spread(found, most) if most else found), unclear


def has_paragraph_tag(text: str) -> bool:
    """Return whether a model may read a tag of the prompt in a text.

    Full-width forms count as the usual ones, and characters without a width are ignored.
    """
    usual = unicodedata.normalize("NFKC", text.translate(_LIKE_A_BRACKET))
    return bool(_TAG.search("".join(one for one in usual if unicodedata.category(one) != "Cf")))


def judge_messages(
    question: str, solution: Solution, options: JudgeOptions
) -> list[Mapping[str, str]]:
    """Return the messages that ask for the verdicts on a solution."""
    text = options.prompt or PROMPTS[options.template]
    texts = [step.text for step in solution.steps]
    return [{"role": "user", "content": filled_prompt(text, question, texts)}]


def filled_prompt(text: str, question: str, steps: Sequence[str], label: str = "") -> str:
    """Return a prompt with the problem, the steps as numbered paragraphs, and perhaps the label."""
    written = "\n\n".join(
        f"<paragraph_{number}>\n{step.strip()}\n</paragraph_{number}>"
        for number, step in enumerate(steps)
    )
    filled = {"{problem}": question.strip(), "{solution}": written, "{ground_truth}": label}
    # In one pass: the question may hold the name of another place.
    return re.sub("|".join(map(re.escape, filled)), lambda place: filled[place[0]], text)


def judge_body(messages: Sequence[Any], options: JudgeOptions, vote: int) -> dict[str, Any]:
    """Return the body of the request for one vote."""
    body: dict[str, Any] = {
        "model": options.model,
        "messages": messages,
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
    }
    return body | ({"seed": vote} if options.votes > 1 else {})


def read_reply(reply: str, num_steps: int, template: JudgeTemplate) -> Vote | None:
    """Return the vote of a reply; None if it cannot be read: it has no result.

    Thoughts of the judge are left out. `first_error` takes the last boxed number: the steps before
    it are right, the step itself is wrong, and the reply says nothing of the steps after it.
    """
    said = without_thoughts(reply)
    if template == "first_error":
        return _first_error(said, num_steps)
    return _per_step(said, num_steps)


def _first_error(said: str, num_steps: int) -> Vote | None:
    boxed = list(_boxed(said))
    if not boxed or not re.fullmatch(r"-1|\d{1,6}", boxed[-1], re.ASCII):
        return None
    number = int(boxed[-1])
    if number >= num_steps:
        return None
    if number < 0:
        right = dict.fromkeys(range(num_steps), Verdict.RIGHT)
        return Vote(right, {num_steps - 1: bounded_rationale(said)})
    verdicts = {**dict.fromkeys(range(number), Verdict.RIGHT), number: Verdict.WRONG}
    return Vote(verdicts, {number: bounded_rationale(said)})


def _per_step(said: str, num_steps: int) -> Vote | None:
    """Read the verdict on each step that has one.

    Verdicts without step numbers can be read only if there is one for each step. A number that the
    solution does not have shows that the reply is about other steps.
    """
    found = list(_verdicts_by_number(said))
    numbers = [number for number, _, _ in found]
    if len(found) == num_steps and not any(number is not None for number in numbers):
        numbers = list(range(num_steps))
    steps = [number for number in numbers if number is not None]
    if len(steps) < len(numbers) or steps != sorted(set(steps)):
        return None
    verdicts = {
        step: verdict for step, (_, verdict, _) in zip(steps, found, strict=True) if verdict
    }
    if not verdicts or steps[-1] >= num_steps:
        return None
    return Vote(
        verdicts,
        {
            step: bounded_rationale(_BOXED.sub("", why))
            for step, (_, _, why) in zip(steps, found, strict=True)
            if step in verdicts
        },
    )


def _verdicts_by_number(said: str) -> Iterator[tuple[int | None, Verdict | None, str]]:
    """Yield each step's number, verdict and reason; without numbers, each verdict.

    If a line has several verdicts, the last one counts. If lines of a step contradict each other,
    the verdict is None: the later line may judge the whole solution.
    """
    for number, lines in _parts_by_number(said):
        found = [boxed_verdicts(line) for line in lines]
        if number is None:
            yield from _unnumbered(lines, found)
        elif last := [verdicts[-1] for verdicts in found if verdicts]:
            yield number, _agreed(last), "\n".join(lines)


def _unnumbered(
    lines: Sequence[str], found: Sequence[Sequence[Verdict]]
) -> Iterator[tuple[None, Verdict, str]]:
    why: list[str] = []
    for line, verdicts in zip(lines, found, strict=True):
        why.append(line)
        for verdict in verdicts:
            yield None, verdict, "\n".join(why)
            why = []


def _parts_by_number(said: str) -> Iterator[tuple[int | None, list[str]]]:
    """Yield None with the lines before the first number; then each step's number with its lines.

    Only a number in the form of the first one is a step's number: a reason may contain a list of
    its own. The first one must be a tag or 0: a reply that numbers the steps from 1 has no parts.
    """
    number: int | None = None
    lines: list[str] = []
    mark: str | None = None
    for line in said.splitlines():
        begun = _NUMBERED.match(line)
        if begun and mark is None:
            mark = begun[3] or ""
            if mark and int(begun[2]):
                return
        if begun and (begun[3] or "") == mark:
            yield number, lines
            number, lines = int(begun[1] or begun[2]), []
        lines.append(line)
    yield number, lines


def _agreed(verdicts: Sequence[Verdict]) -> Verdict | None:
    return verdicts[0] if len(set(verdicts)) == 1 else None


def _verdict_of_words(boxed: str) -> Verdict | None:
    """Return the verdict that a word names; None for numbers and signs, which quote answers."""
    return verdict_in(boxed) if boxed.isalpha() else None


def boxed_verdicts(text: str) -> list[Verdict]:
    """Return all verdicts in boxes, in their order."""
    return [verdict for verdict in map(_verdict_of_words, _boxed(text)) if verdict]


def _boxed(text: str) -> Iterator[str]:
    return ((match[1] or match[2] or "").strip() for match in _BOXED.finditer(text))


@dataclass(slots=True)
class Tally:
    """Collects the votes on one tree's solutions. A step of several solutions gets all votes."""

    votes: dict[NodePath, list[Verdict]] = field(default_factory=dict)
    unread: int = 0
    """Replies that could not be read."""
    _said: dict[tuple[NodePath, int, int], tuple[Verdict, str]] = field(default_factory=dict)

    def add(self, place: tuple[int, int], solution: Solution, vote: Vote | None) -> None:
        """Add one reply; `place`: the numbers of the solution in the tree and of the vote."""
        if vote is None:
            self.unread += 1
            return
        paths = solution.paths
        for number, verdict in vote.verdicts.items():
            self.votes.setdefault(paths[number], []).append(verdict)
        for number, text in vote.rationales.items():
            self._said[(paths[number], *place)] = (vote.verdicts[number], text)

    def judged(self) -> JudgedTree:
        """Return mean scores, rationales and votes; the order of the replies does not matter."""
        scores = {path: mean_score(votes) for path, votes in self.votes.items()}
        return JudgedTree(
            {path: score for path, score in scores.items() if score is not None},
            dict(self._rationales()),
            {path: _counts(votes) for path, votes in self.votes.items()},
        )

    def _rationales(self) -> Iterator[tuple[NodePath, str]]:
        by_path: dict[NodePath, list[tuple[Verdict, str]]] = {}
        for (path, _, _), said in sorted(self._said.items()):
            by_path.setdefault(path, []).append(said)
        left = MAX_RATIONALES_OF_A_TREE
        for path, texts in by_path.items():
            whole = _joined(texts)[: min(left, MAX_RATIONALES_OF_A_NODE)]
            left -= len(whole)
            if whole:
                yield path, whole


def _joined(texts: Sequence[tuple[Verdict, str]]) -> str:
    """Return the rationales of one step, with the verdict of each if there are several."""
    if len(texts) == 1:
        return texts[0][1]
    return "\n\n".join(f"**{verdict}:** {text}" for verdict, text in texts)


def reasons_of(judged: JudgedTree, path: NodePath) -> list[tuple[Verdict, str]]:
    """Return the reasons that single votes gave at a step, each with its verdict: see `Tally`.

    Empty if the reasons cannot be told apart. Leaves out reasons that were too long to be stored
    whole, and the paragraph number before a reason.
    """
    text = judged.rationales.get(path, "")
    votes = list(judged.votes.get(path, ()))
    if not text:
        return []
    if sum(votes) <= 1 and path in judged.scores:
        found = [(verdict_of(judged.scores[path]), text)]
    else:
        found = _told_apart(text, votes)
    if len(text) >= MAX_RATIONALES_OF_A_NODE:
        found = found[:-1]
    return [
        (verdict, _NUMBERED.sub("", why, count=1).lstrip("* ").strip())
        for verdict, why in found
        if not (why.endswith("…") and len(why) >= MAX_RATIONALE)
    ]


def _told_apart(text: str, votes: Sequence[int]) -> list[tuple[Verdict, str]]:
    """Return the verdict and text of each joined reason; a single one has a boxed number."""
    marks = list(_MARK.finditer(text))
    if not marks or marks[0].start():
        number = next(reversed(list(_boxed(text))), "")
        if not re.fullmatch(r"-1|\d{1,6}", number, re.ASCII):
            return []
        return [(Verdict.RIGHT if int(number) < 0 else Verdict.WRONG, text)]
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    found = [
        (Verdict(mark[1]), text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)
    ]
    counts = _counts([verdict for verdict, _ in found])
    is_possible = all(one <= most for one, most in zip(counts, votes, strict=True))
    return found if is_possible else []


def _counts(votes: Sequence[Verdict]) -> list[int]:
    counts = Counter(votes)
    return [counts[verdict] for verdict in Verdict]


def _spread(found: Sequence[Solution], most: int) -> list[Solution]:
    chosen: list[Solution] = []
    covered: set[NodePath] = set()
    left = list(found)
    while left and len(chosen) < most:
        best = min(left, key=lambda one: (_num_shared(one, covered), one.paths[-1]))
        left.remove(best)
        chosen.append(best)
        covered.update(best.paths)
    return sorted(chosen, key=lambda one: one.paths[-1])


def _num_shared(solution: Solution, covered: set[NodePath]) -> int:
    return sum(path in covered for path in solution.paths)
