"""Forests, trees and nodes as MongoDB documents.

Primary keys are texts that say where a document belongs (`gsm8k_baseline-test-first`, `…/0000012`,
`…/0000012/0.2.1`). So a repeated write is detected, and the documents of a tree are found without a
join. Foreign keys do not cascade: `forests.storage.trees` deletes.
"""

import json
from typing import Any

from django.db import models
from django.urls import reverse

from forests.core.estimators import own_estimator
from forests.core.naming import index_of_tree, node_anchor, path_of_node
from forests.core.tree import NodePath, format_path
from forests.core.values import Estimator
from forests.costs.amounts import rounded_up
from forests.costs.budgets import USAGE_FIELDS, Limits, Prices, Usage
from forests.costs.money import money


class Forest(models.Model):
    """All trees of one (config, split, suffix), with the config frozen at seeding."""

    name = models.CharField(primary_key=True, max_length=120, db_column="_id")
    config_name = models.CharField(max_length=80)
    config_source = models.TextField()
    config_sha256 = models.CharField(max_length=64)
    config_git_commit = models.CharField(max_length=64, blank=True)
    config_git_branch = models.CharField(max_length=200, blank=True)
    dataset_split = models.CharField(max_length=80)
    dataset_source = models.CharField(max_length=300, blank=True)
    dataset_licence = models.CharField(max_length=80, blank=True)
    worker_config = models.JSONField()
    replaced_settings = models.JSONField(default=dict)  # seeded values of settings that changed

    is_seeded = models.BooleanField(default=False)  # False while items may be missing
    importer = models.CharField(max_length=40, blank=True)  # command that imports its trees
    import_sha256 = models.CharField(max_length=64, blank=True)  # of the imported data
    is_paused = models.BooleanField(default=False)
    is_graded = models.BooleanField(default=True)  # False while some leaves have the old grades
    graded_at = models.DateTimeField(null=True)  # when a new grader finished all leaves
    extended_at = models.DateTimeField(null=True)  # when its complete trees were reopened

    grown_by = models.JSONField(default=list)  # models that grew it, in order of first use
    allowed_models = models.JSONField(default=list)  # names added by --allow_model
    nodes_by_model = models.JSONField(default=dict)  # see forests.core.model_counts

    max_requests = models.IntegerField(null=True)  # growth stops there; None: no limit
    max_tokens_total = models.BigIntegerField(null=True)  # prompt and completion tokens
    max_cost = models.FloatField(null=True)  # in the currency of the prices
    price_in = models.FloatField(null=True)  # per million prompt tokens; None: unknown
    price_out = models.FloatField(null=True)  # per million completion tokens
    ledger = models.JSONField(null=True)  # used and reserved: see rollouts.growing.reservations
    reservations = models.JSONField(default=dict)  # reserved for requests in flight, by holder

    num_trees = models.IntegerField(default=0)
    num_complete = models.IntegerField(default=0)
    num_failed = models.IntegerField(default=0)
    num_hit_max_nodes = models.IntegerField(default=0)  # trees that lack samples due to `max_nodes`
    num_nodes = models.IntegerField(default=0)
    num_leaves = models.IntegerField(default=0)
    num_correct = models.IntegerField(default=0)
    num_incorrect = models.IntegerField(default=0)
    num_unanswered = models.IntegerField(default=0)
    num_uncompared = models.IntegerField(default=0)  # no result, so not in num_leaves
    num_truncated = models.IntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)  # of prompt_tokens, as servers report
    requests = models.IntegerField(default=0)
    retries = models.IntegerField(default=0)
    failures = models.JSONField(default=dict)  # failed attempts by kind, such as {"timeout": 3}
    latencies = models.JSONField(default=dict)  # answered requests: see rollouts.client.latencies
    request_seconds = models.FloatField(default=0)  # sum of these latencies
    backend_message = models.TextField(blank=True)  # why workers wait; empty if none waits
    stop_reason = models.TextField(blank=True, default="")  # why growth waits for the operator
    worker_message = models.TextField(blank=True, default="")  # why a worker refused its jobs
    worker_message_at = models.DateTimeField(null=True)
    worked_at = models.DateTimeField(null=True)  # a worker's last write; None after it left

    created_at = models.DateTimeField()
    growth_started_at = models.DateTimeField(null=True)
    growth_finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("forest", args=[self.name])

    @property
    def strategy(self) -> str:
        """Name of the growth strategy."""
        return str(self.worker_config.get("strategy", ""))

    @property
    def estimator(self) -> Estimator:
        """The estimator of its values, unless a reader asks for another."""
        return own_estimator(self.strategy, self.refined_for)

    @property
    def refined_for(self) -> str:
        """The goal of `refine_forest`, if it has added rollouts; otherwise empty."""
        return str((self.worker_config.get("refinement") or {}).get("goal", ""))

    @property
    def seeded_settings(self) -> dict[str, Any]:
        """The worker settings at seeding, without the servers."""
        return {**self.worker_config, **(self.replaced_settings or {})}

    @property
    def told_settings(self) -> list[tuple[str, Any, str]]:
        """Name and value of each worker setting, with the seeded value if it differs."""
        replaced = self.replaced_settings or {}
        return [
            (name, value, json.dumps(replaced[name]) if name in replaced else "")
            for name, value in self.worker_config.items()
        ]

    @property
    def is_stopped(self) -> bool:
        """Whether the model server refused a worker, so that the operator must act first."""
        return bool(self.stop_reason)

    @property
    def reserved(self) -> Usage:
        """The most that requests in flight may use; nothing if no limit is set."""
        return sum(map(Usage.of, (self.reservations or {}).values()), Usage())

    @property
    def committed(self) -> Usage:
        """What its requests used, plus the most that those in flight may use."""
        if self.ledger is None:  # an older version or another site grew it, and nothing has since
            return Usage.of({name: getattr(self, name) for name in USAGE_FIELDS})
        return Usage.of(self.ledger)

    @property
    def cached_share(self) -> float | None:
        """The share of prompt tokens from prefix caches; None if no server reported any."""
        return self.cached_tokens / self.prompt_tokens if self.cached_tokens else None

    @property
    def used(self) -> Usage:
        """What all its requests used, including failed ones and those of killed workers."""
        return self.committed - self.reserved

    @property
    def prices(self) -> Prices:
        return Prices(self.price_in, self.price_out)

    @property
    def limits(self) -> Limits:
        return Limits(self.max_requests, self.max_tokens_total, self.max_cost)

    @property
    def cost(self) -> float | None:
        """Cost so far, in the currency of the prices; None if these are unknown."""
        return self.prices.cost(self.used)

    @property
    def reserved_cost(self) -> float | None:
        """The most that requests in flight may cost; None if the prices are unknown."""
        return self.prices.cost(self.reserved)

    @property
    def spent_limit(self) -> str:
        """The limit that growth has reached, in words; empty if there is none.

        Reserved amounts are not spent: requests in flight may use less.
        """
        used = self.used
        return {
            "requests": f"{used.requests} of {self.max_requests} requests are spent",
            "tokens": f"{used.tokens} of {self.max_tokens_total} tokens are spent",
            "cost": f"{money(self.cost)} of {money(self.max_cost)} are spent",
            "": "",
        }[self.limits.reached(used, self.prices)]

    @property
    def larger_limit(self) -> str:
        """The option that raises a spent limit to twice the usage; empty if no limit is spent."""
        used = self.used
        options = {
            "requests": f"--max_requests {2 * used.requests}",
            "tokens": f"--max_tokens_total {2 * used.tokens}",
            "cost": f"--max_cost {rounded_up(2 * (self.cost or 0))}",
        }
        return options.get(self.limits.reached(used, self.prices), "")

    @property
    def num_pending(self) -> int:
        """Trees that are neither complete nor failed."""
        return max(0, self.num_trees - self.num_complete - self.num_failed)


class TreeStatus(models.TextChoices):
    PENDING = "pending"
    GROWING = "growing"
    COMPLETE = "complete"
    FAILED = "failed"


class Tree(models.Model):
    """One dataset item. The root of the tree is its prompt."""

    id = models.CharField(primary_key=True, max_length=140, db_column="_id")
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+", db_index=False)
    index = models.IntegerField()
    item = models.TextField()  # Markdown
    label = models.TextField()
    prompt = models.JSONField()  # a text, or a list of chat messages
    # Packed by forests.core.tokens; missing unless the forest keeps tokens.
    kept_tokens = models.BinaryField(null=True)
    question = models.TextField(default="", blank=True)  # empty: derived from the prompt
    status = models.CharField(max_length=10, choices=TreeStatus.choices, default=TreeStatus.PENDING)
    error = models.TextField(blank=True)
    hit_max_nodes = models.BooleanField(default=False)  # complete, but `max_nodes` left no room
    # Paths of the steps that a refinement decides; None: its strategy grows the tree.
    refined_steps = models.JSONField(null=True)
    generation = models.BigIntegerField(default=0)  # raised by claims: rollouts.growing.fencing
    oldest_generation = models.BigIntegerField(default=0)  # older nodes are not part of the tree
    lease_holder = models.CharField(max_length=100, blank=True)
    lease_expires_at = models.DateTimeField(null=True)

    num_nodes = models.IntegerField(default=0)
    num_leaves = models.IntegerField(default=0)
    num_correct = models.IntegerField(default=0)
    num_incorrect = models.IntegerField(default=0)
    num_unanswered = models.IntegerField(default=0)
    num_uncompared = models.IntegerField(default=0)
    num_truncated = models.IntegerField(default=0)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)  # of prompt_tokens, as servers report
    requests = models.IntegerField(default=0)
    retries = models.IntegerField(default=0)
    failures = models.JSONField(default=dict)
    nodes_by_model = models.JSONField(default=dict)  # an older version counted none
    root_value = models.FloatField(null=True)  # by the forest's estimator; None: no result yet
    majority_value = models.FloatField(null=True)  # see core.voting; None: no result, or not known
    disagreement = models.FloatField(null=True)  # the largest of `disagreements`; None: not known
    disagreements = models.JSONField(default=list)  # see forests.labels.disagreeing

    created_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["forest_id", "index"]
        indexes = [
            # The trees of a forest that still have to grow; and the trees of one status on a page,
            # in the order of the dataset.
            models.Index(fields=["forest", "status", "index"], name="tree_forest_status_index"),
            # The trees of all forests that workers currently hold: one index range.
            models.Index(fields=["status", "lease_expires_at"], name="tree_status_lease"),
            # The trees of a forest on which scorers disagree most.
            models.Index(fields=["forest", "disagreement"], name="tree_disagreement"),
        ]

    def __str__(self) -> str:
        return self.id

    def get_absolute_url(self) -> str:
        return reverse("tree", args=[self.forest_id, self.index])


class Node(models.Model):
    """One reasoning step below the root."""

    id = models.CharField(primary_key=True, max_length=600, db_column="_id")
    tree = models.ForeignKey(Tree, models.DO_NOTHING, related_name="+", db_index=False)
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+", db_index=False)
    parent_id = models.CharField(max_length=600)
    depth = models.IntegerField()
    position = models.IntegerField()
    text = models.TextField()
    count = models.IntegerField(default=1)
    drawn = models.JSONField(default=dict)  # the count by the depth of the ancestor sampled from
    terminal = models.BooleanField(default=False)
    truncated = models.BooleanField(default=False)
    answer = models.TextField(null=True)  # noqa: DJ001  None: no answer; "" is an answer
    grade = models.CharField(max_length=10, null=True)  # noqa: DJ001  None: not graded
    voted_answer = models.TextField(null=True)  # noqa: DJ001  None: no answer, or an older version
    tokens = models.IntegerField(default=0)
    logprob = models.FloatField(null=True)
    finish_reason = models.CharField(max_length=20, blank=True)
    model = models.CharField(max_length=200, blank=True)
    seed = models.BigIntegerField(null=True)
    numbered_to = models.IntegerField(default=0)  # older versions wrote none
    is_thought = models.BooleanField(default=False)  # older versions wrote none
    kept_tokens = models.BinaryField(null=True)  # packed as in `Tree`
    generation = models.BigIntegerField(default=0)  # of its tree, when written or taken over
    created_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["tree"], name="node_tree")]  # a whole tree in one query

    def __str__(self) -> str:
        return self.id

    def get_absolute_url(self) -> str:
        """Return its address: the page of its tree, unfolded to this node."""
        tree = reverse("tree", args=[self.forest_id, self.tree_index])
        return f"{tree}?open={format_path(self.path)}#{self.anchor}"

    @property
    def path(self) -> NodePath:
        return path_of_node(self.id)

    @property
    def tree_index(self) -> int:
        return index_of_tree(self.tree_id)

    @property
    def anchor(self) -> str:
        return node_anchor(self.path)


class Scorer(models.Model):
    """A source of scores of steps: a served reward model, a judge model, people, or a file."""

    id = models.CharField(primary_key=True, max_length=260, db_column="_id")
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+")
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, blank=True, default="")  # see core.opinions.verdicts
    parameters = models.JSONField(default=dict)  # what it was asked, to tell runs apart
    spent = models.JSONField(default=dict)  # by a judge: requests, tokens, unread replies
    num_trees = models.IntegerField(default=0)  # trees with scores
    num_nodes = models.IntegerField(default=0)  # nodes with a score
    changed_at = models.DateTimeField(null=True)  # when scores of a tree were last replaced
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["forest_id", "name"]

    def __str__(self) -> str:
        return self.id


class TreeScores(models.Model):
    """The scores of one scorer for the nodes of one tree."""

    id = models.CharField(primary_key=True, max_length=280, db_column="_id")
    scores = models.JSONField()  # by path, such as {"0-2-1": 0.7}; nodes without a score are absent
    rationales = models.JSONField(default=dict)  # why, by path: texts of a model or a person
    votes = models.JSONField(default=dict)  # by path: how many are right, neutral and wrong
    revision = models.BigIntegerField(default=0)  # of people's labels: see forests.labels.storage
    num_steps = models.IntegerField(default=0)  # of the tree when scored; 0: older version, import

    class Meta:
        verbose_name_plural = "tree scores"

    def __str__(self) -> str:
        return self.id


class TreeLabels(models.Model):
    """The verdicts of one person on the steps of one tree, or the decisions about them."""

    id = models.CharField(primary_key=True, max_length=620, db_column="_id")
    tree = models.ForeignKey(Tree, models.DO_NOTHING, related_name="+", db_index=False)
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+")
    person = models.CharField(max_length=150, blank=True)  # id of a user; empty: decisions
    verdicts = models.JSONField(default=dict)  # by path, such as {"0-2-1": "right"}
    notes = models.JSONField(default=dict)  # why, by path
    blind = models.JSONField(default=dict)  # paths labelled without seeing what others say
    is_whole = models.BooleanField(default=False)  # labels all steps of the solution to label
    revision = models.BigIntegerField(default=0)  # how often it was changed
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "tree labels"
        permissions = [
            ("label_step", "Can say whether steps are right"),
            ("decide_label", "Can decide where people disagree about steps"),
        ]
        indexes = [models.Index(fields=["tree"], name="labels_tree")]

    def __str__(self) -> str:
        return self.id


class ModelServer(models.Model):
    """The abilities of one server with one model, kept so that jobs need not probe it again."""

    id = models.CharField(primary_key=True, max_length=64, db_column="_id")
    server = models.TextField()  # its address, without credentials
    model = models.TextField()
    api = models.CharField(max_length=20)
    abilities = models.JSONField(default=dict)  # a `forests.core.abilities.Abilities`
    probed_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)  # one worker probes it, others wait

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.model} at {self.server} ({self.api})"


class Activity(models.Model):
    """What workers did for a forest in one minute: the source of rate and ETA."""

    id = models.CharField(primary_key=True, max_length=160, db_column="_id")
    forest = models.ForeignKey(Forest, models.DO_NOTHING, related_name="+")
    minute = models.DateTimeField()
    trees = models.IntegerField(default=0)
    nodes = models.IntegerField(default=0)
    tokens = models.IntegerField(default=0)
    requests = models.IntegerField(default=0)

    class Meta:
        ordering = ["forest_id", "minute"]
        verbose_name_plural = "activity"

    def __str__(self) -> str:
        return self.id


LEAF_COUNTERS = (
    "num_nodes",
    "num_leaves",
    "num_correct",
    "num_incorrect",
    "num_unanswered",
    "num_uncompared",
    "num_truncated",
)
"""Counters derived from a tree's nodes: see `forests.core.counting`."""

SPENT_COUNTERS = ("prompt_tokens", "completion_tokens", "cached_tokens", "requests", "retries")
"""What growing cost, including retries and lost samples."""

COUNTERS = (*LEAF_COUNTERS, *SPENT_COUNTERS)
"""Counters that a forest sums over its trees."""
