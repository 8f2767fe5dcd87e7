"""`score_nodes --kind human`: the labels of people as a scorer, and where they are given."""

import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from experiment_configs.interfaces import ConfigError
from forests.core.opinions.verdicts import HUMAN, JUDGE, Verdict
from forests.core.tree import parse_path
from forests.labels.disagreeing import read_largest
from forests.models import Forest, Scorer, Tree
from forests.storage.scores import read_scores, start_scorer, write_scores
from tests.forests.factories import add_trees, duck_tree, make_forest
from tests.forests.labelling import say

pytestmark = pytest.mark.django_db(transaction=True)

A = parse_path("0.0")
LABEL = ("score_nodes", "--forest_name", "ducks-test-first", "--kind", "human", "--scorer", "human")


@pytest.fixture
def forest() -> Forest:
    return add_trees(make_forest(), [duck_tree(), duck_tree()])


def test_it_says_where_people_label_and_what_they_did(forest: Forest, capsys):
    say(forest, 1, A, "ann", Verdict.WRONG, "")

    call_command(*LABEL)
    told = capsys.readouterr().err
    call_command(*LABEL, "--json")
    found = json.loads(capsys.readouterr().out)

    assert "1 step of 1 tree have a label; people label steps at /ducks-test-first/labels/" in told
    assert found == {
        "forest_name": "ducks-test-first", "scorer": "human", "nodes": 1, "trees": 1,
        "page": "/ducks-test-first/labels/",
    }  # fmt: skip


def test_its_labels_and_the_scores_of_others_may_disagree(forest: Forest):
    say(forest, 1, A, "ann", Verdict.RIGHT, "")
    write_scores(start_scorer(forest, "j", {}, JUDGE), {Tree.objects.get(index=1).id: {A: 0.0}})

    call_command(*LABEL)

    assert [(index, one.path, one.size) for index, one in read_largest(forest, 9)] == [(1, A, 1.0)]


def test_an_imported_scorer_of_its_name_is_replaced_only_when_that_is_said(forest: Forest):
    imported = start_scorer(forest, HUMAN, {"imported": True}, HUMAN)
    write_scores(imported, {Tree.objects.get(index=0).id: {A: 1.0}})

    with pytest.raises(ConfigError, match="run score_nodes --kind human --scorer human --replace"):
        say(forest, 0, A, "ann", Verdict.WRONG, "")
    call_command(*LABEL, "--replace")

    assert read_scores(forest, HUMAN, [0]) == {}
    say(forest, 0, A, "ann", Verdict.WRONG, "")
    assert read_scores(forest, HUMAN, [0]) == {0: {A: 0.0}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scorer", "ann"], "are kept as scorer 'human': give --scorer human"),
        (["--votes", "3"], "--votes has no meaning with --kind human"),
        (["--model", "m"], "--model has no meaning with --kind human"),
    ],
)
def test_what_has_no_meaning_for_people_is_refused(forest: Forest, arguments, message: str):
    with pytest.raises(CommandError, match=message):
        call_command(*LABEL, *arguments)
    assert not Scorer.objects.exists()
