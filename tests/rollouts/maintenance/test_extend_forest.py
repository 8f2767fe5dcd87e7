"""Forests that have grown and grow further with larger settings, and draw nothing twice."""

import io
import json
import random
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from common.errors import UserError
from forests.core.tree import NodePath, ReasoningTree
from forests.models import COUNTERS, Forest, Scorer, Tree, TreeStatus
from forests.progress.estimating import read_estimate
from forests.progress.reading import read_standing_of
from forests.progress.states import ForestState
from forests.storage.counters import sum_of_trees
from forests.storage.scores import read_scores
from forests.storage.trees import iter_trees, retry_failed
from metrics.models import MetricRun
from preferences.models import PreferenceSet
from rollouts.client import failures
from rollouts.growing import grower as growth
from rollouts.growing import leases
from rollouts.growing.growing_process import grow_trees
from rollouts.growth_arguments import check_backend
from rollouts.maintenance import extending
from rollouts.maintenance.configuring import configure_forest
from rollouts.workers.jobs import grow_slice
from tests.openai_server import Fault, OpenAIServer
from tests.reward_server import RewardServer
from tests.rollouts.forests import assert_whole, reread, seeded, shape, statuses

pytestmark = pytest.mark.django_db(transaction=True)

NUM_TREES = 2
ALIKE: dict[str, Any] = {"samples_per_request": 1, "concurrency": 1}
"""Requests for one sample each, in order, so that extended and new forests ask for the same."""

# (strategy, settings of the first growth, larger settings as a user types them)
CASES: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "sampled": ("sampled", {"num_rollouts": 4}, {"num_rollouts": "9"}),
    "branching": ("branching", {"branching": [2, 2, 1]}, {"branching": "4,2,2"}),
    "math_shepherd": (
        "math_shepherd", {"num_rollouts": 2, "rollouts_per_state": 2},
        {"num_rollouts": "4", "rollouts_per_state": "3"},
    ),
    "omega_prm": (
        "omega_prm", {"rollouts_per_state": 4, "num_searches": 1}, {"num_searches": "4"}
    ),
}  # fmt: skip
SAME_AS_FROM_THE_START = ("sampled", "branching", "omega_prm")


def write_walk(prefix: str, seed: int) -> str:
    """Write three lines of few kinds, and an answer that is right half of the time."""
    question = prefix.rpartition("Question:")[2]
    before, _, written = question.partition("Answer:")
    has, gets, loses = map(int, re.findall(r"\d+", before))
    chance = random.Random(seed)
    lines = [f" Try {chance.randrange(2)}.\n" for _ in range(3 - written.count("\n"))]
    wrong = has + gets - loses + chance.choice([0, 0, 1, 2])
    return "".join(lines) + f"#### {wrong}\n"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(failures, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(growth, "SECONDS_BETWEEN_LOOKS_AT_FOREST", 0.05)


@pytest.fixture
def server(model_server: OpenAIServer) -> OpenAIServer:
    model_server.write = write_walk
    return model_server


def extend(forest: Forest, *options: str, **settings: str) -> tuple[dict[str, Any], str]:
    """Return the JSON of the command, and its messages."""
    out, err = io.StringIO(), io.StringIO()
    words = [word for name, value in settings.items() for word in (f"--{name}", value)]
    call_command(
        "extend_forest", "--forest_name", forest.name, *words, *options, "--json",
        stdout=out, stderr=err,
    )  # fmt: skip
    told: dict[str, Any] = json.loads(out.getvalue())
    return told, err.getvalue()


def refusal(forest: Forest, *options: str, **settings: str) -> str:
    """Return the refusal, one line, after a check that nothing changed."""
    before = (reread(forest).__dict__, list(Tree.objects.order_by("pk").values()))
    with pytest.raises(CommandError, match=r"^[^\n]+$") as raised:
        extend(forest, *options, **settings)
    after = (reread(forest).__dict__, list(Tree.objects.order_by("pk").values()))
    for forest_fields in (before[0], after[0]):
        forest_fields.pop("_state")
    assert after == before
    return str(raised.value)


def grow(forest: Forest) -> None:
    grow_slice(forest.name, 0, forest.num_trees)


def grown(case: str, suffix: str = "a", **settings: Any) -> Forest:
    strategy, first, _ = CASES[case]
    forest = seeded(NUM_TREES, suffix, strategy=strategy, **first | settings)
    grow(forest)
    return reread(forest)


def grown_with_the_larger(case: str, suffix: str) -> Forest:
    """Return a forest that had the larger settings from the start, with requests `ALIKE`."""
    _, _, larger = CASES[case]
    numbers = {
        name: [int(one) for one in text.split(",")] if "," in text else int(text)
        for name, text in larger.items()
    }
    return grown(case, suffix, **{**ALIKE, **numbers})


def asked(server: OpenAIServer) -> Counter[tuple[str, int]]:
    return Counter((request["prompt"], request["seed"]) for request in server.requests)


def state(forest: Forest) -> ForestState:
    return read_standing_of(reread(forest)).state


def counts(forest: Forest) -> dict[tuple[int, NodePath, str], int]:
    return {
        (stored.index, node.path, node.text): node.count
        for stored in iter_trees(reread(forest))
        for node in stored.tree
    }


def voted_answers(tree: ReasoningTree) -> set[str]:
    return {str(leaf.voted_answer) for leaf in tree.leaves() if leaf.answer}


def assert_settled(forest: Forest) -> None:
    sums = sum_of_trees(forest)
    assert {name: getattr(reread(forest), name) for name in sums} == sums


@pytest.mark.parametrize("case", CASES)
def test_a_forest_grows_further_without_drawing_anything_twice(case: str, server: OpenAIServer):
    forest = grown(case)
    before = counts(forest)
    assert state(forest) is ForestState.FINISHED
    num_before = len(server.requests)

    told, said = extend(forest, **CASES[case][2])

    assert told["num_trees"] == NUM_TREES
    assert statuses(forest) == {"pending": NUM_TREES}
    assert state(forest) is ForestState.NO_WORKER
    assert f"rollout_worker --num_processes 4 --forest_name {forest.name}" in said
    assert reread(forest).growth_finished_at is None
    assert_settled(forest)
    assert len(server.requests) == num_before  # planning asks nobody

    grow(forest)

    assert state(forest) is ForestState.FINISHED
    assert reread(forest).growth_finished_at is not None
    assert_whole(forest)
    assert max(asked(server).values()) == 1
    after = counts(forest)
    assert all(after[place] >= count for place, count in before.items())
    assert sum(one["n"] for one in server.requests[num_before:]) >= told["num_samples_at_least"] > 0
    forest = reread(forest)
    assert forest.requests == len(server.requests) + len(server.probes)
    assert sum(forest.nodes_by_model.values()) == forest.num_nodes


@pytest.mark.parametrize("case", SAME_AS_FROM_THE_START)
def test_it_becomes_the_forest_of_the_larger_settings(case: str, server: OpenAIServer):
    """Requests have one size. Steps of `math_shepherd` would get other paths, so it is left out."""
    forest = grown(case, **ALIKE)

    extend(forest, **CASES[case][2])
    grow(forest)

    assert shape(forest) == shape(grown_with_the_larger(case, "b"))


def test_math_shepherd_has_the_numbers_of_the_larger_settings(server: OpenAIServer):
    forest = grown("math_shepherd")

    extend(forest, **CASES["math_shepherd"][2])
    grow(forest)

    for stored in iter_trees(reread(forest)):
        tree = stored.tree
        assert sum(child.drawn.get(0, 0) for child in tree.children(())) == 4
        for node in tree:
            if node.path and node.drawn.get(0) and not node.is_finished:
                children = tree.children(node.path)
                assert sum(child.drawn.get(node.depth, 0) for child in children) == 3


@pytest.mark.parametrize("case", ["sampled", "branching"])
def test_thoughts_are_not_drawn_again(case: str, server: OpenAIServer):
    server.write = lambda prefix, seed: (
        write_walk(prefix, seed)
        if "Question" not in prefix or "think>" in prefix.rpartition("Question")[2]
        else f"<think>Hm {seed % 2}.</think>\n{write_walk(prefix, seed)}"
    )
    forest = grown(case, max_depth=8)

    extend(forest, **CASES[case][2])
    grow(forest)

    assert any(node.is_thought for stored in iter_trees(forest) for node in stored.tree)
    assert_whole(forest)
    assert max(asked(server).values()) == 1


def test_a_dry_run_tells_the_same_and_changes_nothing(server: OpenAIServer):
    forest = grown("sampled")
    before = shape(forest)

    dry, said = extend(forest, "--dry_run", num_rollouts="9")

    assert dry["num_samples_at_least"] == NUM_TREES * 5
    assert "2 complete trees would grow further, with at least 10 more samples" in said
    assert "nothing was changed: run it without --dry_run" in said
    assert state(forest) is ForestState.FINISHED
    assert reread(forest).worker_config == forest.worker_config
    assert shape(forest) == before
    told, _ = extend(forest, num_rollouts="9")
    assert {**told, "is_dry_run": True, "state": "finished"} == dry


def test_full_trees_grow_further_with_more_room(server: OpenAIServer):
    forest = grown("sampled", num_rollouts=40, max_nodes=12, max_depth=4)
    assert forest.num_hit_max_nodes == NUM_TREES

    extend(forest, max_nodes="500")

    assert reread(forest).num_hit_max_nodes == 0
    grow(forest)
    assert_whole(forest)
    assert reread(forest).num_hit_max_nodes == 0
    assert reread(forest).num_leaves == NUM_TREES * 40
    assert max(asked(server).values()) == 1


def test_a_tree_that_lacks_nothing_stays_finished(server: OpenAIServer):
    """Some trees are full, the others have all their rollouts."""
    server.write = lambda prefix, seed: (
        write_walk(prefix, seed) if "Mia" in prefix.rpartition("Question")[2] else "#### 1\n"
    )
    forest = seeded(4, strategy="sampled", num_rollouts=40, max_nodes=12, max_depth=4)
    grow(forest)
    num_full = reread(forest).num_hit_max_nodes
    assert 0 < num_full < 4

    told, _ = extend(forest, max_nodes="500")

    assert told["num_trees"] == num_full
    assert statuses(forest) == {"pending": num_full, "complete": 4 - num_full}
    assert_settled(forest)


def test_trees_that_were_never_grown_grow_with_the_larger_settings(server: OpenAIServer):
    forest = seeded(NUM_TREES, strategy="sampled", num_rollouts=4)

    told, _ = extend(forest, num_rollouts="6")
    grow(forest)

    assert told["num_trees"] == 0
    assert reread(forest).num_leaves == NUM_TREES * 6


@pytest.mark.parametrize("case", CASES)
def test_failed_trees_grow_further_after_retry_failed(case: str, server: OpenAIServer):
    """Some requests of a tree were answered, and one was not."""
    answered = Counter[tuple[str, int]]()
    numbers = iter(range(10**6))

    def fail_sometimes() -> Fault | None:
        request = server.requests[-1]
        if next(numbers) % 3 == 1:
            return Fault(status=400, body='{"error": {"message": "this prompt is no good"}}')
        answered[request["prompt"], request["seed"]] += 1
        return None

    server.misbehave = fail_sometimes
    forest = grown(case, samples_per_request=1, concurrency=1)
    assert forest.num_failed == NUM_TREES
    server.misbehave = lambda: answered.update(
        [(server.requests[-1]["prompt"], server.requests[-1]["seed"])]
    )

    _, said = extend(forest, **CASES[case][2])
    assert "2 failed trees grow further only after retry_failed" in said
    assert statuses(forest) == {"failed": NUM_TREES}
    retry_failed(reread(forest))
    grow(forest)

    assert_whole(forest)
    assert max(answered.values()) == 1


class Killed(BaseException):
    """Simulates the sudden end of a process."""


STEPS = ("_count_as_pending", "_make_pending", "settle_counters", "set_settings",
         "wait_for_workers")  # fmt: skip
STEP_THAT_SETS = 2 * STEPS.index("set_settings") + 1


@pytest.mark.parametrize("step", range(2 * len(STEPS)))
def test_the_same_command_finishes_what_was_interrupted(
    server: OpenAIServer, monkeypatch, step: int
):
    """The command ends before or after each of its steps."""
    forest = grown("sampled", **ALIKE)
    numbers = iter(range(100))

    def killing(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            if next(numbers) == step:
                raise Killed
            found = function(*arguments)
            if next(numbers) == step:
                raise Killed
            return found

        return call

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(extending, name, killing(getattr(extending, name)))
        with pytest.raises(Killed):
            extend(forest, num_rollouts="9")

    is_set = reread(forest).worker_config["num_rollouts"] == 9
    assert is_set == (step >= STEP_THAT_SETS)
    assert not is_set or statuses(forest) == {"pending": NUM_TREES}
    assert state(forest) is (ForestState.NO_WORKER if step else ForestState.FINISHED)
    told, said = extend(reread(forest), num_rollouts="9")
    assert told["num_trees"] + told["num_unfinished"] == NUM_TREES
    assert "rollout_worker --num_processes 4" in said
    grow(forest)

    assert_whole(forest)
    assert_settled(forest)
    assert shape(forest) == shape(grown_with_the_larger("sampled", "b"))


def test_trees_that_grew_between_are_complete_without_a_request(server: OpenAIServer, monkeypatch):
    forest = grown("sampled")
    num_asked = len(server.requests)

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(extending, "set_settings", kill)
        with pytest.raises(Killed):
            extend(forest, num_rollouts="9")
    grow(forest)

    assert_whole(forest)
    assert (len(server.requests), state(forest)) == (num_asked, ForestState.FINISHED)
    extend(forest, num_rollouts="9")
    grow(forest)
    assert reread(forest).num_leaves == NUM_TREES * 9


@pytest.mark.parametrize("num_grown", [0, 1, NUM_TREES])
def test_what_a_worker_of_the_smaller_settings_completes_meanwhile_is_pending_again(
    server: OpenAIServer, monkeypatch, num_grown: int
):
    forest = seeded(NUM_TREES, strategy="sampled", num_rollouts=4)
    grow_slice(forest.name, 0, num_grown)

    def complete(_: Forest) -> None:
        Tree.objects.update(status=TreeStatus.COMPLETE)

    monkeypatch.setattr(extending, "wait_for_workers", complete)
    extend(reread(forest), num_rollouts="9")

    assert statuses(forest) == {"pending": NUM_TREES}
    assert_settled(forest)


@pytest.mark.parametrize("waits", [True, False])
def test_a_worker_that_began_with_the_smaller_settings_takes_no_tree(
    server: OpenAIServer, *, waits: bool
):
    """Such as one that waited for the model server when the forest was extended."""
    forest = grown("sampled")
    extend(forest, num_rollouts="9")
    num_asked = len(server.requests)

    outcome = grow_trees(forest, list(range(NUM_TREES)), waits=waits)

    assert (outcome.complete, outcome.failed) == (0, 0)
    assert statuses(forest) == {"pending": NUM_TREES}
    assert len(server.requests) == num_asked


def test_a_worker_that_grows_when_the_forest_is_extended_stops(server: OpenAIServer):
    """It took its trees after the check for workers and before the settings changed."""
    forest = seeded(NUM_TREES, strategy="sampled", num_rollouts=4)
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    def extend_and_hang() -> Fault:
        Forest.objects.update(extended_at=moment)
        return Fault(hangs_seconds=9)

    server.misbehave = extend_and_hang

    outcome = grow_trees(forest, list(range(NUM_TREES)))

    assert outcome.is_stopped
    assert statuses(forest) == {"pending": NUM_TREES}


class TestRefusals:
    def test_trees_that_a_worker_holds(self, server: OpenAIServer):
        forest = grown("sampled")
        Tree.objects.filter(pk=f"{forest.name}/0000001").update(status=TreeStatus.PENDING)
        leases.claim([f"{forest.name}/0000001"], leases.new_holder())

        assert "is growing: stop its workers first" in refusal(forest, num_rollouts="9")

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"is_paused": True}, "is paused: resume it in the admin"),
            ({"is_seeded": False}, "is only partly seeded"),
            ({"is_graded": False}, "is only partly regraded"),
            ({"config_sha256": "0" * 64}, "has changed since forest .* was seeded"),
            ({"config_name": "gone"}, "no config named 'gone'"),
        ],
    )
    def test_a_forest_that_cannot_grow(
        self, server: OpenAIServer, fields: dict[str, Any], message: str
    ):
        forest = grown("sampled")
        Forest.objects.filter(pk=forest.pk).update(**fields)

        assert re.search(message, refusal(forest, num_rollouts="9"))

    @pytest.mark.parametrize(
        ("strategy", "message"),
        [
            ("imported", "was imported and takes no rollouts: seed a forest"),
            ("resegmented", "holds solutions of another forest"),
        ],
    )
    def test_a_forest_without_rollouts(self, server: OpenAIServer, strategy: str, message: str):
        forest = grown("sampled")
        forest.worker_config["strategy"] = strategy
        forest.save()

        assert message in refusal(forest, num_rollouts="9")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "name a setting to raise: --num_rollouts, --max_nodes"),
            ({"num_rollouts": "4"}, r"already \(num_rollouts 4\): give a larger number"),
            ({"num_rollouts": "3"}, "num_rollouts is 4 and can only become larger, not 3"),
            ({"max_nodes": "20000"}, "no tree of forest .* would grow further with max_nodes"),
            ({"branching": "8,2"}, "branching adds nothing to a forest of strategy sampled"),
            ({"max_depth": "50"}, "max_depth has cut solutions .* seed a new forest"),
            ({"max_tokens_per_rollout": "500"}, "has cut solutions"),
            ({"temperature": "1"}, "temperature decides what is drawn"),
            ({"model": "other"}, "model decides what is drawn"),
            ({"concurrency": "4"}, "configure_forest --set concurrency=VALUE"),
            ({"num_rollouts": "9", "max_depth": "50"}, "max_depth has cut solutions"),
        ],
    )
    def test_settings(self, server: OpenAIServer, options: dict[str, str], message: str):
        assert re.search(message, refusal(grown("sampled"), **options))

    @pytest.mark.parametrize("text", ["8,x", "8,,2", "0", "8,-1", ""])
    def test_numbers_that_are_none(self, server: OpenAIServer, text: str):
        assert "not a whole number" in refusal(grown("branching"), branching=text)

    def test_configure_forest_names_the_command(self, server: OpenAIServer):
        forest = grown("sampled")

        with pytest.raises(CommandError, match=f"extend_forest --forest_name {forest.name} --num"):
            call_command(
                "configure_forest", "--forest_name", forest.name, "--set", "num_rollouts=9"
            )

    def test_another_model_does_not_grow_it_further(self, server: OpenAIServer):
        forest = grown("sampled")
        extend(forest, num_rollouts="9")
        server.models = ["other"]

        with pytest.raises(UserError, match="other"):
            check_backend(reread(forest))


def test_a_spent_limit_is_said_and_holds(server: OpenAIServer):
    forest = grown("sampled")
    Forest.objects.filter(pk=forest.pk).update(max_requests=forest.used.requests)

    _, said = extend(forest, num_rollouts="9")

    assert f"{forest.used.requests} requests are spent: raise the limit" in said
    assert state(forest) is ForestState.LIMIT_SPENT
    asked_before = len(server.requests)
    grow(forest)
    assert len(server.requests) == asked_before


def test_more_nodes_than_fit_are_said(server: OpenAIServer):
    forest = grown("sampled", max_nodes=30)

    _, said = extend(forest, num_rollouts="100")

    assert "may need 500 nodes a tree with these settings, but max_nodes is 30" in said


def seed(limit: int) -> Forest:
    call_command(
        "seed_forest", "--dataset_config_name", "demo_arithmetic", "--dataset_split", "train",
        "--forest_name_suffix", "own", "--limit", str(limit),
        stdout=io.StringIO(), stderr=io.StringIO(),
    )  # fmt: skip
    return Forest.objects.get(pk="demo_arithmetic-train-own")


class TestSettingsInUse:
    """A forest keeps its config's source, and says where it uses other settings."""

    @pytest.fixture
    def forest(self, server: OpenAIServer) -> Forest:
        forest = seed(2)
        grow(forest)
        extend(forest, branching="5,2,1")
        grow(forest)
        return reread(forest)

    def test_items_are_added_and_grow_as_the_others(self, forest: Forest):
        assert seed(3).num_trees == 3
        grow(reread(forest))

        assert reread(forest).worker_config["branching"] == [5, 2, 1]
        assert [
            sum(child.count for child in stored.tree.children(()))
            for stored in iter_trees(reread(forest))
        ] == [5, 5, 5]

    def test_a_config_with_other_settings_is_refused_as_before(self, forest: Forest):
        Forest.objects.filter(pk=forest.pk).update(replaced_settings={"branching": [3, 2, 1]})

        with pytest.raises(CommandError, match=r"branching was \[3, 2, 1\] and is \[4, 2, 1\]"):
            seed(3)

    def test_the_first_values_stay_known(self, forest: Forest):
        extend(forest, branching="6,2,1")
        configure_forest(reread(forest), ["concurrency=3", "base_urls=http://a:8000/v1"])

        assert reread(forest).replaced_settings == {"branching": [4, 2, 1], "concurrency": 8}

    def test_a_setting_that_is_put_back_is_not_told(self, forest: Forest):
        configure_forest(forest, ["concurrency=3"])
        configure_forest(reread(forest), ["concurrency=8"])

        assert reread(forest).replaced_settings == {"branching": [4, 2, 1]}

    def test_the_page_tells_both(self, forest: Forest, admin_client: Client):
        page = admin_client.get(f"{forest.get_absolute_url()}config/").content.decode()

        row = re.search(r'<th scope="row">branching</th>.*?</tr>', page)
        assert row is not None
        assert "[5, 2, 1]" in row[0]
        assert "seeded with <code>[4, 2, 1]</code>" in row[0]
        assert page.count("seeded with <code>") == 1

    def test_card_and_manifest_tell_both(self, forest: Forest, tmp_path):
        call_command(
            "create_preferences",
            "--min_confidence",
            "0",
            "--forest_name",
            forest.name,
            stderr=io.StringIO(),
        )
        call_command(
            "export_preferences", "--forest_name", forest.name, "--output", str(tmp_path / "out"),
            stdout=io.StringIO(), stderr=io.StringIO(),
        )  # fmt: skip

        told = json.loads((tmp_path / "out" / "manifest.json").read_text())["forest"]
        assert told["worker_config"]["branching"] == [5, 2, 1]
        assert told["replaced_settings"] == {"branching": [4, 2, 1]}
        assert (
            "branching [5, 2, 1], seeded with [4, 2, 1]"
            in (tmp_path / "out" / "README.md").read_text()
        )


class TestWhatWasMadeBefore:
    @pytest.fixture
    def forest(self, server: OpenAIServer) -> Forest:
        return grown("sampled", num_rollouts=12)

    def prefer(self, forest: Forest, *options: str) -> PreferenceSet:
        call_command(
            "create_preferences",
            "--min_confidence",
            "0",
            "--forest_name",
            forest.name,
            *options,
            stderr=io.StringIO(),
        )
        return PreferenceSet.objects.get(forest_id=forest.pk)

    def test_preference_sets_are_not_mixed_with_values_of_more_samples(
        self, forest: Forest, admin_client: Client
    ):
        before = self.prefer(forest)
        extend(forest, num_rollouts="30")
        grow(forest)

        with pytest.raises(CommandError, match=r"made before the forest was extended: --replace"):
            self.prefer(forest)
        page = admin_client.get(reverse("preferences", args=[forest.name])).content.decode()
        assert "Made before the forest was extended" in page
        assert self.prefer(forest, "--replace").created_at > before.created_at
        page = admin_client.get(reverse("preferences", args=[forest.name])).content.decode()
        assert "Made before the forest was extended" not in page

    def test_metric_runs_keep_what_they_were_and_say_so(self, forest: Forest, admin_client: Client):
        def measure() -> None:
            call_command(
                "beam_search", "--forest_name", forest.name, stdout=io.StringIO(),
                stderr=io.StringIO(),
            )  # fmt: skip

        measure()
        before = MetricRun.objects.values().get()
        extend(forest, num_rollouts="30")
        grow(forest)

        assert MetricRun.objects.values().get() == before
        page = admin_client.get(reverse("metrics", args=[forest.name])).content.decode()
        assert page.count("Computed before the forest was extended") == 1
        measure()
        page = admin_client.get(reverse("metrics", args=[forest.name])).content.decode()
        assert "Computed before the forest was extended" not in page

    def test_score_nodes_scores_the_new_steps(self, forest: Forest):
        with RewardServer() as judge:
            words = [
                "--forest_name", forest.name, "--scorer", "judge", "--base_url", judge.url
            ]  # fmt: skip
            call_command("score_nodes", *words, stderr=io.StringIO())
            num_nodes = forest.num_nodes
            assert Scorer.objects.get().num_nodes == num_nodes
            _, said = extend(forest, num_rollouts="60")
            assert "new steps have no scores from judge: run score_nodes again" in said
            grow(forest)
            assert reread(forest).num_nodes > num_nodes

            call_command("score_nodes", *words, stderr=io.StringIO())
            num_asked = len(judge.requests)
            call_command("score_nodes", *words, stderr=io.StringIO())

        assert len(judge.requests) == num_asked  # all are scored
        scorer = Scorer.objects.get()
        assert (scorer.num_trees, scorer.num_nodes) == (NUM_TREES, reread(forest).num_nodes)
        found = read_scores(reread(forest), "judge", range(NUM_TREES))
        for stored in iter_trees(reread(forest)):
            assert set(found[stored.index]) == {node.path for node in stored.tree if node.path}

    def test_new_answers_join_the_groups_of_the_old_ones(
        self, server: OpenAIServer, forest: Forest
    ):
        old_groups = [voted_answers(stored.tree) for stored in iter_trees(forest)]
        write = server.write
        server.write = lambda prefix, seed: re.sub(r"#### (\d+)", r"#### \1.0", write(prefix, seed))
        extend(forest, num_rollouts="40")
        grow(forest)

        for stored, old in zip(iter_trees(reread(forest)), old_groups, strict=True):
            groups = voted_answers(stored.tree)
            assert old <= groups
            assert len({float(group) for group in groups}) == len(groups)
            assert any(
                leaf.answer == f"{leaf.voted_answer}.0" and leaf.voted_answer in old
                for leaf in stored.tree.leaves()
            )


def test_the_counters_of_a_forest_hold_what_both_growths_cost(server: OpenAIServer):
    forest = grown("branching")
    before = {name: getattr(forest, name) for name in COUNTERS}

    extend(forest, branching="4,2,2")
    grow(forest)

    forest = reread(forest)
    assert all(getattr(forest, name) >= before[name] for name in COUNTERS)
    assert forest.requests == len(server.requests) + len(server.probes)
    assert forest.used.requests == len(server.requests) + len(server.probes)


def test_an_extended_forest_tells_no_cost_from_trees_that_began_with_nothing(server: OpenAIServer):
    forest = seeded(5, strategy="sampled", num_rollouts=4)
    grow(forest)
    extend(forest, num_rollouts="9")
    grow_slice(forest.name, 0, 4)

    forest = reread(forest)
    assert read_estimate(forest) is None
    forest.extended_at = None
    assert read_estimate(forest) is not None
