"""People label steps: what is stored, and the scorer that their labels make."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiment_configs.interfaces import ConfigError
from forests.core.opinions.verdicts import HUMAN, Verdict
from forests.core.tree import parse_path
from forests.labels.storage import (
    DECISIONS,
    labels_of_forest,
    publish_labels,
    read_labels,
)
from forests.models import Forest, Scorer, TreeLabels, TreeScores
from forests.storage.scores import delete_scores_of_tree, read_judged, read_scores, start_scorer
from forests.storage.trees import delete_forest
from tests.forests.factories import add_trees, duck_tree, make_forest
from tests.forests.labelling import say

pytestmark = pytest.mark.django_db(transaction=True)

A, B, C = (parse_path(name) for name in ("0.0", "0.1", "0.0.1"))
RIGHT, NEUTRAL, WRONG = Verdict


@pytest.fixture
def forest() -> Forest:
    return add_trees(make_forest(), [duck_tree(), duck_tree()])


def counts(forest: Forest) -> tuple[int, int]:
    scorer = Scorer.objects.get(forest_id=forest.name, name=HUMAN)
    return scorer.num_trees, scorer.num_nodes


def test_a_label_is_a_score_of_the_scorer_of_people(forest: Forest):
    say(forest, 0, A, "ann", RIGHT, "")
    say(forest, 0, B, "ann", WRONG, "13 is not asked for")
    say(forest, 1, A, "ann", NEUTRAL, "")

    assert read_scores(forest, HUMAN, [0, 1]) == {0: {A: 1.0, B: 0.0}, 1: {A: 0.5}}
    [(kind, judged)] = read_judged(forest, 0).values()
    assert kind == HUMAN
    assert judged.rationales == {B: "wrong: 13 is not asked for"}
    assert judged.votes == {A: [1, 0, 0], B: [0, 0, 1]}
    assert counts(forest) == (2, 3)


def test_a_person_has_one_label_of_a_step_the_last(forest: Forest):
    say(forest, 0, A, "ann", RIGHT, "surely")
    say(forest, 0, A, "ann", WRONG, "")

    [labelled] = read_labels("ducks-test-first/0000000").steps.values()
    assert [(one.person, one.verdict, one.note) for one in labelled.labels] == [("ann", WRONG, "")]
    assert read_scores(forest, HUMAN, [0]) == {0: {A: 0.0}}
    assert counts(forest) == (1, 1)


def test_a_label_that_is_taken_back_leaves_no_score(forest: Forest):
    say(forest, 0, A, "ann", RIGHT, "why")
    left = say(forest, 0, A, "ann", None, "")

    assert (left.labels, left.score) == ((), None)
    assert read_scores(forest, HUMAN, [0]) == {0: {}}
    assert counts(forest) == (0, 0)


def test_where_people_disagree_the_score_is_their_mean_until_somebody_decides(forest: Forest):
    say(forest, 0, A, "ann", RIGHT, "")
    divided = say(forest, 0, A, "bob", WRONG, "")
    assert (divided.are_divided, divided.score, divided.counts) == (True, 0.5, [1, 0, 1])

    decided = say(forest, 0, A, DECISIONS, WRONG, "see the third step")

    assert (decided.are_divided, decided.score, decided.counts) == (False, 0.0, [1, 0, 1])
    assert read_scores(forest, HUMAN, [0]) == {0: {A: 0.0}}
    step = ("ducks-test-first/0000000", A)
    assert {name: mine[step].verdict for name, mine in labels_of_forest(forest).items()} == {
        "ann": RIGHT, "bob": WRONG, DECISIONS: WRONG,
    }  # fmt: skip


def test_any_name_of_a_user_can_label(forest: Forest):
    for name in ("a/b", "a.b", "$a", "é@+-_", "a" * 150):
        say(forest, 0, A, name, RIGHT, "")

    assert len(read_labels("ducks-test-first/0000000").steps[A].labels) == 5


def test_people_who_label_one_tree_at_the_same_moment_lose_no_label(forest: Forest):
    say(forest, 0, A, "first", RIGHT, "")

    def label(number: int) -> None:
        path = (A, B, C)[number % 3]
        say(forest, 0, path, f"person {number % 4}", (RIGHT, WRONG)[number % 2], "")
        connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(label, range(24)))

    labelled = read_labels("ducks-test-first/0000000")
    assert labelled.revision == 25
    assert read_scores(forest, HUMAN, [0])[0] == labelled.judged().scores
    assert TreeScores.objects.get().revision == 25
    assert counts(forest) == (1, 3)


def test_scores_of_earlier_labels_do_not_replace_those_of_later_ones(forest: Forest, monkeypatch):
    """One process computes scores, pauses, and writes them after another process wrote its own."""
    say(forest, 0, A, "ann", RIGHT, "")
    early = read_labels("ducks-test-first/0000000")
    say(forest, 0, A, "bob", WRONG, "")
    monkeypatch.setattr("forests.labels.storage.read_labels", lambda _tree: early)

    publish_labels(forest)

    assert read_scores(forest, HUMAN, [0]) == {0: {A: 0.5}}
    assert counts(forest) == (1, 1)


def test_labels_never_mix_with_scores_that_were_imported_under_their_name(forest: Forest):
    start_scorer(forest, HUMAN, {"file": "theirs.jsonl"}, HUMAN)

    with pytest.raises(ConfigError, match="was imported, and labels given here would replace it"):
        say(forest, 0, A, "ann", RIGHT, "")

    assert not TreeLabels.objects.exists()


def test_scores_that_are_lost_are_made_again_from_the_labels(forest: Forest):
    say(forest, 0, A, "ann", RIGHT, "")
    TreeScores.objects.all().delete()
    Scorer.objects.all().delete()

    scorer = publish_labels(forest)

    assert (scorer.num_trees, scorer.num_nodes) == (1, 1)
    assert read_scores(forest, HUMAN, [0]) == {0: {A: 1.0}}


def test_labels_go_with_their_tree_and_with_their_forest(forest: Forest):
    say(forest, 0, A, "ann", RIGHT, "")
    say(forest, 1, A, "ann", RIGHT, "")

    delete_scores_of_tree("ducks-test-first/0000000")
    assert [one.tree_id for one in TreeLabels.objects.all()] == ["ducks-test-first/0000001"]
    assert counts(forest) == (1, 1)

    delete_forest(forest)
    assert not TreeLabels.objects.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B, C]),
            st.sampled_from(["ann", "bob", DECISIONS]),
            st.sampled_from([*Verdict, None]),
        ),
        max_size=12,
    )
)
def test_after_any_labels_scores_and_counts_are_those_of_the_last_ones(forest: Forest, changes):
    TreeLabels.objects.all().delete()
    TreeScores.objects.all().delete()
    Scorer.objects.all().delete()
    last = {}
    for path, person, verdict in changes:
        say(forest, 0, path, person, verdict, "")
        last[path, person] = verdict

    expected = {}
    for path in {path for path, _ in last}:
        said = {name: last.get((path, name)) for name in ("ann", "bob", DECISIONS)}
        decided = said.pop(DECISIONS)
        votes = [decided] if decided else [one for one in said.values() if one]
        values = [{RIGHT: 1.0, NEUTRAL: 0.5, WRONG: 0.0}[one] for one in votes]
        if values:
            expected[path] = sum(values) / len(values)
    if changes:
        assert read_scores(forest, HUMAN, [0]).get(0, {}) == expected
        assert counts(forest) == (bool(expected), len(expected))
