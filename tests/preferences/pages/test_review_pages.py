"""Reviewers judge pairs on the page of a set."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from preferences.models import Preference, PreferenceSet, Review, ReviewState
from preferences.sets.reviews import (
    record_review,
)
from tests.preferences.reviewing import ADDRESS, counts, pair_of, review, shown

pytestmark = pytest.mark.django_db


class TestJudging:
    def test_a_review_is_stored_with_who_and_when_and_shown(self, reviewer, preference_set):
        response = review(
            reviewer, 0, 1, "rejected", note=" both are wrong\r\n", back="page=1&min_margin=0.1"
        )

        assert response.status_code == 302
        assert response["Location"] == f"{ADDRESS}?page=1&min_margin=0.1&set=mine#pair-0-1"
        stored = Review.objects.get()
        assert (stored.state, stored.note, stored.reviewer) == (
            "rejected", "both are wrong", "rita",
        )  # fmt: skip
        assert abs(datetime.now(UTC) - stored.reviewed_at) < timedelta(minutes=1)
        html = reviewer.get(ADDRESS).content.decode()
        assert "both are wrong</textarea>" in html
        assert '<span class="badge review-rejected">rejected</span> by <bdi>rita</bdi>' in html
        assert "<dt>Rejected</dt><dd>1</dd>" in html
        assert "<dt>Open</dt><dd>17</dd>" in html

    def test_the_last_word_holds(self, reviewer, preference_set):
        for state in ("accepted", "rejected", "open", "accepted"):
            review(reviewer, 0, 0, state)

        assert [one.state for one in Review.objects.all()] == ["accepted"]
        assert counts(preference_set) == (1, 0, 17)

    def test_htmx_gets_the_form_and_the_counts_as_they_are_then(self, reviewer, preference_set):
        html = review(reviewer, 0, 0, htmx="yes", back="page=1").content.decode()

        assert html.strip().startswith('<div class="review" id="review-0-0">')
        assert 'value="accepted" id="accept-0-0" aria-pressed="true"' in html
        assert 'name="back" value="page=1"' in html
        assert 'id="review-counts" hx-swap-oob="true"' in html
        assert "<dt>Accepted</dt><dd>1</dd>" in html

    def test_the_form_that_htmx_gets_can_be_sent_again(self, reviewer, preference_set):
        html = review(reviewer, 0, 0, htmx="yes", seen="").content.decode()
        (seen,) = re.findall(r'name="seen" value="([^"]+)"', html)

        assert "Not stored" not in review(reviewer, 0, 0, "rejected", htmx="y", seen=seen).text
        assert counts(preference_set) == (0, 1, 17)

    @pytest.mark.parametrize("htmx", ["", "yes"])
    def test_whoever_was_overtaken_sees_what_the_other_said_and_keeps_the_note(
        self, reviewer, preference_set, htmx
    ):
        pair = pair_of(preference_set, 0, 0)
        record_review(pair, ReviewState.REJECTED, "it is wrong", "ada")

        response = review(reviewer, 0, 0, note="looks fine", seen="", htmx=htmx)

        html = response.text if htmx else reviewer.get(response["Location"]).text
        assert "Not stored: somebody reviewed this pair since you saw it." in html
        assert "it is wrong" in html
        assert '<span class="badge review-rejected">rejected</span> by <bdi>ada</bdi>' in html
        if htmx:
            assert "looks fine</textarea>" in html
        assert counts(preference_set) == (0, 1, 17)

    def test_a_set_that_is_being_made_is_not_reviewed(self, reviewer, preference_set):
        PreferenceSet.objects.update(is_complete=False)

        html = review(reviewer, 0, 0, htmx="yes").text

        assert "Not stored: the set is being made." in html
        assert not Review.objects.exists()

    @pytest.mark.parametrize("fields", [{"state": "maybe"}, {"note": "x" * 2001}])
    def test_what_cannot_be_stored_is_refused(self, reviewer, preference_set, fields):
        assert review(reviewer, 0, 0, **{"state": "accepted", **fields}).status_code == 400
        assert not Review.objects.exists()

    def test_line_ends_of_a_browser_make_no_note_too_long(self, reviewer, preference_set):
        note = "\n".join("x" * 1000)
        review(reviewer, 0, 0, note=note.replace("\n", "\r\n"))
        assert Review.objects.get().note == note

    @pytest.mark.parametrize("place", ["mine/99/0", "mine/0/99", "other/0/0"])
    def test_a_pair_that_is_not_there_is_not_found(self, reviewer, preference_set, place):
        assert reviewer.post(f"{ADDRESS}{place}/review/", {"state": "open"}).status_code == 404

    def test_hostile_notes_are_inert(self, reviewer, reader, preference_set):
        review(reviewer, 0, 0, note="</textarea><script>alert(1)</script>")

        for client in (reviewer, reader):
            html = client.get(ADDRESS).content.decode()
            assert "<script>alert" not in html
            assert "&lt;script&gt;alert(1)" in html

    @pytest.mark.parametrize(
        "back", ["page=1\r\nSet-Cookie: a=b", "//example.org/", "set=other#x", "%0d%0aA: b"]
    )
    def test_where_a_form_leads_back_to_is_always_the_page(self, reviewer, preference_set, back):
        response = review(reviewer, 0, 0, back=back)
        location = response["Location"]
        assert location.startswith(f"{ADDRESS}?")
        assert location.endswith("set=mine#pair-0-0")
        assert not response.cookies.get("a")
        assert location.count("#") == 1


class TestPermission:
    def test_a_reader_sees_reviews_but_no_form(self, reviewer, reader, preference_set):
        review(reviewer, 0, 0, note="fine")

        html = reader.get(ADDRESS).content.decode()

        assert "fine" in html
        assert "<textarea" not in html
        assert "your account needs the permission" in html

    def test_a_reader_may_not_judge(self, reader, preference_set):
        assert review(reader, 0, 0).status_code == 403
        assert not Review.objects.exists()

    def test_who_is_in_a_group_of_reviewers_may_judge(self, reader, preference_set):
        reviewers = Group.objects.create(name="reviewers")
        reviewers.permissions.add(Permission.objects.get(codename="review_preference"))
        User.objects.get(username="ron").groups.add(reviewers)

        assert "<textarea" in reader.get(ADDRESS).content.decode()
        assert review(reader, 0, 0).status_code == 302
        assert Review.objects.get().reviewer == "ron"

    @pytest.mark.parametrize("is_public", [False, True])
    def test_a_visitor_may_not_judge_on_an_open_site_either(
        self, preference_set, settings, is_public
    ):
        settings.PUBLIC = is_public

        assert review(Client(), 0, 0).status_code == 302  # to the login
        assert review(Client(), 0, 0, htmx="yes").status_code == 401
        assert not Review.objects.exists()

    def test_visitors_of_an_open_site_see_reviews_without_names(
        self, reviewer, preference_set, settings
    ):
        review(reviewer, 0, 0, note="a fine pair")
        settings.PUBLIC = True

        html = Client().get(ADDRESS).content.decode()

        assert "a fine pair" in html
        assert '<span class="badge review-accepted">accepted</span>' in html
        assert "rita" not in html
        assert "<textarea" not in html

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
        def pairs(query: str) -> list[Preference]:
            found = [one.split("-") for one in shown(reviewer, query)]
            keys = [f"{preference_set.id}/{int(tree):07d}/{number}" for tree, number in found]
            return list(Preference.objects.filter(pk__in=keys))

        assert {pair.margin >= 0.6 for pair in pairs("")} == {True, False}
        assert {pair.margin >= 0.6 for pair in pairs("?min_margin=0.6")} == {True}
        assert {pair.depth for pair in pairs("?depth=1")} == {1}

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
        monkeypatch.setattr("preferences.pages.pair_list.PAGES_LOOKED_AT", 1)

        html = reviewer.get(f"{ADDRESS}?min_margin=0.99&review=open").content.decode()

        assert "pairs were searched; the next page continues the search" in html
        assert "page=2&amp;min_margin=0.99&amp;review=open" in html

    def test_reviewed_pairs_are_found_by_margin_on_any_page(self, reviewer, preference_set):
        for tree in range(6):
            for number in range(3):
                review(reviewer, tree, number)
        found, query = [], "?review=accepted&min_margin=0.6"
        while query:
            html = reviewer.get(ADDRESS + query).content.decode()
            found.append(re.findall(r'<article class="pair" id="pair-([\d-]+)"', html))
            match = re.search(r'<a rel="next" href="([^"]+)"', html)
            query = match[1].replace("&amp;", "&") if match else ""
        assert [len(one) for one in found] == [7, 5]  # of 10 and 8 reviews: pages are not refilled
        assert len({one for page in found for one in page}) == 12

    def test_a_filter_that_finds_nothing_leads_back_to_all(self, reviewer, preference_set):
        html = reviewer.get(f"{ADDRESS}?depth=7").content.decode()
        assert "No pair matches." in html
        assert '<a href="?set=mine">Show all pairs</a>' in html

    def test_a_pair_leads_to_its_step_in_the_tree(self, reviewer, preference_set):
        html = reviewer.get(ADDRESS).content.decode()
        assert "/sums-test-first/trees/0/?open=0.0.0#node-0-0-0" in html

    def test_reviews_cost_the_same_queries_however_many_there_are(
        self, reviewer, preference_set, django_assert_num_queries, django_assert_max_num_queries
    ):
        review(reviewer, 0, 0)
        reviewer.get(ADDRESS)  # caches the content types
        with django_assert_max_num_queries(14) as few:
            reviewer.get(ADDRESS)
            number = len(few)
        for tree in range(6):
            review(reviewer, tree, 1, "rejected")
        with django_assert_num_queries(number):
            reviewer.get(ADDRESS)

    @pytest.mark.parametrize(
        "query",
        ["?depth=x", "?depth=-1", "?depth=" + "9" * 30, "?min_margin=x", "?min_margin=nan",
         "?min_margin=1.1", "?review=maybe"],
    )  # fmt: skip
    def test_a_filter_that_means_nothing_is_not_found(self, reviewer, preference_set, query):
        assert reviewer.get(ADDRESS + query).status_code == 404
