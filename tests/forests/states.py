"""A forest in each state, as commands and workers would have left it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from forests.models import Forest, Tree, TreeStatus
from forests.progress.states import ForestState
from tests.forests.factories import (
    add_activity,
    add_trees,
    duck_tree,
    make_forest,
    open_tree,
    tree_of,
)

REASON = "connection to http://10.0.0.7:8000/v1 <refused>"


def seeding() -> Forest:
    return make_forest(is_seeded=False)


def importing() -> Forest:
    return make_forest(is_seeded=False, importer="import_forest")


def empty() -> Forest:
    return make_forest()


def pending() -> Forest:
    return add_trees(make_forest(), [tree_of()], status=TreeStatus.PENDING)


def no_worker() -> Forest:
    """Return a forest whose worker was killed an hour ago, with a lease and an unfinished tree."""
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    forest = make_forest(growth_started_at=hour_ago, worked_at=hour_ago)
    return add_trees(
        forest, [open_tree()], status=TreeStatus.GROWING,
        lease_holder="node-a/pid:[1]/7", lease_expires_at=hour_ago,
    )  # fmt: skip


def growing() -> Forest:
    forest = no_worker()
    now = datetime.now(UTC)
    Tree.objects.update(lease_expires_at=now + timedelta(seconds=20))
    add_activity(forest, now - timedelta(minutes=1), trees=2, nodes=120, tokens=600)
    add_activity(forest, now, trees=1, nodes=60, tokens=300)
    return forest


def between_two_jobs() -> Forest:
    """Return a forest whose only worker has finished one job and not begun the next."""
    forest = no_worker()
    Tree.objects.update(status=TreeStatus.PENDING, lease_holder="", lease_expires_at=None)
    return changed(forest, worked_at=datetime.now(UTC))


def waiting() -> Forest:
    return changed(growing(), backend_message=REASON)


def stopped() -> Forest:
    return changed(no_worker(), stop_reason=REASON)


def paused() -> Forest:
    return changed(growing(), is_paused=True)


def limit_spent() -> Forest:
    return changed(growing(), requests=50, max_requests=50, max_tokens_total=10**9)


def regrading() -> Forest:
    return changed(finished(), is_graded=False)


def finished() -> Forest:
    return add_trees(make_forest(), [duck_tree()])


def finished_with_failures() -> Forest:
    return add_trees(finished(), [tree_of()], status=TreeStatus.FAILED)


def changed(forest: Forest, **fields: object) -> Forest:
    Forest.objects.filter(pk=forest.pk).update(**fields)
    return Forest.objects.get(pk=forest.pk)


IN_EACH_STATE: list[tuple[Callable[[], Forest], ForestState]] = [
    (seeding, ForestState.SEEDING),
    (importing, ForestState.SEEDING),
    (empty, ForestState.EMPTY),
    (pending, ForestState.PENDING),
    (no_worker, ForestState.NO_WORKER),
    (growing, ForestState.GROWING),
    (between_two_jobs, ForestState.GROWING),
    (waiting, ForestState.WAITING),
    (stopped, ForestState.STOPPED),
    (paused, ForestState.PAUSED),
    (limit_spent, ForestState.LIMIT_SPENT),
    (regrading, ForestState.REGRADING),
    (finished, ForestState.FINISHED),
    (finished_with_failures, ForestState.FINISHED_WITH_FAILURES),
]
