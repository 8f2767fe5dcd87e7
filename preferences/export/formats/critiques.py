r"""Formats of critiques, for process reward models that write their verdicts (generative PRMs).

The prompts and answers are those of `score_nodes --kind judge`, so that this command can use a
model trained on them. `per_step` answers like ThinkPRM (2504.16828), with \boxed{correct} or
\boxed{incorrect} for each step. `first_error` answers like ProcessBench's critics (2412.06559) and
FAPO's reward model (2510.22543), with the number of the first wrong step or -1. The reasons are
those of a scorer. The code reads every answer back, to check that it says what the labels say.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from forests.core.opinions.verdicts import Verdict
from forests.core.tree import NodePath, ReasoningTree, TreeNode
from preferences.export.formats.base import (
    MESSAGES,
    TEXT,
    Format,
    Item,
    Row,
    RowOptions,
    columns,
)
from preferences.export.formats.first_errors import first_errors
from preferences.export.formats.prompts import message
from preferences.export.formats.solutions import only_annotated, written_solutions
from rollouts.scoring.judge_prompts import (
    PROMPTS,
    boxed_verdicts,
    filled_prompt,
    has_paragraph_tag,
    read_reply,
    reasons_of,
)

_WORDS: Mapping[Verdict, str] = {
    Verdict.RIGHT: r"\boxed{correct}",
    Verdict.NEUTRAL: r"\boxed{neutral}",
    Verdict.WRONG: r"\boxed{incorrect}",
}

LAST_STEP = r"""Below are a problem and the beginning of a solution to it. The solution is split
into paragraphs. Each paragraph stands between tags with its number, and the numbers begin with 0.

[Problem]

{problem}

[Solution]

{solution}

Judge only the last paragraph, given the paragraphs before it. Say why, and end your reply with
\boxed{correct} or \boxed{incorrect}."""
"""Asks for a verdict on one step, as R-PRM (2503.21295) does."""

FAPO = r"""Below are a math problem, its correct answer, and a solution that a model wrote. The
solution is split into steps. Each step stands between tags with its number, and the numbers begin
with 0.

[Math Problem]

{problem}

[Ground Truth]

{ground_truth}

[AI Solution]

{solution}

Check the solution step by step. Find the first step that contains an error, and give its number. If
no step contains an error, give -1. Put the number in \boxed{} at the end of your reply."""


class _Critique(NamedTuple):
    """The steps to ask about, and the answer that their labels give."""

    steps: Sequence[str]
    answer: str
    reasons: int
    """Number of reasons in the answer."""


def _critique_sft(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield a question about each solution; the answer has its labels and reasons that agree."""
    make = _first_error_critiques if options.critique == "first_error" else _per_step_critiques
    template = options.critique_prompt or PROMPTS[options.critique]
    seen: set[tuple[str, ...]] = set()
    for critique in make(item, options, dropped):
        if tuple(critique.steps) in seen:
            dropped["solutions_repeated"] += 1
        elif any(map(has_paragraph_tag, critique.steps)):
            dropped["solutions_with_paragraph_tag"] += 1
        else:
            asked = filled_prompt(template, item.asked, critique.steps)
            turns = [message("user", asked), message("assistant", critique.answer)]
            yield {"messages": turns, "reasons": critique.reasons}
        seen.add(tuple(critique.steps))


def _per_step_critiques(
    item: Item, options: RowOptions, dropped: Counter[str]
) -> Iterator[_Critique]:
    """Yield a critique of each solution, up to its first step without a verdict."""
    if (annotated := only_annotated(item, options, dropped)) is None:
        return
    for _, nodes in written_solutions(annotated.tree, dropped):
        verdicts = list(_verdicts(annotated, nodes, options))
        if not verdicts:
            dropped["solutions_without_verdicts"] += 1
            continue
        if len(verdicts) < len(nodes) and not (
            options.cut_at_first_error and verdicts[-1] is Verdict.WRONG
        ):
            dropped["critiques_cut_at_a_step_without_verdict"] += 1
        judged = nodes[: len(verdicts)]
        reasons = [
            _agreeing_reason(annotated, node, verdict)
            for node, verdict in zip(judged, verdicts, strict=True)
        ]
        answer, number = _per_step_answer(verdicts, reasons, dropped)
        yield _Critique([node.text.strip() for node in judged], answer, number)


def _verdicts(item: Item, nodes: Sequence[TreeNode], options: RowOptions) -> Iterator[Verdict]:
    for node in nodes:
        verdict = _verdict(item, node, options)
        if verdict is None:
            return
        yield verdict
        if options.cut_at_first_error and verdict is Verdict.WRONG:
            return


def _verdict(item: Item, node: TreeNode, options: RowOptions) -> Verdict | None:
    value = item.values[node.path].value
    if value is None:
        return None
    if value == item.neutral:
        return Verdict.NEUTRAL
    return Verdict.RIGHT if options.is_good(value) else Verdict.WRONG


def _agreeing_reason(item: Item, node: TreeNode, verdict: Verdict) -> str:
    """Return the first reason of the critic for this verdict; empty without one."""
    reasons = reasons_of(item.critic, node.path)
    return next((why for said, why in reasons if said is verdict and why), "")


def _per_step_answer(
    verdicts: Sequence[Verdict], reasons: Sequence[str], dropped: Counter[str]
) -> tuple[str, int]:
    """Return an answer that is read as these verdicts, and the number of its reasons."""

    def written(whys: Sequence[str]) -> str:
        return "\n".join(
            f"{number}: {why}{' ' if why else ''}{_WORDS[verdict]}"
            for number, (verdict, why) in enumerate(zip(verdicts, whys, strict=True))
        )

    answer = written(reasons)
    read = read_reply(answer, len(verdicts), "per_step")
    is_read = read is not None and read.verdicts == dict(enumerate(verdicts))
    if is_read and boxed_verdicts(answer) == list(verdicts):
        return answer, sum(map(bool, reasons))
    dropped["reasons_that_hide_verdicts"] += sum(map(bool, reasons))
    return written([""] * len(verdicts)), 0


def _first_error_critiques(
    item: Item, options: RowOptions, dropped: Counter[str]
) -> Iterator[_Critique]:
    for found in first_errors(item, options, dropped):
        node = found.nodes[found.label]  # -1: the last node, which has the reason for "no error"
        verdict = Verdict.RIGHT if found.label < 0 else Verdict.WRONG
        bare = rf"\boxed{{{found.label}}}"
        answer = bare
        if why := _agreeing_reason(item, node, verdict):
            is_boxed = read_reply(why, len(found.steps), "first_error") is not None
            whole = why if is_boxed else f"{why}\n\n{bare}"
            if not _is_alone(item.tree, node):
                dropped["reasons_of_shared_steps"] += 1
            elif _reads_as(whole, found.label, len(found.steps)):
                answer = whole
            else:
                dropped["reasons_that_hide_verdicts"] += 1
        yield _Critique(found.steps, answer, int(answer != bare))


def _reads_as(answer: str, label: int, num_steps: int) -> bool:
    read = read_reply(answer, num_steps, "first_error")
    if read is None:
        return False
    wrong = [number for number, verdict in read.verdicts.items() if verdict is Verdict.WRONG]
    return wrong == ([] if label < 0 else [label])


def _is_alone(tree: ReasoningTree, node: TreeNode) -> bool:
    """Return whether only one solution has a step. If not, a reason may be about another one."""
    below = tree.children(node.path)
    while len(below) == 1:
        below = tree.children(below[0].path)
    return not below


def _critique_pairs(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield pairs of critiques of one step or solution: only the chosen one agrees with the label.

    Both are votes of the critic, as in R-PRM (2503.21295).
    """
    make = _first_error_pairs if options.critique == "first_error" else _per_step_pairs
    seen: set[tuple[str, str, str]] = set()
    for steps, chosen, rejected in make(item, options, dropped):
        if any(map(has_paragraph_tag, steps)):
            dropped["critiques_with_paragraph_tag"] += 1
            continue
        usual = PROMPTS["first_error"] if options.critique == "first_error" else LAST_STEP
        asked = filled_prompt(options.critique_prompt or usual, item.asked, steps)
        if (asked, chosen, rejected) in seen:
            dropped["critiques_repeated"] += 1
            continue
        seen.add((asked, chosen, rejected))
        yield {
            "prompt": [message("user", asked)],
            "chosen": [message("assistant", chosen)],
            "rejected": [message("assistant", rejected)],
        }


def _per_step_pairs(
    item: Item, options: RowOptions, dropped: Counter[str]
) -> Iterator[tuple[list[str], str, str]]:
    for node in item.tree:
        if not node.path or not node.text.strip() or node.path not in item.critic.rationales:
            continue
        label = _verdict(item, node, options) if _has_label(item, node) else None
        if label is None or label is Verdict.NEUTRAL:
            dropped["critiques_of_steps_without_verdict"] += 1
            continue
        other = Verdict.WRONG if label is Verdict.RIGHT else Verdict.RIGHT
        found = _answers_by_verdict(item, node.path)
        agree, differ = found.get(label, []), found.get(other, [])
        if not (agree and differ):
            dropped["critiques_without_another"] += 1
        steps = [one.text.strip() for one in item.tree.path_nodes(node.path) if one.text.strip()]
        for chosen, rejected in zip(agree, differ, strict=False):
            yield steps, chosen, rejected


def _answers_by_verdict(item: Item, path: NodePath) -> dict[Verdict, list[str]]:
    """Return the answers about one step, each with its verdict in a box at the end."""
    found: dict[Verdict, list[str]] = {}
    for verdict, why in reasons_of(item.critic, path):
        if why:
            found.setdefault(verdict, []).append(f"{why} {_WORDS[verdict]}")
    return found


def _has_label(item: Item, node: TreeNode) -> bool:
    is_end = not item.tree.children(node.path)
    return is_end or item.annotation is None or node.path in item.annotation.steps


def _first_error_pairs(
    item: Item, options: RowOptions, dropped: Counter[str]
) -> Iterator[tuple[list[str], str, str]]:
    for found in first_errors(item, options, dropped):
        agree: list[str] = []
        differ: list[str] = []
        for node in found.nodes:
            reasons = [why for _, why in reasons_of(item.critic, node.path)]
            if reasons and not _is_alone(item.tree, node):
                dropped["reasons_of_shared_steps"] += len(reasons)
                continue
            for why in reasons:
                is_right = _reads_as(why, found.label, len(found.steps))
                if read_reply(why, len(found.steps), "first_error") is not None:
                    (agree if is_right else differ).append(why)
        if not (agree and differ):
            dropped["critiques_without_another"] += 1
        for chosen, rejected in zip(agree, differ, strict=False):
            yield list(found.steps), chosen, rejected


def _fapo(item: Item, options: RowOptions, dropped: Counter[str]) -> Iterator[Row]:
    """Yield prompts that ask for the first error, with the label that verl rewards.

    FAPO's `reward_fn_genrm.py` (verl-recipe 48ea0a7) reads the last boxed number of an answer, and
    gives 1 for the number `ground_truth`.
    """
    for number, found in enumerate(first_errors(item, options, dropped)):
        if any(map(has_paragraph_tag, found.steps)):
            dropped["solutions_with_paragraph_tag"] += 1
            continue
        template = options.critique_prompt or FAPO
        asked = filled_prompt(template, item.asked, found.steps, item.label)
        yield {
            "data_source": item.dataset,
            "prompt": [message("user", asked)],
            "ability": "critique",
            "reward_model": {"style": "rule", "ground_truth": found.label},
            "extra_info": {
                "index": f"{item.index}-{number}",
                "question": item.asked,
                "total_steps": len(found.steps),
            },
        }


_REWARD_MODEL = pa.struct([("style", TEXT), ("ground_truth", pa.int64())])
_EXTRA_INFO = pa.struct([("index", TEXT), ("question", TEXT), ("total_steps", pa.int64())])

CRITIQUE_FORMATS = (
    Format(
        "critique_sft",
        "trees",
        _critique_sft,
        lambda *_: columns(messages=MESSAGES, reasons=pa.int64()),
        0.0,
        "drop",
        has_critiques=True,
    ),
    Format(
        "critique_pairs",
        "trees",
        _critique_pairs,
        lambda *_: columns(prompt=MESSAGES, chosen=MESSAGES, rejected=MESSAGES),
        0.0,
        "drop",
        has_critiques=True,
    ),
    Format(
        "fapo",
        "trees",
        _fapo,
        lambda *_: columns(
            "data_source",
            prompt=MESSAGES,
            ability=TEXT,
            reward_model=_REWARD_MODEL,
            extra_info=_EXTRA_INFO,
        ),
        0.0,
        "drop",
        containers=("parquet",),
    ),
)
