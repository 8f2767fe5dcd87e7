"""Commands that make the same preference set at once leave it whole, or say that it is not."""

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest

from forests.models import Forest, Tree
from forests.storage.trees import collection
from preferences.core.pairing import PairingOptions
from preferences.models import PAIRS_PER_PAGE, Preference, PreferenceSet
from preferences.sets import creation
from preferences.sets.creation import SetMismatchError, SetParameters, create_preferences
from preferences.sets.storage import delete_set

pytestmark = pytest.mark.django_db

EVERYTHING = SetParameters(PairingOptions(pairing="all_pairs"))
FEWER = SetParameters(PairingOptions(pairing="best_vs_worst"))
SET = "sums-test-first/mine"
OWN = ("_id", "writer", "created_at", "completed_at")
STEPS = ("claim_set", "update_set", "insert_preferences", "apply_reviews", "count_pairs")
NUM_STEPS = 21


def create(forest: Forest, parameters: SetParameters = EVERYTHING) -> PreferenceSet:
    return create_preferences(forest, "mine", parameters, report=lambda _trees: None)


def facts() -> dict[str, Any]:
    [document] = collection(PreferenceSet).find({})
    return {name: value for name, value in document.items() if name not in OWN}


def ids() -> list[str]:
    return sorted(one["_id"] for one in collection(Preference).find({}))


def check_pages() -> None:
    sizes = Counter(one["page_key"] for one in collection(Preference).find({}))
    number = sizes.total()
    assert sorted(sizes.values(), reverse=True)[:-1] == [PAIRS_PER_PAGE] * (len(sizes) - 1)
    assert len(sizes) == -(-number // PAIRS_PER_PAGE)


def interrupt(
    monkeypatch: pytest.MonkeyPatch, at: int, before: bool, then: Callable[[], object]
) -> list[str]:
    """Call `then` once, before or after step number `at` of the next creation; return the steps."""
    done: list[str] = []

    def wrapped(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            done.append(name)
            is_it = len(done) == at
            if is_it and before:
                then()
            found = step(*arguments, **options)
            if is_it and not before:
                then()
            return found

        return run

    for name in STEPS:
        monkeypatch.setattr(creation, name, wrapped(name, getattr(creation, name)))
    return done


@pytest.fixture
def whole(forest: Forest, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], list[str]]:
    """What one command alone makes; later commands write a pair or two at a time."""
    create(forest)
    found = facts(), ids()
    [made] = PreferenceSet.objects.all()
    delete_set(made)
    monkeypatch.setattr(creation, "PAIRS_PER_WRITE", 1)
    return found


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("at", range(1, NUM_STEPS + 1))
def test_the_last_of_two_makes_the_set_and_the_other_says_so(
    forest, monkeypatch, whole, at, before
):
    is_refused = not (at == 1 and before) and not (at == NUM_STEPS and not before)
    refusal = pytest.raises(SetMismatchError, match="another command makes or deletes")
    with monkeypatch.context() as patched, refusal if is_refused else nullcontext():
        done = interrupt(patched, at, before, lambda: create(forest))
        create(forest)
    assert len(done) >= at
    assert (facts(), ids()) == whole
    assert PreferenceSet.objects.get(pk=SET).is_complete
    check_pages()


@pytest.mark.parametrize("at", range(1, NUM_STEPS + 1))
def test_a_set_that_another_command_replaces_keeps_no_pair_of_the_earlier_one(
    forest, monkeypatch, whole, at
):
    def replace() -> None:
        [made] = PreferenceSet.objects.all()
        delete_set(made)
        create(forest, FEWER)

    with monkeypatch.context() as patched:
        interrupt(patched, at, True, replace)
        with pytest.raises(SetMismatchError, match="another command makes or deletes"):
            create(forest)
    [found] = PreferenceSet.objects.all()
    alone = facts(), ids()
    delete_set(found)
    create(forest, FEWER)
    assert (facts(), ids()) == alone
    check_pages()


@pytest.mark.parametrize("at", range(1, NUM_STEPS + 1))
def test_two_that_were_stopped_at_the_same_step_are_mended_by_a_third(
    forest, monkeypatch, whole, at
):
    def stopped() -> None:
        raise SystemExit

    for _ in range(2):
        with monkeypatch.context() as patched:
            interrupt(patched, at, False, stopped)
            with suppress(SystemExit):  # the second begins where the first one stopped
                create(forest)
    create(forest)
    assert (facts(), ids()) == whole
    check_pages()


def test_of_two_that_begin_a_set_at_the_same_moment_one_is_refused(forest, monkeypatch, whole):
    real = PreferenceSet.objects.create

    def late(**fields: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(PreferenceSet.objects, "create", real)
            create(forest)
        return real(**fields)

    monkeypatch.setattr(PreferenceSet.objects, "create", late)
    with pytest.raises(SetMismatchError, match="another command makes or deletes"):
        create(forest)
    assert (facts(), ids()) == whole


def test_a_set_that_an_older_version_spoiled_is_mended_by_the_same_command(forest, whole):
    create(forest)
    spoiled = {"num_pairs": 0, "sum_of_margins": 0.0, "num_trees_with_pairs": 0}
    collection(PreferenceSet).update_one({}, {"$set": spoiled, "$unset": {"writer": ""}})
    collection(Preference).update_many({}, {"$set": {"page_key": f"{SET}/page-0"}})
    made = create(forest)
    assert (made.num_pairs, facts(), ids()) == (18, *whole)
    check_pages()


def test_pairs_of_an_earlier_set_that_came_late_are_not_taken_over(forest, monkeypatch, whole):
    create(forest)
    Tree.objects.filter(forest_id=forest.name, index__gte=3).update(status="pending")
    Forest.objects.filter(pk=forest.pk).update(num_complete=3)
    [earlier] = PreferenceSet.objects.all()
    documents = list(collection(Preference).find({}))
    delete_set(earlier)
    collection(Preference).insert_many([one | {"prefix": "earlier"} for one in documents])
    made = create(Forest.objects.get(pk=forest.pk))
    stored = list(collection(Preference).find({}))
    assert made.num_pairs == len(stored) == 9
    assert not [one for one in stored if one["prefix"] == "earlier"]
    check_pages()
