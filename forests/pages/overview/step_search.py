"""Search for a text in the steps of a forest, in bounded time for forests of any size.

Not every database has an index of words, so a search reads the trees in the order of the dataset.
It stops when a page is full or its time is over. The page says which trees were read, and the next
page continues from there.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from forests.core.naming import path_of_node
from forests.core.tree import NodePath, format_path
from forests.models import Forest, Node, Tree
from forests.pages.page_requests import read_number, read_phrase
from forests.pages.tree.selection import phrase_pattern
from forests.storage.trees import Document, collection, in_batches, is_current, tree_ids

SECONDS = 0.2
"""Time after which a search reads no further batch."""
TREES_PER_PAGE = 25
STEPS_PER_TREE = 4
"""Most steps of one tree that a page lists; the page of the tree shows the others."""
_NODES_PER_READ = 2000


class StepSearchError(ValueError):
    """Invalid search in the URL."""


@dataclass(frozen=True, slots=True)
class FoundStep:
    path: NodePath
    text: str
    grade: str | None
    """Of a leaf; None for other steps."""

    @property
    def name(self) -> str:
        """Its path, as in the address of its page."""
        return format_path(self.path)


@dataclass(slots=True)
class FoundTree:
    """A tree with steps that contain the text."""

    index: int
    item: str
    steps: list[FoundStep] = field(default_factory=list)
    """The first ones, at most `STEPS_PER_TREE`."""
    num_steps: int = 0
    """Number of all steps of the tree that contain the text."""

    @property
    def num_more(self) -> int:
        return self.num_steps - len(self.steps)


@dataclass(frozen=True, slots=True)
class StepSearch:
    """What to find, and the index of the tree at which to start."""

    phrase: str = ""
    start: int = 0

    @classmethod
    def read(cls, parameters: Mapping[str, str]) -> "StepSearch":
        """Return the search that the parameters of a URL ask for.

        Raises:
            StepSearchError: the tree to start from is not a number.
        """
        start = read_number(parameters.get("from", "0"))
        if start is None:
            raise StepSearchError("give the number of a tree to start from")
        return cls(read_phrase(parameters.get("q", "")), start)


@dataclass(frozen=True, slots=True)
class FoundSteps:
    """One page of results."""

    trees: Sequence[FoundTree]
    looked_at: range
    """The trees that were read."""
    num_nodes: int
    """Number of steps that were read."""
    next_start: int | None
    """Index of the tree at which the next page starts; None at the end of the forest."""

    @property
    def last_looked_at(self) -> int:
        return self.looked_at.stop - 1


def search_steps(forest: Forest, wanted: StepSearch, seconds: float = SECONDS) -> FoundSteps:
    """Return the next trees with steps that contain a text. Reads at least one batch."""
    end = time.monotonic() + seconds
    pattern = phrase_pattern(wanted.phrase)
    found: list[FoundTree] = []
    num_nodes, stop = 0, wanted.start
    for batch in _batches(forest, wanted.start):
        nodes = _read_nodes([tree for tree in batch if tree["num_nodes"]])
        for tree in batch:
            one = FoundTree(tree["index"], tree["item"])
            for node in nodes[tree["_id"]]:
                num_nodes += 1
                if pattern.search(node["text"]):
                    one.num_steps += 1
                    one.steps.append(_found_step(node))
            one.steps = sorted(one.steps, key=lambda step: step.path)[:STEPS_PER_TREE]
            stop = tree["index"] + 1
            if one.num_steps:
                found.append(one)
            if len(found) == TREES_PER_PAGE:
                break
        if len(found) == TREES_PER_PAGE or time.monotonic() > end:
            break
    else:
        stop = max(wanted.start, forest.num_trees)
    next_start = stop if stop < forest.num_trees else None
    return FoundSteps(found, range(wanted.start, stop), num_nodes, next_start)


def _batches(forest: Forest, start: int) -> Iterator[list[Document]]:
    """Yield the next trees, in batches with about as many steps."""
    fields = dict.fromkeys(("index", "item", "num_nodes", "oldest_generation"), 1)
    for indexes in in_batches(range(start, forest.num_trees)):
        trees = collection(Tree).find({"_id": {"$in": tree_ids(forest, indexes)}}, fields)
        batch: list[Document] = []
        num_nodes = 0
        for tree in sorted(trees, key=lambda one: int(one["index"])):
            batch.append(tree)
            num_nodes += tree["num_nodes"]
            if num_nodes >= _NODES_PER_READ:
                yield batch
                batch, num_nodes = [], 0
        if batch:
            yield batch


def _read_nodes(trees: Sequence[Document]) -> Mapping[str, list[Document]]:
    """Return the nodes of these trees, by tree."""
    by_id = {tree["_id"]: tree for tree in trees}
    nodes: dict[str, list[Document]] = defaultdict(list)
    if by_id:
        fields = dict.fromkeys(("tree_id", "text", "grade", "generation"), 1)
        for node in collection(Node).find({"tree_id": {"$in": list(by_id)}}, fields):
            if is_current(node, by_id[node["tree_id"]]):
                nodes[node["tree_id"]].append(node)
    return nodes


def _found_step(node: Document) -> FoundStep:
    return FoundStep(path_of_node(node["_id"]), node["text"], node["grade"])
