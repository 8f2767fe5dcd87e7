"""A site with an example of everything, and the addresses of its pages."""

from datetime import UTC, datetime, timedelta

from django.core.management import call_command

from forests.core.naming import tree_id
from forests.core.opinions.judged import JudgedTree
from forests.core.opinions.verdicts import JUDGE, Verdict
from forests.core.tree import ReasoningTree, parse_path
from forests.labels.disagreeing import update_disagreements
from forests.models import Forest, TreeStatus
from forests.storage.scores import start_scorer, write_judged, write_scores
from forests.storage.trees import iter_trees
from preferences.core.pairing import PairingOptions
from preferences.models import Preference, ReviewState
from preferences.sets.creation import SetParameters, create_preferences
from preferences.sets.reviews import record_review
from tests.forests.factories import (
    RIGHT,
    WRONG,
    add_activity,
    add_tree,
    add_trees,
    duck_tree,
    leaf,
    make_forest,
    open_tree,
    step,
    tree_of,
)
from tests.forests.labelling import person, say

FINISHED, GROWING, NEW = "ducks-test-first", "ducks-train-second", "ducks-test-third"

PAGES = {
    "forests": "/",
    "forest-finished": f"/{FINISHED}/",
    "forest-growing": f"/{GROWING}/",
    "forest-failed-trees": f"/{GROWING}/?status=failed",
    "forest-search": f"/{FINISHED}/?q=muffins&outcome=mixed&sort=lowest-value",
    "forest-new": f"/{NEW}/",
    "config": f"/{FINISHED}/config/",
    "search": "/search/?q=ducks 0",
    "search-items": f"/search/?forest={FINISHED}&q=muffins",
    "search-empty": "/search/",
    "steps-found": f"/{FINISHED}/steps/?q=eggs",
    "steps-none": f"/{GROWING}/steps/?q=nowhere",
    "tree": f"/{FINISHED}/trees/0/",
    "tree-raw": f"/{FINISHED}/trees/0/?raw=1",
    "tree-search": f"/{FINISHED}/trees/0/?q=eggs&ends=correct",
    "tree-large": f"/{FINISHED}/trees/2/",
    "step": f"/{FINISHED}/trees/0/nodes/0.0.1/",
    "siblings": f"/{FINISHED}/trees/0/nodes/0.0/siblings/",
    "siblings-many": f"/{FINISHED}/trees/2/nodes/0.3/siblings/?with=0.7&with=0.9",
    "step-chat": f"/{FINISHED}/trees/3/nodes/0.0.1.0/?raw=1",
    "tree-growing": f"/{GROWING}/trees/1/",
    "tree-failed": f"/{GROWING}/trees/2/",
    "tree-without-steps": f"/{GROWING}/trees/3/",
    "metrics": f"/{FINISHED}/metrics/",
    "compare": f"/compare/?forest={FINISHED}&forest={GROWING}",
    "compare-choices": "/compare/",
    "queue": "/admin/queue/",
    "metrics-empty": f"/{GROWING}/metrics/",
    "labels": f"/{FINISHED}/labels/",
    "labels-solutions": f"/{FINISHED}/labels/?queue=solutions",
    "labels-divided": f"/{FINISHED}/labels/?queue=divided",
    "labels-empty": f"/{GROWING}/labels/",
    "preferences": f"/{FINISHED}/preferences/",
    "preferences-accepted": f"/{FINISHED}/preferences/?review=accepted",
    "preferences-empty": f"/{GROWING}/preferences/",
    "password": "/login/password/",
}
"""Pages of a reader who is logged in."""

ADMIN_PAGES = {
    "admin": "/admin/",
    "admin-forests": "/admin/forests/forest/",
    "admin-forest": f"/admin/forests/forest/{FINISHED}/change/",
    "admin-delete": f"/admin/forests/forest/{FINISHED}/delete/",
    "admin-trees": f"/admin/forests/tree/?forest={FINISHED}",
    "admin-nodes": f"/admin/forests/node/?q={FINISHED}/0000000",
    "admin-preferences": "/admin/preferences/preference/",
}

_CHAT = [
    {"role": "system", "content": "Answer *true* or *false*."},
    {"role": "user", "content": "Is $2^{10} = 1024$?"},
]


def make_showcase(ends: int = 4) -> None:
    """Insert two forests; `ends` is that of `large_tree`, which is large with one end too."""
    finished = make_forest(FINISHED)
    add_trees(finished, [duck_tree(), duck_tree(), large_tree(ends)])
    finished = add_trees(Forest.objects.get(pk=FINISHED), [duck_tree()], prompt=_CHAT)
    call_command("beam_search", "--forest_name", FINISHED, "--aggregation", "mean,min", "-v", "0")
    words = ["--forest_name", FINISHED, "--procedures", "beam,best_of_n", "-v", "0"]
    call_command("beam_search", *words, "--value_function_option", "random")
    scorer = start_scorer(finished, "shepherd", {})
    for stored in iter_trees(finished):
        scores = {node.path: 1 / (1 + len(node.text)) for node in stored.tree if node.path}
        write_scores(scorer, {stored.id: scores})
    call_command("evaluate_scorer", "--forest_name", FINISHED, "--scorer", "shepherd", "-v", "0")
    create_preferences(finished, "mine", SetParameters(PairingOptions()), report=lambda _: None)
    for pair in Preference.objects.all()[:2]:
        record_review(pair, ReviewState.ACCEPTED, "clear: the price is doubled", "ada")
    _add_opinions(finished)
    _make_growing()
    add_trees(make_forest(NEW), [tree_of()] * 60, status=TreeStatus.PENDING)


def _add_opinions(forest: Forest) -> None:
    """Add a judge that is wrong about a step, and two people who disagree about another."""
    sold, kept = parse_path("0.0"), parse_path("0.1")
    why = "The muffins need **four** eggs, so $16 - 3 - 4 = 9$ are left. The step forgets them."
    critic = start_scorer(forest, "critic", {}, JUDGE)
    for index in (0, 1):
        said = JudgedTree({sold: 0.0, kept: 1 / 3}, {sold: why}, {sold: [0, 0, 3], kept: [1, 0, 2]})
        write_judged(critic, {tree_id(forest.name, index): said})
    for name, verdict in (("ada", Verdict.RIGHT), ("bob", Verdict.WRONG)):
        say(forest, 1, kept, person(name), verdict, f"{name} read it twice", is_blind=True)
    update_disagreements(forest)


def large_tree(ends: int = 4) -> ReasoningTree:
    """Return a tree with a hundred ways of `ends` ends each; with four ends, it has 510 steps."""
    nodes = []
    for i in range(10):
        nodes.append(step(f"0.{i}", f"Way {i}: let $x_{i} = \\frac{{{i}}}{{2}}$ eggs be sold.\n"))
        for j in range(10):
            nodes.append(step(f"0.{i}.{j}", f"Then {j} of them are kept, and ${i}{j}$ are left.\n"))
            nodes += [
                leaf(f"0.{i}.{j}.{k}", f"#### {18 if (i + j) % 3 == k else k}",
                     RIGHT if (i + j) % 3 == k else WRONG, answer=str(k))
                for k in range(ends)
            ]  # fmt: skip
    return tree_of(*nodes)


def _make_growing() -> None:
    now = datetime.now(UTC)
    forest = make_forest(
        GROWING,
        growth_started_at=now - timedelta(hours=1),
        worked_at=now,
        max_requests=1000,
        retries=3,
        failures={"timeout": 2, "status_503": 1},
    )
    forest = add_trees(forest, [duck_tree()])
    add_tree(forest, 1, open_tree(), status=TreeStatus.GROWING)
    add_tree(forest, 2, open_tree(), status=TreeStatus.FAILED, error="the server said 500 8 times")
    add_tree(forest, 3, tree_of(), status=TreeStatus.PENDING)
    for ago in range(3):
        add_activity(
            forest, now - timedelta(minutes=ago), trees=1, nodes=60, tokens=600, requests=9
        )
