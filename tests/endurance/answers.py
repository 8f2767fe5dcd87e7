"""A model server that notes each answer, and a recount of a forest from what was answered.

The recount uses no counter, value or grade of the product. Half of all solutions have a step that
no other answer has. So the recount finds samples that are counted twice or were never answered.
"""

import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.core.tree import Grade, ReasoningTree, TreeNode
from forests.models import COUNTERS, LEAF_COUNTERS, Forest, Node, Tree
from forests.storage.trees import Document, StoredTree, collection, iter_trees
from tests.openai_server import OpenAIServer, is_probe
from tests.rollouts.forests import reread

FIELD_OF_FOREST = "user"
"""Field of each request that names the forest. `extra_body` sets it."""
STRATEGIES: dict[str, dict[str, Any]] = {
    "sampled": {"num_rollouts": 48, "samples_per_request": 4},
    "branching": {"branching": [4, 3, 1], "samples_per_request": 3},
    "math_shepherd": {"num_rollouts": 4, "rollouts_per_state": 4, "samples_per_request": 2},
    "omega_prm": {"num_searches": 6, "rollouts_per_state": 4, "samples_per_request": 2},
}


@dataclass(frozen=True)
class Answer:
    """One sample: the text before it, and the solution up to the end of the sample."""

    before: str
    solution: str
    seed: int
    index: int


@dataclass
class Given:
    """The answers that one forest was given."""

    answers: dict[str, set[Answer]] = field(default_factory=lambda: defaultdict(set))
    """By the prompt of the tree. The same request gives the same answer again."""
    number: int = 0
    """Number of answers, with repeated ones."""


class NotingServer(OpenAIServer):
    """Writes solutions with steps that merge, and notes its answers by forest."""

    def __init__(self, most_seconds: float) -> None:
        """`most_seconds` is the longest time that an answer takes."""
        super().__init__(write_solution)
        self.most_seconds = most_seconds
        self.given: dict[str, Given] = defaultdict(Given)
        self._noting = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        time.sleep(random.uniform(0, self.most_seconds))
        answer = super().answer(path, body)
        if not is_probe(body):
            prompt, mark, before = body["prompt"].rpartition("Answer:")
            with self._noting:
                given = self.given[body[FIELD_OF_FOREST]]
                for choice in answer["choices"]:
                    solution = (before + choice["text"]).rstrip("\n")
                    one = Answer(before, solution, body["seed"], choice["index"])
                    given.answers[prompt + mark].add(one)
                    given.number += 1
        return answer


def write_solution(prefix: str, seed: int) -> str:
    """Write the rest of four steps: two that often merge, one that seldom does, and an answer.

    Half of the answers are right.
    """
    question, _, written = prefix.rpartition("Answer:")
    if "####" in written:
        return "" if written.endswith("\n") else "\n"
    has, gets, loses = map(int, re.findall(r"\d+", question.rpartition("Question:")[2])[:3])
    lines = [
        f" Try {seed % 2}.\n",
        f"Then {seed // 2 % 2}.\n",
        f"So {seed}.\n" if seed // 4 % 2 else "So.\n",
        f"#### {has + gets - loses if seed // 8 % 2 else 0}\n",
    ]
    line_end = "\n" if written and not written.endswith("\n") else ""
    return line_end + "".join(lines[(written + line_end).count("\n") :])


@dataclass
class Recount:
    """What a recount found in one forest."""

    mismatches: list[str] = field(default_factory=list)
    num_trees: int = 0
    num_nodes: int = 0
    num_used: int = 0
    """Answers that are in the forest."""
    num_late: int = 0
    """Nodes that arrived too late: readers leave them out of their tree."""


def recount(forest: Forest, given: Given) -> Recount:
    """Compare a finished forest with the answers that it was given. Nothing is written."""
    forest = reread(forest)
    config = RolloutWorkerConfig.from_dict(forest.worker_config)
    found = Recount()
    sums: Counter[str] = Counter()
    prompts: set[str] = set()
    documents = {one["_id"]: one for one in collection(Tree).find({"forest_id": forest.name})}
    for stored in iter_trees(forest):
        prompts.add(stored.prompt)
        counted = counters(stored.tree, stored.label)
        document = documents[stored.id]
        sums.update({name: document[name] for name in COUNTERS})
        found.mismatches += [
            f"{stored.id}: {problem}"
            for problem in (
                *problems_of_tree(stored, config, given.answers[stored.prompt]),
                *problems_of_document(document, counted),
            )
        ]
        found.num_trees += 1
        found.num_nodes += counted["num_nodes"]
        found.num_used += num_used(stored.tree, config)
        found.num_late += len(stored.orphans)
    told = {name: getattr(forest, name) for name in COUNTERS}
    wanted = {name: sums[name] for name in COUNTERS}
    if told != wanted:
        found.mismatches.append(f"{forest.name}: counts {told}, its trees {wanted}")
    if not (found.num_trees == len(prompts) == forest.num_trees == forest.num_complete):
        found.mismatches.append(
            f"{forest.name}: {found.num_trees} trees with {len(prompts)} prompts, "
            f"{forest.num_complete} complete, of {forest.num_trees}"
        )
    num_documents = Node.objects.filter(forest_id=forest.name).count()
    num_roots = Node.objects.filter(forest_id=forest.name, depth=0).count()
    if num_documents - num_roots != found.num_nodes + found.num_late:
        found.mismatches.append(
            f"{forest.name}: {num_documents - num_roots} nodes are stored, trees have "
            f"{found.num_nodes} and late ones are {found.num_late}"
        )
    return found


def counters(tree: ReasoningTree, label: str) -> dict[str, int]:
    """Return the counters of a tree by the texts of its leaves and their counts."""
    leaves = [node for node in tree if node.path and not tree.children(node.path)]
    num_correct = sum(node.count for node in leaves if is_right(tree, node, label))
    num_leaves = sum(node.count for node in leaves)
    return dict.fromkeys(LEAF_COUNTERS, 0) | {
        "num_nodes": sum(1 for node in tree if node.path),
        "num_leaves": num_leaves,
        "num_correct": num_correct,
        "num_incorrect": num_leaves - num_correct,
    }


def is_right(tree: ReasoningTree, leaf: TreeNode, label: str) -> bool:
    return tree.steps_text(leaf.path).rstrip("\n").endswith(f"#### {label}")


def num_used(tree: ReasoningTree, config: RolloutWorkerConfig) -> int:
    """Return how many answers a tree holds: samples of nodes for `branching`, else of leaves."""
    return sum(
        node.count
        for node in tree
        if node.path and (config.strategy == "branching" or node.is_finished)
    )


def problems_of_document(document: Document, counted: dict[str, int]) -> Iterator[str]:
    if document["status"] != "complete" or document["lease_holder"]:
        yield f"{document['status']}, held by {document['lease_holder']!r}"
    stored = {name: document[name] for name in LEAF_COUNTERS}
    if stored != counted:
        yield f"counts {stored}, its nodes {counted}"


def problems_of_tree(
    stored: StoredTree, config: RolloutWorkerConfig, answers: set[Answer]
) -> Iterator[str]:
    tree = stored.tree
    by_solution: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_solution[answer.solution].append(answer)
    for node in tree:
        problems = [*problems_of_children(tree, node)]
        if not node.is_finished:
            problems += problems_below(tree, node, config)
        elif (node.grade is Grade.CORRECT) != is_right(tree, node, stored.label):
            problems.append(f"graded {node.grade}, label {stored.label}")
        if node.path and (node.is_finished or config.strategy == "branching"):
            solution = tree.steps_text(node.path).rstrip("\n")
            problems += problems_of_samples(tree, node, by_solution[solution])
        yield from (f"node {node.path} {node.text!r}: {problem}" for problem in problems)


def problems_of_children(tree: ReasoningTree, node: TreeNode) -> Iterator[str]:
    children = tree.children(node.path)
    kinds = [(child.text, child.terminal, child.truncated) for child in children]
    if len(set(kinds)) != len(kinds):
        yield f"children are doubled: {kinds}"
    if bool(children) == node.is_finished:
        yield f"{len(children)} children, finished: {node.is_finished}"
    if sorted(child.position for child in children) != list(range(len(children))):
        yield "a gap between its children"
    if node.path and node.count != sum(node.drawn.values()):
        yield f"{node.count} samples, drawn {node.drawn}"


def problems_below(
    tree: ReasoningTree, node: TreeNode, config: RolloutWorkerConfig
) -> Iterator[str]:
    """Compare the samples that came to a node, and those drawn from it, with those below it."""
    below: Counter[int] = Counter()
    for child in tree.children(node.path):
        below.update(child.drawn)
    own = below.pop(node.depth, 0)
    wanted = {
        "sampled": {config.num_rollouts} if not node.path else {0},
        "branching": {config.branching_at(node.depth) * node.count},
        "math_shepherd": {config.rollouts_per_state if node.drawn.get(0) else 0}
        if node.path
        else {config.num_rollouts},
        "omega_prm": {0, config.rollouts_per_state} if node.path else {config.rollouts_per_state},
    }[config.strategy]
    if own not in wanted:
        yield f"{own} samples were drawn from it, wanted {wanted}"
    passed = {} if config.strategy == "branching" or not node.path else dict(node.drawn)
    if dict(below) != passed:
        yield f"{passed} came to it, {dict(below)} to its children"


def problems_of_samples(
    tree: ReasoningTree, node: TreeNode, answers: list[Answer]
) -> Iterator[str]:
    """Look for an answer for each sample of a leaf, drawn at the depth that it says or deeper."""
    if node.count > len(answers):
        yield f"{node.count} samples, and {len(answers)} answers end so"
    for depth, number in node.drawn.items():
        before = len(tree.steps_text(node.path[:depth]))
        given = sum(len(answer.before) >= before for answer in answers)
        if number > given:
            yield f"{number} samples from depth {depth}, and {given} answers"
