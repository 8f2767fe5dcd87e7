import pytest

from forests.models import Forest, Tree
from forests.storage.trees import collection, delete_forest
from preferences.core.pairing import PairingOptions
from preferences.models import PAIRS_PER_PAGE, Preference, PreferenceSet
from preferences.sets import creation
from preferences.sets.creation import SetMismatchError, SetParameters, create_preferences
from preferences.sets.storage import delete_set, pairs_by_tree, read_page
from tests.preferences.trees import RIGHT, tree_of

pytestmark = pytest.mark.django_db

EVERYTHING = SetParameters(PairingOptions(pairing="all_pairs"))


def create(forest: Forest, name: str = "first", parameters: SetParameters = EVERYTHING):
    return create_preferences(forest, name, parameters, report=lambda _trees: None)


def stored() -> list[dict]:
    return sorted(collection(Preference).find(), key=lambda one: one["_id"])


def test_a_set_has_the_pairs_of_every_complete_tree(forest):
    made = create(forest)
    assert made.is_complete
    assert (made.num_pairs, made.num_trees_used, made.num_trees_with_pairs) == (18, 6, 6)
    assert made.mean_margin == pytest.approx((0.5 + 1 + 1) / 3)
    saved = PreferenceSet.objects.get(pk="sums-test-first/first")
    assert saved.num_pairs == 18
    assert saved.parameters["pairing"] == "all_pairs"
    first = Preference.objects.get(pk="sums-test-first/first/0000003/1")
    assert first.chosen_id == "sums-test-first/0000003/0.0.0"
    assert first.prefix_id == "sums-test-first/0000003/0.0"
    assert (first.depth, first.margin, first.chosen) == (1, 1.0, "The answer is 5")


def test_trees_that_are_not_complete_are_left_out_and_counted(make_forest):
    made = create(make_forest(incomplete=[1, 4]))
    assert (made.num_trees_used, made.num_trees_incomplete, made.num_pairs) == (4, 2, 12)


def test_the_same_command_again_changes_nothing(forest):
    create(forest)
    before = stored()
    again = create(forest)
    assert again.num_pairs == 18
    assert stored() == before


def test_the_default_name_tells_parameters_apart():
    names = {
        SetParameters(PairingOptions(seed=seed), ungraded=ungraded).default_name
        for seed in (0, 1)
        for ungraded in ("incorrect", "exclude")
    }
    assert len(names) == 4
    assert all(name.startswith("best_vs_worst-") for name in names)


def test_other_parameters_under_the_same_name_are_refused_with_what_differs(forest):
    create(forest)
    other = SetParameters(PairingOptions(pairing="adjacent", min_margin=0.5))
    with pytest.raises(SetMismatchError, match=r"min_margin is 0.0, not 0.5, pairing is all_pairs"):
        create(forest, parameters=other)


@pytest.mark.parametrize("deadly_write", [1, 2, 3, 5])
@pytest.mark.parametrize("before_note", [True, False])
def test_a_killed_writer_is_continued_without_a_gap_or_a_double(
    forest, monkeypatch, deadly_write, before_note
):
    create(forest, "whole")
    whole = [one["_id"].replace("/whole/", "/killed/") for one in stored()]
    monkeypatch.setattr(creation, "PAIRS_PER_WRITE", 1)
    write, writes = creation.update_set, []

    def die(preference_set, **changes):
        if "next_tree" in changes:
            writes.append(changes)
        if len(writes) == deadly_write and before_note:
            raise SystemExit
        write(preference_set, **changes)
        if len(writes) == deadly_write:
            raise SystemExit

    monkeypatch.setattr(creation, "update_set", die)
    with pytest.raises(SystemExit):
        create(forest, "killed")
    assert not PreferenceSet.objects.get(pk="sums-test-first/killed").is_complete

    monkeypatch.undo()
    made = create(forest, "killed")
    assert made.is_complete
    assert made.num_pairs == 18
    assert made.num_trees_used == 6
    assert made.mean_margin == pytest.approx((0.5 + 1 + 1) / 3)
    assert [one["_id"] for one in stored() if "/killed/" in one["_id"]] == whole
    pages = [read_page(made, page) for page in range(3)]
    assert [len(page) for page in pages] == [PAIRS_PER_PAGE, 18 - PAIRS_PER_PAGE, 0]


def test_a_set_gains_the_pairs_of_trees_completed_later_and_keeps_the_others(make_forest):
    forest = make_forest(incomplete=[0, 3])
    create(forest)
    before = {one["_id"]: one for one in stored()}
    Tree.objects.filter(forest_id=forest.name).update(status="complete")
    Forest.objects.filter(pk=forest.name).update(num_complete=6)
    made = create(Forest.objects.get(pk=forest.name))
    assert (made.num_trees_used, made.num_trees_incomplete, made.num_pairs) == (6, 0, 18)
    after = {one["_id"]: one for one in stored()}
    assert len(after) == 18
    assert {id_: after[id_] for id_ in before} == before
    assert sum(len(read_page(made, page)) for page in range(2)) == 18


def test_a_forest_seeded_anew_does_not_get_the_pairs_of_its_namesake(make_forest, forest):
    create(forest)
    delete_forest(forest)
    anew = make_forest(trees=[tree_of({"0.0": ("The answer is 5", RIGHT)})])
    made = create(anew)
    assert made.num_pairs == 0
    assert stored() == []
    assert made.dropped == {"prefixes_with_one_continuation": 1}


def test_the_pairs_of_a_few_trees_come_in_their_order(forest):
    made = create(forest)
    found = pairs_by_tree(made, [4, 2])
    assert sorted(found) == [2, 4]
    assert [one["_id"][-1] for one in found[4]] == ["0", "1", "2"]


def test_a_deleted_set_is_gone_with_its_pairs_and_no_others(forest):
    kept, gone = create(forest, "kept"), create(forest, "gone")
    assert delete_set(gone) == 18
    assert {one["preference_set_id"] for one in stored()} == {kept.id}
    assert [one.name for one in PreferenceSet.objects.all()] == ["kept"]
