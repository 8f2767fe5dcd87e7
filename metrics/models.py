"""Results of searches and of scorers, as MongoDB documents without foreign key constraints."""

from django.db import models
from django.urls import reverse

from forests.core.model_counts import from_fields, in_words
from forests.models import Forest


class MetricRun(models.Model):
    """Latest result of one set of parameters on one forest."""

    id = models.CharField(primary_key=True, max_length=180, db_column="_id")
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+")
    forest_created_at = models.DateTimeField()  # an earlier forest may have had the same name
    parameters = models.JSONField()
    rows = models.JSONField()  # see metrics.core.evaluation.Row
    distribution = models.JSONField(default=dict)  # see metrics.core.statistics.distributions
    num_trees = models.IntegerField()
    num_trees_used = models.IntegerField()
    num_uncompared = models.IntegerField(default=0)  # samples without a result
    num_ungrouped = models.IntegerField(default=0)  # samples that an older version graded
    left_out = models.JSONField(default=dict)  # trees by reason: see metrics.core.evaluation
    nodes_by_model = models.JSONField(default=dict)  # in the complete trees, at that time
    items_sha256 = models.CharField(max_length=64, default="", blank=True)  # "": unknown
    forest_cost = models.FloatField(null=True)  # cost of growth until then; None: unknown
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.id

    def get_absolute_url(self) -> str:
        return reverse("metrics", args=[self.forest_id]) + f"#{self.anchor}"

    @property
    def models_in_words(self) -> str:
        """Models that wrote the nodes by then, with their counts; empty if none is recorded."""
        return in_words(from_fields(self.nodes_by_model))

    @property
    def key(self) -> str:
        """The part of the id that is unique within the forest."""
        return self.id.rpartition("/")[2]

    @property
    def anchor(self) -> str:
        return f"run-{self.key}"


class RunItems(models.Model):
    """The results of a run for some of its trees. They let runs be compared item by item."""

    id = models.CharField(primary_key=True, max_length=220, db_column="_id")
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+")
    # The run's id and time: a repeated run replaces its results only when the new ones are there.
    run_at = models.CharField(max_length=210, db_index=True)
    part = models.IntegerField()  # in the order of the trees
    items = models.BinaryField()  # SHA-256 of each item's text and label
    trees = models.JSONField()  # number of each item's tree
    numbers = models.BinaryField()  # single precision, row by row in the order of the run's rows

    def __str__(self) -> str:
        return self.id


class ScorerReport(models.Model):
    """Latest evaluation of one scorer on one forest, against one reference."""

    id = models.CharField(primary_key=True, max_length=400, db_column="_id")
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+")
    forest_created_at = models.DateTimeField()  # an earlier forest may have had the same name
    scorer = models.CharField(max_length=120)
    parameters = models.JSONField()
    quality = models.JSONField()  # see metrics.core.scorers.scorer_quality
    nodes_by_model = models.JSONField(default=dict)  # in the complete trees, at that time
    searches = models.JSONField()  # rows of metrics.core.evaluation by value function
    num_trees = models.IntegerField()
    num_trees_used = models.IntegerField()
    num_uncompared = models.IntegerField(default=0)  # samples without a result
    num_ungrouped = models.IntegerField(default=0)  # samples that an older version graded
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.id

    def get_absolute_url(self) -> str:
        return reverse("metrics", args=[self.forest_id]) + f"#{self.anchor}"

    @property
    def models_in_words(self) -> str:
        """Models that wrote the nodes by then, with their counts; empty if none is recorded."""
        return in_words(from_fields(self.nodes_by_model))

    @property
    def against(self) -> str:
        """The scorer whose labels are the reference; empty: the Monte Carlo values."""
        return str(self.parameters.get("against", ""))

    @property
    def anchor(self) -> str:
        return f"scorer-{self.scorer}" + (f"-against-{self.against}" if self.against else "")
