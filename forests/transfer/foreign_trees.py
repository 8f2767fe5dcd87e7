"""Trees of other programs: the shape that all readers return, its limits, and checks of rows.

`forests.transfer.readers` has a module for each format, and lists them in `registry`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from common.json_lines import MAX_NUMBER
from common.storable import storing_problem
from common.validation import STRICT, Label, refusals
from forests.core.prefix import is_prompt
from forests.core.tree import ROOT, NodePath, ReasoningTree

MAX_DEPTH = 200
MAX_NODES = 100_000
MAX_SAMPLES = 1_000_000
"""Most samples of all steps of a tree together: metrics look at each of them."""
MAX_CHARACTERS = 1_000_000
"""Most characters of one text: a MongoDB document has at most 16 MB."""
DELIMITER = "\n\n"
"""Put between steps by readers of files that do not say what was between them."""
MOSTLY = 0.5
"""A prefix with a value above this counts as correct if its rollouts are not in the file."""


class ForeignTreeError(Exception):
    """A tree cannot be read. The message says what is wrong with it."""


@dataclass(slots=True)
class ForeignTree:
    """One tree, not graded yet."""

    prompt: Any
    label: str
    """The correct answer; empty if the file does not have it, so that no answer can be graded."""
    item: str
    question: str
    """The question, without the examples and instructions of the prompt."""
    tree: ReasoningTree = field(default_factory=ReasoningTree)
    values: dict[NodePath, float] = field(default_factory=dict)
    """The other program's values of nodes, including the root."""
    correct: dict[NodePath, bool] = field(default_factory=dict)
    """Leaves whose grade is in the file."""
    presumed: dict[NodePath, bool] = field(default_factory=dict)
    """Grades to use for leaves that state no answer."""
    verdicts: dict[NodePath, float] = field(default_factory=dict)
    """What a judge says of steps beside the values: 1 right, 0.5 neutral, 0 wrong."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many parts of the file are not in the tree, by the reason that is shown."""


Text: TypeAlias = Annotated[str, Field(pattern=r"\S", max_length=MAX_CHARACTERS)]
AnyText: TypeAlias = Annotated[str, Field(max_length=MAX_CHARACTERS)]
"""A text that may be blank."""
ShortLabel: TypeAlias = Annotated[Label, Field(max_length=MAX_CHARACTERS)]
Samples: TypeAlias = Annotated[int, Field(ge=1, le=MAX_SAMPLES)]
Value: TypeAlias = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)] | None

_Read = TypeVar("_Read")


@with_config(STRICT)
class _TextsOfAPlugin(TypedDict):
    label: Text
    item: Text
    question: Text


@with_config(STRICT)
class _StepOfAPlugin(TypedDict):
    text: Text


_TEXTS_OF_A_PLUGIN, _STEP_OF_A_PLUGIN = TypeAdapter(_TextsOfAPlugin), TypeAdapter(_StepOfAPlugin)


def check_tree(found: object) -> None:
    """Refuse an unusable result of a plugin. Our own readers never return one.

    Raises:
        ForeignTreeError: it is not a ForeignTree, is too large, or cannot be stored.
    """
    if not isinstance(found, ForeignTree):
        raise ForeignTreeError(f"its reader must return a ForeignTree, not {type(found).__name__}")
    if len(found.tree) > MAX_NODES:
        raise ForeignTreeError(f"more than {MAX_NODES} nodes")
    if sum(node.count for node in found.tree) > MAX_SAMPLES:
        raise ForeignTreeError(f"the counts of its nodes add up to more than {MAX_SAMPLES}")
    found.prompt = checked_prompt(found.prompt)
    checked(_TEXTS_OF_A_PLUGIN, {key: getattr(found, key) for key in ("label", "item", "question")})
    for node in found.tree:
        if node.depth > MAX_DEPTH:
            raise ForeignTreeError(f"more than {MAX_DEPTH} steps on a path")
        if node.path:
            checked(_STEP_OF_A_PLUGIN, {"text": node.text}, node.path)


def walk(kind: TypeAdapter[_Read], first: list[Any] | None) -> Iterator[tuple[NodePath, _Read]]:
    """Yield each node with its path, parents first, siblings in order."""
    waiting: list[tuple[NodePath, list[Any]]] = [(ROOT, first or [])]
    number = 0
    while waiting:
        path, children = waiting.pop()
        if children and len(path) >= MAX_DEPTH:
            raise ForeignTreeError(f"more than {MAX_DEPTH} steps on a path")
        for position, child in enumerate(children):
            number += 1
            if number > MAX_NODES:
                raise ForeignTreeError(f"more than {MAX_NODES} nodes")
            below = (*path, position)
            yield below, checked(kind, child, below)
            waiting.append((below, child.get("children") or []))


def checked(kind: TypeAdapter[_Read], value: object, path: NodePath = ROOT) -> _Read:
    """Return a line, or the node at a path, if it is of this kind. Does not check its children.

    Raises:
        ForeignTreeError: it is not of this kind.
    """
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        refusal = refusals(error, kind)[0]
        what = f"node {list(path)}" if path else "the line"
        if refusal.place:
            what = f"{refusal.name} of {what}" if path else refusal.name
        raise ForeignTreeError(f"{what} {refusal.problem}") from error


def checked_prompt(prompt: Any) -> Any:
    if not is_prompt(prompt) or (isinstance(prompt, str) and not prompt.strip()):
        raise ForeignTreeError("`prompt` must be a text, or a list of {role, content}")
    if problem := storing_problem(prompt):
        raise ForeignTreeError(f"`prompt` {problem}")
    written = json.dumps(prompt, ensure_ascii=False)
    if len(written) > MAX_CHARACTERS:
        raise ForeignTreeError(f"`prompt` has more than {MAX_CHARACTERS} characters")
    return json.loads(written)  # plain numbers, which the database accepts
