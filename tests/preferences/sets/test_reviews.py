"""Reviews are stored, counted, kept when their set is replaced, and used by an export."""

import io
import json
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from random import Random

import pytest
from datasets import load_dataset
from django.apps import apps
from django.core.management import CommandError, call_command

from preferences.models import Preference, PreferenceSet, Review, ReviewState
from preferences.sets import reviews
from preferences.sets.reviews import (
    ReviewConflictError,
    count_absent,
    record_review,
    reviews_of,
    stamp_of,
)
from tests.preferences.reviewing import ADDRESS, counts, made, pair_of, remake, review, shown

pytestmark = pytest.mark.django_db


class TestStoring:
    def test_every_change_of_mind_is_counted(self, preference_set):
        pairs = [pair_of(preference_set, tree, 0) for tree in range(3)]
        random, last = Random(5), {}
        for _ in range(25):
            pair, state = random.choice(pairs), random.choice(list(ReviewState))
            record_review(pair, state, "", "rita")
            last[pair.id] = state
            states = [str(one) for one in last.values()]
            accepted, rejected = (states.count(one) for one in ("accepted", "rejected"))
            assert counts(preference_set) == (accepted, rejected, 18 - accepted - rejected)
        assert {id_: one.state for id_, one in reviews_of(pairs).items()} == last

    def test_a_review_that_came_between_is_not_overwritten(self, preference_set):
        pair = pair_of(preference_set, 0, 0)
        first = record_review(pair, ReviewState.ACCEPTED, "", "ada", seen="")
        with pytest.raises(ReviewConflictError):
            record_review(pair, ReviewState.REJECTED, "", "rita", seen="")
        assert counts(preference_set) == (1, 0, 17)
        record_review(pair, ReviewState.REJECTED, "", "rita", seen=stamp_of(first))
        assert counts(preference_set) == (0, 1, 17)
        with pytest.raises(ReviewConflictError):
            record_review(pair, ReviewState.OPEN, "", "ada", seen=stamp_of(first))

    @pytest.mark.parametrize("is_first", [True, False])
    def test_of_two_reviews_at_one_moment_one_holds(self, preference_set, monkeypatch, is_first):
        pair = pair_of(preference_set, 0, 0)
        if not is_first:
            record_review(pair, ReviewState.REJECTED, "", "rita")
        replace = reviews._replace

        def replace_after_another(stored, document):
            monkeypatch.setattr(reviews, "_replace", replace)
            record_review(pair, ReviewState.ACCEPTED, "mine", "ada")
            replace(stored, document)

        monkeypatch.setattr(reviews, "_replace", replace_after_another)
        with pytest.raises(ReviewConflictError):
            record_review(pair, ReviewState.REJECTED, "", "rita")
        assert counts(preference_set) == (1, 0, 17)
        assert Review.objects.get().reviewer == "ada"

    def test_a_review_that_was_not_counted_is_counted_when_the_command_runs_again(
        self, preference_set, forest, monkeypatch
    ):
        monkeypatch.setattr(reviews, "_count", lambda *_: None)
        record_review(pair_of(preference_set, 0, 0), ReviewState.ACCEPTED, "", "ada")
        assert counts(preference_set) == (0, 0, 18)
        assert counts(made(forest)) == (1, 0, 17)

    def test_the_migration_counts_what_was_stored_before_it(self, preference_set):
        record_review(pair_of(preference_set, 1, 0), ReviewState.REJECTED, "", "ada")
        Review.objects.update(tree_key="")
        PreferenceSet.objects.update(num_rejected=0)
        import_module("preferences.migrations.0003_review_counts").count(apps, None)
        assert counts(preference_set) == (0, 1, 17)
        assert Review.objects.get().tree_key == f"{preference_set.id}/0000001"


class TestRecreation:
    def test_a_set_made_anew_finds_the_reviews_of_pairs_that_come_again(
        self, reviewer, preference_set, forest
    ):
        pair = pair_of(preference_set, 2, 1)
        review(reviewer, 2, 1, "rejected", note="no")

        said = remake(forest, "--min_margin", str(pair.margin))

        again = Preference.objects.get(chosen_id=pair.chosen_id, rejected_id=pair.rejected_id)
        assert shown(reviewer, "?review=rejected") == [f"2-{again.number}"]
        assert counts(preference_set)[:2] == (0, 1)
        assert said == "deleted preference set mine with 18 pairs\n"

    def test_reviews_of_pairs_that_do_not_come_again_wait_for_them(
        self, reviewer, preference_set, forest
    ):
        gone = next(one for one in Preference.objects.filter(tree_index=0) if one.margin < 0.6)
        review(reviewer, 0, gone.number, "accepted", note="small")
        review(reviewer, 1, gone.number, "rejected")

        said = remake(forest, "--min_margin", "0.6")

        assert said == (
            "deleted preference set mine with 18 pairs\n"
            "2 reviews belong to pairs that are not in the set; they are kept, and re-attached "
            "if such a pair reappears\n"
        )
        assert counts(preference_set) == (0, 0, 12)
        assert shown(reviewer, "?review=accepted") == []

        assert remake(forest) == "deleted preference set mine with 12 pairs\n"
        assert count_absent(preference_set) == 0
        assert counts(preference_set) == (1, 1, 16)
        assert shown(reviewer, "?review=accepted") == [f"0-{gone.number}"]
        assert "small</textarea>" in reviewer.get(ADDRESS).content.decode()

    def test_a_set_of_old_grades_is_not_continued_and_says_so(
        self, reviewer, preference_set, forest
    ):
        forest.graded_at = datetime.now(UTC) + timedelta(seconds=1)
        forest.save()

        with pytest.raises(CommandError, match="made before the forest was regraded: --replace"):
            call_command(
                "create_preferences",
                "--min_confidence",
                "0",
                "--forest_name",
                forest.name,
                "--set_name",
                "mine",
            )
        assert "its values come from the old grades" in reviewer.get(ADDRESS).content.decode()

    def test_reviews_go_with_their_forest(self, reviewer, preference_set, forest):
        review(reviewer, 0, 0)

        call_command("delete_forest", "--forest_name", forest.name, "--yes")

        assert not Review.objects.exists()


class TestExport:
    def rows(self, tmp_path: Path, reviewed: str, *arguments: str) -> list[dict]:
        output = tmp_path / reviewed
        self.said = io.StringIO()
        call_command(
            "export_preferences", "--forest_name", "sums-test-first", "--output", str(output),
            "--reviewed", reviewed, *arguments, stdout=io.StringIO(), stderr=self.said,
        )  # fmt: skip
        self.card = (output / "README.md").read_text()
        self.manifest = json.loads((output / "manifest.json").read_text())
        assert f"| reviewed | {reviewed} |" in self.card
        return list(load_dataset(str(output), split="train"))

    def test_only_accepted_pairs_or_all_but_the_rejected(self, reviewer, preference_set, tmp_path):
        review(reviewer, 0, 0, "accepted", note="a secret of rita")
        review(reviewer, 4, 1, "rejected")
        accepted = pair_of(preference_set, 0, 0)

        (row,) = self.rows(tmp_path, "accepted")

        assert (row["chosen"], row["rejected"]) == (accepted.chosen, accepted.rejected)
        assert self.manifest["left_out"] == {
            "pairs_not_reviewed": 16,
            "pairs_rejected_by_reviewers": 1,
        }
        facts = self.manifest["preference_set"]
        assert (facts["num_pairs"], facts["num_accepted"], facts["num_rejected"]) == (18, 1, 1)
        assert (
            "| Reviewed | only pairs that reviewers accepted; of the set's 18 pairs, reviewers "
            "accepted 1 and rejected 1 |"
        ) in self.card
        assert "rita" not in self.card + json.dumps(self.manifest)

        assert len(self.rows(tmp_path, "not_rejected")) == 17
        assert "all pairs except those that reviewers rejected" in self.card
        assert self.manifest["left_out"] == {"pairs_rejected_by_reviewers": 1}

        assert len(self.rows(tmp_path, "all")) == 18
        assert (
            "reviewers rejected 1 of the pairs: --reviewed not_rejected leaves them out"
        ) in self.said.getvalue()
        assert "| Reviewed |" not in self.card

    @pytest.mark.parametrize("container", ["jsonl", "parquet", "dataset"])
    @pytest.mark.parametrize("name", ["trl_unpaired", "step_dpo", "trl_conversational"])
    def test_every_format_of_pairs_takes_only_those(
        self, reviewer, preference_set, tmp_path, name, container
    ):
        review(reviewer, 3, 2, "accepted")
        rows = self.rows(tmp_path, "accepted", "--format", name, "--container", container)
        assert len(rows) == (2 if name == "trl_unpaired" else 1)

    def test_nothing_accepted_is_nothing_to_write(self, preference_set, tmp_path):
        with pytest.raises(
            CommandError, match=r"no rows to write \(18 pairs that no reviewer accepted"
        ):
            self.rows(tmp_path, "accepted")

    def test_formats_of_steps_have_no_pairs_to_choose_from(self, preference_set, tmp_path):
        with pytest.raises(CommandError, match="--reviewed chooses pairs, and prm800k has none"):
            self.rows(tmp_path, "accepted", "--format", "prm800k")
