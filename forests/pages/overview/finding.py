"""Find forests by their words, and trees by their ids, numbers and items: bounded work."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from forests.core.model_counts import from_fields
from forests.core.naming import tree_id
from forests.core.tree import NodePath, parse_path
from forests.models import Forest, Tree
from forests.pages.page_requests import read_number, read_phrase
from forests.pages.tree.query import NODE_PATH
from forests.pages.tree_list import TreeFilter, read_filtered
from forests.storage.trees import Document, collection

FORESTS_LOOKED_AT = 1000
"""Most forests that a search reads, latest first."""
MAX_HITS = 20
"""Most forests, and most trees, that a search lists."""

_ID = re.compile(rf"(?P<forest>[a-z0-9][a-z0-9_-]*)/(?P<index>\d+)(?:/(?P<path>{NODE_PATH}))?/?")
_LISTED_FIELDS = (
    "name", "config_name", "dataset_split", "dataset_source", "worker_config", "replaced_settings",
    "nodes_by_model", "grown_by", "num_trees", "created_at",
)  # fmt: skip
_TREE_FIELDS = dict.fromkeys(("forest_id", "index", "item", "label", "status"), 1)


@dataclass(frozen=True, slots=True)
class TreeHit:
    """A tree that a search found."""

    forest: str
    index: int
    item: str
    status: str
    path: NodePath | None = None
    """The step that the search names."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search found, and how far it looked."""

    phrase: str
    forest: Forest | None
    """The forest whose trees were searched; None: all forests."""
    forests: Sequence[Forest] = ()
    num_forests: int = 0
    """Forests that match, of those that were read."""
    num_read: int = 0
    """Forests that were read; 0 if the phrase is the id of a tree or a step."""
    trees: Sequence[TreeHit] = ()
    items_read: range | None = None
    """Trees whose items were searched; None: none were."""

    @property
    def are_more_forests(self) -> bool:
        return self.num_read == FORESTS_LOOKED_AT


def words_of(forest: Forest) -> str:
    """Return the text about a forest that a search looks into, in lower case."""
    models = [*from_fields(forest.nodes_by_model), *models_asked(forest)]
    parts = (
        forest.name, forest.config_name, forest.dataset_split, forest.dataset_source,
        forest.strategy, *models,
    )  # fmt: skip
    return "\n".join(parts).lower()


def models_asked(forest: Forest) -> list[str]:
    """Return the names of the models that were or will be asked, without duplicates."""
    grown = [str(one["model"]) for one in forest.grown_by or []]
    own = str(forest.worker_config.get("model") or "")
    return list(dict.fromkeys(filter(None, grown or [own])))


def has_words(forest: Forest, phrase: str) -> bool:
    """Return whether all words of a phrase are in the text of a forest."""
    text = words_of(forest)
    return all(word in text for word in phrase.lower().split())


def find(phrase: str, forest: Forest | None) -> Findings:
    """Return the forests and trees that a phrase names.

    The phrase is the id of a tree or a step, or words about forests that may end with the number of
    a tree. Within a forest it may also be a text of its items.
    """
    phrase = read_phrase(phrase)
    if not phrase:
        return Findings(phrase, forest)
    if trees := _named(phrase):
        return Findings(phrase, forest, trees=trees)
    known = list(Forest.objects.only(*_LISTED_FIELDS)[:FORESTS_LOOKED_AT])
    words, number = _split(phrase)
    found = [one for one in known if has_words(one, words or phrase)]
    trees, items_read = [], None
    if number is not None:
        around = [forest] if forest else [one for one in known if has_words(one, words)]
        trees = _read([one.name for one in around[:MAX_HITS]], number)
    if forest is not None and not trees:
        trees, items_read = _with_text(forest, phrase)
    return Findings(
        phrase, forest, found[:MAX_HITS], len(found), len(known), trees, items_read
    )  # fmt: skip


def _named(phrase: str) -> list[TreeHit]:
    """Return the tree if a phrase is its id, or the id of one of its steps; otherwise nothing."""
    named = _ID.fullmatch(phrase)
    if named is None or (index := read_number(named["index"])) is None:
        return []
    return _read([named["forest"]], index, parse_path(named["path"]) if named["path"] else None)


def _split(phrase: str) -> tuple[str, int | None]:
    """Return the words before the number of a tree, and that number; None without a number."""
    words, _, last = phrase.rpartition(" ")
    number = read_number(last)
    return (phrase, None) if number is None else (words, number)


def _read(forests: Iterable[str], index: int, path: NodePath | None = None) -> list[TreeHit]:
    """Return the tree of this number in each of these forests that has one."""
    ids = [tree_id(name, index) for name in forests]
    found = collection(Tree).find({"_id": {"$in": ids}}, _TREE_FIELDS) if ids else ()
    trees = {str(tree["_id"]): _hit(tree, path) for tree in found}
    return [trees[id_] for id_ in ids if id_ in trees]


def _hit(tree: Document, path: NodePath | None = None) -> TreeHit:
    return TreeHit(tree["forest_id"], tree["index"], tree["item"], tree["status"], path)


def _with_text(forest: Forest, phrase: str) -> tuple[list[TreeHit], range | None]:
    """Return the first trees with this text in their items, and the trees that were searched."""
    page = read_filtered(forest, TreeFilter(phrase=phrase))
    rows = [{**row, "forest_id": forest.name} for row in page.rows[:MAX_HITS]]
    looked_at = page.looked_at
    if looked_at and len(page.rows) > MAX_HITS:
        looked_at = range(looked_at.start, page.rows[MAX_HITS]["index"])
    return [_hit(row) for row in rows], looked_at
