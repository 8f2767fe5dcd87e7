"""What the pages read: a fixed number of indexed queries, however large the forest is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forests.core.naming import tree_id
from forests.core.throughput import WINDOW_MINUTES, MinuteOfWork
from forests.models import Activity, Forest, Tree, TreeStatus
from forests.progress import Progress, progress_of
from forests.store import Document, collection

TREES_PER_PAGE = 50
MAX_FILTERED_TREES = 200
"""Trees listed of one status: an index finds them, but no index says which come next."""

_ROW_FIELDS = (
    "index", "item", "label", "status", "error", "num_nodes", "num_leaves", "num_correct",
    "num_truncated", "completion_tokens", "root_value",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TreePage:
    """Trees of a forest, in the order of the dataset."""

    rows: Sequence[Document]
    number: int
    num_pages: int
    has_more: bool = False
    """More trees have this status than are listed."""

    @property
    def previous(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        return self.number + 1 if self.number < self.num_pages else None


def read_progress(forests: Sequence[Forest]) -> list[Progress]:
    """Return the progress of these forests, in their order: one query for all of them."""
    now = datetime.now(UTC)
    minutes: dict[str, list[MinuteOfWork]] = {forest.name: [] for forest in forests}
    names = [one.name for one in forests if one.num_pending and one.growth_started_at]
    if names:
        ids = [f"{name}/{minute:%Y%m%d%H%M}" for name in names for minute in _last_minutes(now)]
        for document in collection(Activity).find({"_id": {"$in": ids}}):
            minutes[document["forest_id"]].append(_minute_of_work(document))
    return [progress_of(forest, minutes[forest.name], now) for forest in forests]


def list_forests() -> list[Forest]:
    """Return all forests without the long texts of their configs, the latest first."""
    return list(Forest.objects.defer("config_source", "worker_config"))


def read_tree_page(forest: Forest, number: int) -> TreePage:
    """Return the trees of a page, found by their ids."""
    start = (number - 1) * TREES_PER_PAGE
    indexes = range(start, min(start + TREES_PER_PAGE, forest.num_trees))
    ids = [tree_id(forest.name, index) for index in indexes]
    return TreePage(
        rows=_rows({"_id": {"$in": ids}}, len(ids)), number=number, num_pages=num_pages(forest)
    )


def read_trees_of_status(forest: Forest, status: TreeStatus) -> TreePage:
    """Return the first trees of this status that the index finds."""
    query = {"forest_id": forest.name, "status": str(status)}
    rows = _rows(query, MAX_FILTERED_TREES + 1)
    return TreePage(
        rows=rows[:MAX_FILTERED_TREES],
        number=1,
        num_pages=1,
        has_more=len(rows) > MAX_FILTERED_TREES,
    )


def num_pages(forest: Forest) -> int:
    return max(1, -(-forest.num_trees // TREES_PER_PAGE))


def _rows(query: Document, limit: int) -> list[Document]:
    if not limit:
        return []
    found = collection(Tree).find(query, dict.fromkeys(_ROW_FIELDS, 1)).limit(limit)
    return sorted(found, key=lambda row: row["index"])


def _last_minutes(now: datetime) -> list[datetime]:
    return [now - timedelta(minutes=ago) for ago in range(WINDOW_MINUTES)]


def _minute_of_work(document: Document) -> MinuteOfWork:
    minute: datetime = document["minute"]
    return MinuteOfWork(
        minute=minute if minute.tzinfo else minute.replace(tzinfo=UTC),
        trees=document.get("trees", 0),
        nodes=document.get("nodes", 0),
        tokens=document.get("tokens", 0),
        requests=document.get("requests", 0),
    )
