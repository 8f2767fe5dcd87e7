"""A forest in the database, and the same one in an archive."""

from pathlib import Path

import pytest
from django.core.management import call_command

from forests.models import Forest, Tree, TreeStatus
from forests.storage.scores import start_scorer, write_scores
from tests.forests.factories import (
    RIGHT,
    WRONG,
    add_tree,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    open_tree,
    step,
    tree_of,
)

NAME = "ducks-test-first"
MAJORITY_WRONG = tree_of(
    step("0.0", "She sells 13 eggs.\n", count=3),
    leaf("0.1", "#### 18", RIGHT, answer="18"),
    leaf("0.0.0", "#### 26", WRONG, answer="26", count=3),
)


@pytest.fixture
def forest(db) -> Forest:
    """A forest with every kind of tree, and scores for one of them."""
    make_forest(NAME)
    forest = add_trees(Forest.objects.get(pk=NAME), [duck_tree(), MAJORITY_WRONG])
    chat = [{"role": "user", "content": "How much?\n"}]
    add_tree(forest, 2, open_tree(), status=TreeStatus.GROWING, prompt=chat, lease_holder="me")
    add_tree(forest, 3, tree_of(), status=TreeStatus.FAILED, error="no answer")
    add_tree(forest, 4, tree_of(leaf("0.0", "#### 18", RIGHT, answer="18", count=8)))
    Tree.objects.filter(index=1).update(question="How many?", hit_max_nodes=True)
    forest = Forest.objects.get(pk=NAME)
    scorer = start_scorer(forest, "judge", {"kind": "logprobs"})
    scores = {node.path: 0.1 + 0.05 * node.position for node in duck_tree() if node.path}
    write_scores(scorer, {f"{NAME}/0000000": scores})
    return forest


@pytest.fixture
def archive(forest: Forest, tmp_path: Path) -> Path:
    """The directory that `export_forest` wrote for the forest."""
    output = tmp_path / "first"
    call_command("export_forest", "--forest_name", forest.name, "--output", str(output))
    return output
