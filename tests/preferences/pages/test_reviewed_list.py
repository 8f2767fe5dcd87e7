"""The list of the pairs that reviewers judged, in a real database."""

import pytest

from forests.core.naming import tree_id
from forests.models import Forest, Tree, TreeStatus
from preferences.core.pairing import PairingOptions
from preferences.models import Preference, ReviewState
from preferences.pages.pair_list import PairFilter, list_pairs
from preferences.sets.creation import SetParameters, create_preferences
from preferences.sets.reviews import record_review
from tests.forests.factories import add_trees, make_forest
from tests.preferences.trees import addition_tree

pytestmark = pytest.mark.django_db


def test_reviewed_pairs_of_a_tree_that_was_complete_late_are_listed_once():
    """Its pairs are on the last pages of the set, not in the order of the trees."""
    forest = add_trees(make_forest("late-test-x"), [addition_tree() for _ in range(20)])
    late = Tree.objects.filter(pk=tree_id(forest.name, 5))
    late.update(status=TreeStatus.GROWING)
    parameters = SetParameters(PairingOptions(pairing="all_pairs"))
    made = None
    for status, num_complete in ((TreeStatus.GROWING, 19), (TreeStatus.COMPLETE, 20)):
        late.update(status=status)
        Forest.objects.filter(pk=forest.name).update(num_complete=num_complete)
        current = Forest.objects.get(pk=forest.name)
        made = create_preferences(current, "all", parameters, lambda _: None)
    assert made is not None
    for pair in Preference.objects.all():
        record_review(pair, ReviewState.ACCEPTED, "", "ada")

    listed: list[str] = []
    page: int | None = 1
    while page is not None and len(listed) < 100:
        found = list_pairs(made, PairFilter(state=ReviewState.ACCEPTED), page)
        listed += [pair.id for pair in found.pairs]
        page = found.next_page
    assert sorted(listed) == sorted(pair.id for pair in Preference.objects.all())
    assert len(listed) == 60
