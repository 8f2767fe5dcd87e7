"""The kinds of scorers: built-in ones, and those of plugins (docs/extending.md)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from common.json_lines import is_number
from common.plugins import Registry
from common.text import describe
from forests.core.tree import ReasoningTree
from rollouts.protocol.responses import ResponseError
from rollouts.scoring.score_requests import (
    BUILT_IN_KINDS,
    MAX_SCORE,
    USUAL_LAYOUTS,
    Asked,
    ScoreRequest,
    ScorerOptions,
    ScoringError,
    StepLayout,
    read_scores,
    score_requests,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a reward model is asked for the scores of a tree, and how its answers are read."""

    requests: Callable[[ReasoningTree, Asked, ScorerOptions], Iterable[ScoreRequest]]
    read: Callable[[Any, ScoreRequest, ScorerOptions], Sequence[float | None]]
    """Returns the score of each node of a request; None for a node without one. Raises
    ResponseError if asking again may help, ScoringError if it cannot."""
    layout: StepLayout = "plain"
    """The layout that is used if the user chooses none."""


KINDS: Registry[Kind] = Registry(
    "prm.scorers",
    "kind of scorer",
    {name: Kind(score_requests, read_scores, USUAL_LAYOUTS[name]) for name in BUILT_IN_KINDS},
    lambda _, loaded: "" if isinstance(loaded, Kind) else "is not a Kind",
)


def requests_of(
    tree: ReasoningTree, asked: Asked, options: ScorerOptions
) -> Iterable[ScoreRequest]:
    """Return the requests that score every step of a tree.

    Raises:
        ScoringError: the plugin fails.
        PluginError: it cannot be loaded.
    """
    kind = KINDS[options.kind]
    if not options.package:
        return kind.requests(tree, asked, options)
    try:
        return list(kind.requests(tree, asked, options))
    except ScoringError:
        raise
    except Exception as error:  # a plugin may raise anything
        raise ScoringError(f"the scorer of {options.package} failed: {describe(error)}") from error


def scores_of(
    response: Any, request: ScoreRequest, options: ScorerOptions
) -> Sequence[float | None]:
    """Return the score of each node of a request; None where the model gave none.

    Raises:
        ResponseError: the response does not follow the protocol.
        ScoringError: it has another number of scores than the request has steps, or a plugin
            fails or returns something that cannot be a score.
    """
    kind = KINDS[options.kind]
    if not options.package:
        return kind.read(response, request, options)
    try:
        found = list(kind.read(response, request, options))
    except (ResponseError, ScoringError):
        raise
    except Exception as error:  # a plugin may raise anything
        raise ScoringError(f"the scorer of {options.package} failed: {describe(error)}") from error
    if len(found) != len(request.nodes) or not all(map(_may_be_score, found)):
        raise ScoringError(
            f"the scorer of {options.package} must give a number or None for each of "
            f"{len(request.nodes)} steps, and gave {found!r:.100}"
        )
    return found


def _may_be_score(value: Any) -> bool:
    return value is None or (is_number(value) and abs(value) <= MAX_SCORE)
