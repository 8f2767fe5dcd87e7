"""Preference sets, pairs and reviews, as MongoDB documents without foreign key constraints."""

from django.db import models
from django.urls import reverse

from forests.models import Forest

PAIRS_PER_PAGE = 10


class PreferenceSet(models.Model):
    """The pairs of one set of parameters in one forest."""

    id = models.CharField(primary_key=True, max_length=250, db_column="_id")
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+")
    forest_created_at = models.DateTimeField()  # an earlier forest may have had the same name
    name = models.CharField(max_length=120)
    parameters = models.JSONField()

    prior = models.JSONField(null=True)  # how much siblings differ: see core.confidence
    num_trees_in_prior = models.IntegerField(default=0)
    writer = models.CharField(max_length=32, blank=True)  # id of the command that may change it
    is_complete = models.BooleanField(default=False)
    next_tree = models.IntegerField(default=0)  # where an interrupted command resumes
    num_pairs = models.IntegerField(default=0)
    num_trees_used = models.IntegerField(default=0)
    num_trees_with_pairs = models.IntegerField(default=0)
    num_trees_incomplete = models.IntegerField(default=0)  # left out
    num_ungrouped = models.IntegerField(default=0)  # samples that an older version graded
    sum_of_margins = models.FloatField(default=0)
    chosen_characters = models.BigIntegerField(default=0)
    rejected_characters = models.BigIntegerField(default=0)
    num_chosen_longer = models.IntegerField(default=0)  # in characters
    num_chosen_shorter = models.IntegerField(default=0)
    dropped = models.JSONField(default=dict)  # numbers by reason: see core.pairing.REASONS
    num_accepted = models.IntegerField(default=0)  # current pairs that reviewers accepted
    num_rejected = models.IntegerField(default=0)

    created_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.id

    def get_absolute_url(self) -> str:
        return reverse("preferences", args=[self.forest_id]) + f"?set={self.name}"

    @property
    def mean_margin(self) -> float | None:
        return self.sum_of_margins / self.num_pairs if self.num_pairs else None

    @property
    def mean_chosen_characters(self) -> float | None:
        return self.chosen_characters / self.num_pairs if self.num_pairs else None

    @property
    def mean_rejected_characters(self) -> float | None:
        return self.rejected_characters / self.num_pairs if self.num_pairs else None

    @property
    def num_open(self) -> int:
        """Pairs that no reviewer has accepted or rejected."""
        return self.num_pairs - self.num_accepted - self.num_rejected


class Preference(models.Model):
    """Two continuations of one prefix; prefix + side is exactly what the model wrote."""

    id = models.CharField(primary_key=True, max_length=280, db_column="_id")
    preference_set = models.ForeignKey(
        PreferenceSet, models.DO_NOTHING, related_name="+", db_index=False
    )
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+", db_index=False)
    tree_index = models.IntegerField()
    tree_key = models.CharField(max_length=270)  # <set>/<tree index>: the pairs of a tree
    page_key = models.CharField(max_length=270)  # <set>/page-<n>: the pairs of a page

    prefix_id = models.CharField(max_length=600)
    chosen_id = models.CharField(max_length=600)
    rejected_id = models.CharField(max_length=600)
    prefix = models.TextField(blank=True)
    chosen = models.TextField()
    rejected = models.TextField()
    chosen_value = models.FloatField()
    rejected_value = models.FloatField()
    chosen_leaves = models.IntegerField()
    rejected_leaves = models.IntegerField()
    margin = models.FloatField()
    confidence = models.FloatField(null=True)  # unknown for older pairs and for scores
    depth = models.IntegerField()  # of the prefix

    created_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["tree_key"], name="preference_tree"),
            models.Index(fields=["page_key"], name="preference_page"),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def number(self) -> int:
        """Position among the pairs of its tree."""
        return int(self.id.rpartition("/")[2])

    @property
    def place(self) -> str:
        """Name that is unique within the set, for ids of HTML elements."""
        return f"{self.tree_index}-{self.number}"


class ReviewState(models.TextChoices):
    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Review(models.Model):
    """Latest review of a pair: see `preferences.sets.reviews`."""

    id = models.CharField(primary_key=True, max_length=900, db_column="_id")
    preference_set = models.ForeignKey(
        PreferenceSet, models.DO_NOTHING, related_name="+", db_index=False
    )
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+")
    tree_index = models.IntegerField()
    tree_key = models.CharField(max_length=270, default="")  # the same as that of its pair
    state = models.CharField(max_length=10, choices=ReviewState.choices)
    state_key = models.CharField(max_length=270)  # <set>/<state>, or <set>/absent
    note = models.TextField(blank=True)
    reviewer = models.CharField(max_length=150)
    reviewed_at = models.DateTimeField()

    class Meta:
        permissions = [("review_preference", "Can accept, reject and annotate pairs")]
        indexes = [
            models.Index(fields=["state_key"], name="review_state"),
            models.Index(fields=["tree_key"], name="review_tree"),
        ]

    def __str__(self) -> str:
        return self.id


def set_id(forest: str, name: str) -> str:
    return f"{forest}/{name}"


def tree_key(preference_set: str, index: int) -> str:
    return f"{preference_set}/{index:07d}"


def state_key(preference_set: str, state: str) -> str:
    return f"{preference_set}/{state}"


def page_key(preference_set: str, page: int) -> str:
    """Return the key of a page of pairs; the first page is 0."""
    return f"{preference_set}/page-{page}"
