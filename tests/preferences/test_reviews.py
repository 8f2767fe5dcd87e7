"""Reviewers judge pairs, and an export takes what they let through."""

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from datasets import load_dataset
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client

from forests.models import Forest
from preferences.core.pairing import PairingOptions
from preferences.creation import SetParameters, create_preferences
from preferences.models import Preference, PreferenceSet, Review

pytestmark = pytest.mark.django_db

ADDRESS = "/sums-test-first/preferences/"


@pytest.fixture
def preference_set(forest: Forest) -> PreferenceSet:
    parameters = SetParameters(PairingOptions())
    return create_preferences(forest, "mine", parameters, report=lambda _: None)


@pytest.fixture
def reviewer(client: Client) -> Client:
    user = User.objects.create_user("rita", password="secret-rita")
    user.user_permissions.add(Permission.objects.get(codename="review_preference"))
    client.force_login(user)
    return client


@pytest.fixture
def reader() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("ron", password="secret-ron"))
    return client


def review(client: Client, tree: int, number: int, state: str = "accepted", **fields: str):
    address = f"{ADDRESS}mine/{tree}/{number}/review/"
    headers = {"HX-Request": "true"} if fields.pop("htmx", "") else {}
    return client.post(address, {"state": state, **fields}, headers=headers)


def shown(client: Client, query: str = "") -> list[str]:
    html = client.get(ADDRESS + query).content.decode()
    return re.findall(r'<article class="pair" id="pair-([\d-]+)"', html)


class TestJudging:
    def test_a_review_is_stored_with_who_and_when_and_shown(self, reviewer, preference_set):
        response = review(reviewer, 0, 1, "rejected", note="both are wrong", page="1")

        assert response.status_code == 302
        assert response["Location"] == f"{ADDRESS}?set=mine&page=1#pair-0-1"
        stored = Review.objects.get()
        assert (stored.state, stored.note, stored.reviewer) == (
            "rejected", "both are wrong", "rita",
        )  # fmt: skip
        assert stored.reviewed_at - datetime.now(UTC) < timedelta(minutes=1)
        html = reviewer.get(ADDRESS).content.decode()
        assert "both are wrong</textarea>" in html
        assert '<span class="state rejected">rejected</span> by <bdi>rita</bdi>' in html
        assert "<dt>Rejected</dt><dd>1</dd>" in html
        assert "<dt>Open</dt><dd>17</dd>" in html

    def test_the_last_word_holds(self, reviewer, preference_set):
        for state in ("accepted", "rejected", "open", "accepted"):
            review(reviewer, 0, 0, state)

        assert [one.state for one in Review.objects.all()] == ["accepted"]

    def test_htmx_gets_the_form_as_it_is_then(self, reviewer, preference_set):
        html = review(reviewer, 0, 0, "accepted", htmx="yes").content.decode()

        assert html.strip().startswith('<div class="review" id="review-0-0">')
        assert 'value="accepted" aria-pressed="true"' in html

    @pytest.mark.parametrize("fields", [{"state": "maybe"}, {"note": "x" * 2001}])
    def test_what_cannot_be_stored_is_refused(self, reviewer, preference_set, fields):
        assert review(reviewer, 0, 0, **{"state": "accepted", **fields}).status_code == 400
        assert not Review.objects.exists()

    def test_a_pair_that_is_not_there_is_not_found(self, reviewer, preference_set):
        assert review(reviewer, 99, 0).status_code == 404

    def test_hostile_notes_are_inert(self, reviewer, reader, preference_set):
        review(reviewer, 0, 0, note="</textarea><script>alert(1)</script>")

        for client in (reviewer, reader):
            html = client.get(ADDRESS).content.decode()
            assert "<script>alert" not in html
            assert "&lt;script&gt;alert(1)" in html


class TestPermission:
    def test_a_reader_sees_reviews_but_no_form(self, reviewer, reader, preference_set):
        review(reviewer, 0, 0, note="fine")

        html = reader.get(ADDRESS).content.decode()

        assert "fine" in html
        assert "<textarea" not in html

    def test_a_reader_may_not_judge(self, reader, preference_set):
        assert review(reader, 0, 0).status_code == 403
        assert not Review.objects.exists()

    @pytest.mark.parametrize("is_public", [False, True])
    def test_a_visitor_may_not_judge_on_an_open_site_either(
        self, preference_set, settings, is_public
    ):
        settings.PUBLIC = is_public

        assert review(Client(), 0, 0).status_code == 302  # to the login
        assert not Review.objects.exists()

    def test_a_form_from_elsewhere_is_refused(self, preference_set):
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.create_superuser("root", password="secret-root"))

        assert review(client, 0, 0).status_code == 403

    def test_judging_needs_a_post(self, reviewer, preference_set):
        assert reviewer.get(f"{ADDRESS}mine/0/0/review/").status_code == 405


class TestFilters:
    def test_pairs_are_found_by_their_state(self, reviewer, preference_set):
        review(reviewer, 0, 1, "accepted")
        review(reviewer, 3, 0, "accepted")
        review(reviewer, 1, 0, "rejected")

        assert shown(reviewer, "?review=accepted") == ["0-1", "3-0"]
        assert shown(reviewer, "?review=rejected") == ["1-0"]
        assert not {"0-1", "3-0", "1-0"} & set(shown(reviewer, "?review=open"))

    def test_pairs_are_found_by_margin_and_depth(self, reviewer, preference_set):
        wide = set(Preference.objects.filter(margin__gte=0.6).values_list("tree_index", flat=True))

        found = shown(reviewer, "?min_margin=0.6")

        assert found
        assert {int(one.partition("-")[0]) for one in found} <= wide
        deep = shown(reviewer, "?depth=1")
        assert deep
        for one in deep:
            tree, number = one.split("-")
            pair = Preference.objects.get(pk=f"{preference_set.id}/{int(tree):07d}/{number}")
            assert pair.depth == 1

    def test_following_next_shows_every_open_pair_once(self, reviewer, preference_set):
        review(reviewer, 0, 0, "accepted")
        found, query = [], "?review=open"
        while query:
            html = reviewer.get(ADDRESS + query).content.decode()
            found += re.findall(r'<article class="pair" id="pair-([\d-]+)"', html)
            match = re.search(r'<a rel="next" href="([^"]+)"', html)
            query = match[1].replace("&amp;", "&") if match else ""

        assert len(found) == len(set(found)) == 17

    def test_a_list_stops_where_it_has_looked_at_enough(
        self, reviewer, preference_set, monkeypatch
    ):
        monkeypatch.setattr("preferences.listing.PAGES_LOOKED_AT", 1)

        html = reviewer.get(f"{ADDRESS}?min_margin=0.99&review=open").content.decode()

        assert "pairs were looked at; the list goes on with the next" in html
        assert "page=2&amp;min_margin=0.99&amp;review=open" in html

    @pytest.mark.parametrize("query", ["?depth=x", "?min_margin=x", "?review=maybe"])
    def test_a_filter_that_means_nothing_is_not_found(self, reviewer, preference_set, query):
        assert reviewer.get(ADDRESS + query).status_code == 404


class TestRecreation:
    def test_a_set_made_anew_finds_the_reviews_of_pairs_that_come_again(
        self, reviewer, preference_set, forest
    ):
        pair = Preference.objects.get(pk=f"{preference_set.id}/0000002/1")
        review(reviewer, 2, 1, "rejected", note="no")

        call_command(
            "create_preferences", "--forest_name", forest.name, "--set_name", "mine", "--replace",
            "--min_margin", str(pair.margin), stdout=io.StringIO(), stderr=io.StringIO(),
        )  # fmt: skip

        again = Preference.objects.get(chosen_id=pair.chosen_id, rejected_id=pair.rejected_id)
        assert shown(reviewer, "?review=rejected") == [f"2-{again.number}"]

    def test_a_set_of_old_grades_is_not_continued_and_says_so(
        self, reviewer, preference_set, forest
    ):
        forest.graded_at = datetime.now(UTC) + timedelta(seconds=1)
        forest.save()

        with pytest.raises(CommandError, match="made before the forest was regraded: --replace"):
            call_command("create_preferences", "--forest_name", forest.name, "--set_name", "mine")
        assert "its values are of the old grades" in reviewer.get(ADDRESS).content.decode()

    def test_reviews_go_with_their_forest(self, reviewer, preference_set, forest):
        review(reviewer, 0, 0)

        call_command("delete_forest", "--forest_name", forest.name, "--yes")

        assert not Review.objects.exists()


class TestExport:
    def rows(self, tmp_path: Path, reviewed: str) -> list[dict]:
        output = tmp_path / reviewed
        call_command(
            "export_preferences", "--forest_name", "sums-test-first", "--output", str(output),
            "--reviewed", reviewed, stdout=io.StringIO(), stderr=io.StringIO(),
        )  # fmt: skip
        card = (output / "README.md").read_text()
        assert f"| reviewed | {reviewed} |" in card
        return list(load_dataset(str(output), split="train"))

    def test_only_accepted_pairs_or_all_but_the_rejected(self, reviewer, preference_set, tmp_path):
        review(reviewer, 0, 0, "accepted")
        review(reviewer, 4, 1, "rejected")
        accepted = Preference.objects.get(pk=f"{preference_set.id}/0000000/0")

        (row,) = self.rows(tmp_path, "accepted")

        assert (row["chosen"], row["rejected"]) == (accepted.chosen, accepted.rejected)
        assert len(self.rows(tmp_path, "not_rejected")) == 17
        assert len(self.rows(tmp_path, "all")) == 18

    def test_nothing_accepted_is_nothing_to_write(self, preference_set, tmp_path):
        with pytest.raises(CommandError, match=r"no row to write \(18 review: open\)"):
            self.rows(tmp_path, "accepted")
