r"""OmegaPRM (2406.06592, section 3.3): PUCT picks a rollout, binary search finds its first error.

A state is a prefix with k rollouts of its own; MC(s) is the share of correct ones. The pool
contains each wrong rollout r of each state s with 0 < MC(s) < 1. Each search selects the pair
(s, r) with the highest

    Q(s, r) + U(s),   Q(s, r) = alpha^(1 - MC(s)) * beta^(len(r) / L),
    U(s) = c_puct * sqrt(sum_i N(s_i)) / (1 + N(s)),

where N(s) counts how often s was selected and len(r) is in tokens. A binary search over r follows:
if all k rollouts from the middle are wrong, the first error is at or before the middle, otherwise
after it. Each probed prefix becomes a state, and its rollouts are reused.

The search has no stored state besides the tree. It is deterministic, so it runs again over the
stored rollouts until it needs rollouts that are missing. These are the next expansions.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, log2, sqrt

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import ROOT, NodePath, ReasoningTree
from rollouts.strategies.base import Expansion, GrowthStrategy, rollouts_from, torn_rollouts


@dataclass(slots=True)
class State:
    """A prefix with k complete rollouts."""

    path: NodePath
    value: float | None
    """MC(s); None if none of its rollouts has a result."""
    wrong: list[tuple[NodePath, int]]
    """Leaves of its wrong rollouts that were not searched yet, with their lengths in tokens."""
    visits: int = 0
    """N(s)."""


@dataclass(slots=True)
class ErrorSearch:
    """One run of the algorithm over the stored rollouts."""

    states: dict[NodePath, State] = field(default_factory=dict)
    missing: list[Expansion] = field(default_factory=list)
    """Rollouts that the run needs to continue; empty once it has finished."""
    first_errors: list[NodePath] = field(default_factory=list)
    """The node of the first wrong step, one for each binary search."""


class OmegaPRM(GrowthStrategy):
    """`num_searches` searches with `rollouts_per_state` rollouts from each state."""

    def wanted(self, tree: ReasoningTree) -> list[Expansion]:
        return list(torn_rollouts(self.config, tree)) or self.search(tree).missing

    @classmethod
    def most_nodes(cls, config: RolloutWorkerConfig) -> int:
        """Return the nodes of the root's rollouts and of log2(`max_depth`) states per search."""
        states = 1 + config.num_searches * ceil(log2(config.max_depth))
        return states * config.rollouts_per_state * config.max_depth

    def search(self, tree: ReasoningTree) -> ErrorSearch:
        """Return the search as far as the rollouts of the graded tree allow."""
        search = ErrorSearch()
        if self._visit(tree, search, ROOT) is None:
            return search
        for _ in range(self.config.num_searches):
            picked = self._pick(search)
            if picked is None:
                break
            if not self._find_first_error(tree, search, *picked):
                break
        return search

    def _pick(self, search: ErrorSearch) -> tuple[State, NodePath] | None:
        """Remove and return the (state, rollout) with the highest Q + U, the earlier on ties."""
        total_visits = sum(state.visits for state in search.states.values())
        best: tuple[float, State, tuple[NodePath, int]] | None = None
        for state in search.states.values():
            exploration = self.config.omega_c_puct * sqrt(total_visits) / (1 + state.visits)
            for rollout in state.wrong:
                score = self._exploitation(state.value or 0.0, rollout[1]) + exploration
                if best is None or score > best[0]:
                    best = (score, state, rollout)
        if best is None:
            return None
        _, state, rollout = best
        state.wrong.remove(rollout)
        state.visits += 1
        return state, rollout[0]

    def _exploitation(self, value: float, tokens: int) -> float:
        config = self.config
        penalty: float = config.omega_beta ** (tokens / config.omega_length)
        weight: float = config.omega_alpha ** (1 - value)
        return weight * penalty

    def _find_first_error(
        self, tree: ReasoningTree, search: ErrorSearch, state: State, leaf: NodePath
    ) -> bool:
        """Search a wrong rollout for its first error; return False if rollouts are missing.

        If no rollout from the middle has a result, the first error stays unknown.
        """
        right_until, wrong_at = len(state.path), len(leaf)
        while wrong_at - right_until > 1:
            middle = (right_until + wrong_at) // 2
            probed = self._visit(tree, search, leaf[:middle])
            if probed is None:
                return False
            if probed.value is None:
                return True
            if probed.value == 0:
                wrong_at = middle
            else:
                right_until = middle
        search.first_errors.append(leaf[:wrong_at])
        return True

    def _visit(self, tree: ReasoningTree, search: ErrorSearch, path: NodePath) -> State | None:
        """Return the state of a prefix; if rollouts are missing, record these and return None."""
        if path in search.states:
            return search.states[path]
        wanted = self.config.rollouts_per_state
        missing = list(rollouts_from(self.config, tree, tree.nodes[path], wanted))
        rollouts = list(_own_rollouts(tree, path))
        if missing or not rollouts:
            search.missing = missing
            return None
        rollouts = [rollout for rollout in rollouts if not tree.nodes[rollout[0]].is_uncompared]
        total = sum(number for _, number, _, _ in rollouts)
        correct = sum(number for _, number, is_correct, _ in rollouts if is_correct)
        wrong = [(leaf, tokens) for leaf, _, is_correct, tokens in rollouts if not is_correct]
        is_mixed = 0 < correct < total
        state = State(path, correct / total if total else None, wrong if is_mixed else [])
        search.states[path] = state
        return state


def _own_rollouts(tree: ReasoningTree, path: NodePath) -> Iterator[tuple[NodePath, int, bool, int]]:
    """Yield leaf, samples, correctness and tokens of each rollout drawn from a prefix."""
    origin = len(path)
    open_nodes = [(child, child.tokens) for child in reversed(tree.children(path))]
    while open_nodes:
        node, tokens = open_nodes.pop()
        number = node.drawn.get(origin, 0)
        if not number:
            continue
        if node.is_finished:
            yield node.path, number, node.is_correct, tokens
        open_nodes += [
            (child, tokens + child.tokens) for child in reversed(tree.children(node.path))
        ]
