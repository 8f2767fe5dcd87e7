"""Results of searches and of scorers as MongoDB documents; references are plain."""

from django.db import models
from django.urls import reverse

from forests.core.model_counts import from_fields, in_words
from forests.models import Forest


class MetricRun(models.Model):
    """What one choice of parameters gave for a forest, the last time it was tried."""

    id = models.CharField(primary_key=True, max_length=180, db_column="_id")
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+")
    forest_created_at = models.DateTimeField()  # tells an earlier forest of the same name
    parameters = models.JSONField()
    rows = models.JSONField()  # see metrics.core.evaluation.Row
    distribution = models.JSONField(default=dict)  # see metrics.core.statistics.distributions
    num_trees = models.IntegerField()
    num_trees_used = models.IntegerField()
    num_uncompared = models.IntegerField(default=0)  # samples without a result
    num_ungrouped = models.IntegerField(default=0)  # samples that an older version graded
    left_out = models.JSONField(default=dict)  # trees by reason: see metrics.core.evaluation
    nodes_by_model = models.JSONField(default=dict)  # of the complete trees, at that time
    items_sha256 = models.CharField(max_length=64, default="", blank=True)  # "": not known
    forest_cost = models.FloatField(null=True)  # what growing had cost by then; None: not known
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.id

    def get_absolute_url(self) -> str:
        return reverse("metrics", args=[self.forest_id]) + f"#{self.anchor}"

    @property
    def models_in_words(self) -> str:
        """Who wrote the nodes when it was computed; empty where nobody noted it."""
        return in_words(from_fields(self.nodes_by_model))

    @property
    def key(self) -> str:
        """What tells it from the forest's other runs."""
        return self.id.rpartition("/")[2]

    @property
    def anchor(self) -> str:
        return f"run-{self.key}"


class ScorerReport(models.Model):
    """How good a scorer is on a forest, the last time it was judged."""

    id = models.CharField(primary_key=True, max_length=260, db_column="_id")
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+")
    forest_created_at = models.DateTimeField()  # tells an earlier forest of the same name
    scorer = models.CharField(max_length=120)
    parameters = models.JSONField()
    quality = models.JSONField()  # see metrics.core.scorers.scorer_quality
    nodes_by_model = models.JSONField(default=dict)  # of the complete trees, at that time
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
        """Who wrote the nodes when it was computed; empty where nobody noted it."""
        return in_words(from_fields(self.nodes_by_model))

    @property
    def anchor(self) -> str:
        return f"scorer-{self.scorer}"
