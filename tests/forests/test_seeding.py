import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from experiment_configs.interfaces import ConfigError, RolloutConfig, RolloutWorkerConfig
from experiment_configs.loading import LoadedConfig, load_config
from forests import seeding
from forests.core.items import item_question
from forests.models import Forest, Tree
from forests.seeding import seed_forest
from forests.storage.trees import question_of_document, read_tree
from rollouts.growing.growing_process import load_frozen_config

pytestmark = pytest.mark.django_db(transaction=True)


class Numbers(RolloutConfig):
    """Ten items; `bad` is the number of one without a label."""

    def __init__(self, size: int = 10, bad: int | None = None) -> None:
        self.size = size
        self.bad = bad

    def get_dataset_iterator(self, dataset_split: str) -> Iterator[int]:
        yield from range(self.size)

    def get_root_prompt(self, item: int) -> str:
        return f"Say {item}."

    def get_label(self, item: int) -> Any:
        return None if item == self.bad else str(item)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(seeding, "TREES_PER_WRITE", 4)


def loaded(config: RolloutConfig | None = None) -> LoadedConfig:
    return replace(load_config("demo_arithmetic"), name="numbers", config=config or Numbers())


def seed(config: RolloutConfig | None = None, **options: Any) -> Forest:
    return seed_forest(loaded(config), "test", "a", **options)


def indexes() -> list[int]:
    return sorted(Tree.objects.values_list("index", flat=True))


def test_each_item_becomes_a_tree_with_its_prompt_and_label():
    forest = seed()

    assert (forest.name, forest.num_trees, forest.is_seeded) == ("numbers-test-a", 10, True)
    tree = Tree.objects.get(pk="numbers-test-a/0000003")
    assert (tree.prompt, tree.label, tree.status) == ("Say 3.", "3", "pending")


class Asking(Numbers):
    def get_root_prompt(self, item: int) -> str:
        return f"Question: Say 0.\nAnswer: 0\n\nQuestion: {self.get_question(item)}\nAnswer:"

    def get_question(self, item: int) -> Any:
        return (" Say it.\n", "", 7)[item]


def test_a_tree_keeps_the_question_of_its_item_beside_the_prompt():
    forest = seed(Asking(), limit=1)
    stored = read_tree(forest, 0)
    assert stored is not None
    assert stored.question == "Say it."
    assert stored.prompt != stored.question


@pytest.mark.parametrize(
    ("number", "message"),
    [(2, "item 1: get_question returned an empty question"), (3, "must return a str, not int")],
)
def test_a_question_that_is_none_is_refused(number: int, message: str):
    class Later(Asking):
        def get_dataset_iterator(self, dataset_split: str) -> Iterator[int]:
            yield from [0, number - 1]

    with pytest.raises(ConfigError, match=message):
        seed(Later())
    assert not Forest.objects.exists()


@pytest.mark.parametrize(
    ("prompt", "question"),
    [
        (" 2 + 3?\n", "2 + 3?"),
        (
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "1 + 1?"},
                {"role": "assistant", "content": "2"},
                {"role": "user", "content": "2 + 3?\n"},
            ],
            "2 + 3?",
        ),
        ([{"role": "system", "content": "2 + 3?"}], "2 + 3?"),
    ],
)
def test_a_config_that_does_not_say_has_the_last_message_of_a_user_or_the_whole_text(
    prompt: Any, question: str
):
    class Plain(Numbers):
        def get_root_prompt(self, item: int) -> Any:
            return prompt

    assert item_question(Plain(), 0) == question
    assert question_of_document({"prompt": prompt}) == question
    assert question_of_document({"prompt": prompt, "question": "own"}) == "own"


def test_a_forest_seeded_with_an_earlier_default_is_continued_and_keeps_it():
    seed(limit=2)
    forest = Forest.objects.get()
    forest.worker_config |= {"max_nodes": 500}
    forest.save()

    assert seed(limit=4).num_trees == 4
    assert Forest.objects.get().worker_config["max_nodes"] == 500


def test_a_limit_takes_the_first_items_and_a_larger_one_adds_to_them():
    assert seed(limit=3).num_trees == 3
    assert seed(limit=7).num_trees == 7
    assert seed(limit=2).num_trees == 7
    assert indexes() == list(range(7))


def test_the_config_is_frozen_into_the_forest():
    forest = seed()

    assert forest.config_source == load_config("demo_arithmetic").source
    assert RolloutWorkerConfig.from_dict(forest.worker_config) == Numbers.rollout_worker_config


def test_an_interrupted_seeding_goes_on_without_a_double():
    counter = itertools.count()

    def interrupt(_: int) -> None:
        if next(counter) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seed(report=interrupt)
    assert not Forest.objects.get().is_seeded

    assert seed().is_seeded
    assert indexes() == list(range(10))


def test_what_an_import_has_begun_is_not_seeded_on():
    seed(limit=2)
    Forest.objects.update(is_seeded=False, importer="import_forest")

    with pytest.raises(ConfigError, match="partly imported: run the same import_forest command"):
        seed()
    assert indexes() == [0, 1]


def test_trees_written_before_the_count_was_are_not_doubled():
    seed(limit=6)
    Forest.objects.update(num_trees=4)

    assert seed().num_trees == 10
    assert indexes() == list(range(10))


def test_a_changed_source_is_refused_with_both_hashes():
    seed()
    changed = replace(loaded(), sha256="f" * 64, file_sha256="e" * 64)

    with pytest.raises(ConfigError, match=r"the source had SHA-256 .* and has ffffffffffff"):
        seed_forest(changed, "test", "a")


def test_a_changed_module_beside_the_config_is_refused_by_its_name(tmp_path: Path):
    source = Path(load_config("demo_arithmetic").path).read_text()
    (tmp_path / "mine.py").write_text(f"import mine_helper\n{source}")
    (tmp_path / "mine_helper.py").write_text("LABEL = 1\n")
    forest = seed_forest(load_config("mine", [tmp_path]), "train", "a", limit=2)
    assert "LABEL = 1" in forest.config_source
    load_frozen(forest, tmp_path)

    (tmp_path / "mine_helper.py").write_text("LABEL = 2\n")

    with pytest.raises(ConfigError, match=r"mine_helper\.py changed\. Use another"):
        seed_forest(load_config("mine", [tmp_path]), "train", "a", limit=2)
    with pytest.raises(ConfigError, match=r"in mine_helper\.py\): put it back"):
        load_frozen(forest, tmp_path)


def test_a_forest_that_an_earlier_version_seeded_goes_by_the_file_alone(tmp_path: Path):
    source = Path(load_config("demo_arithmetic").path).read_text()
    (tmp_path / "mine.py").write_text(f"import mine_helper\n{source}")
    (tmp_path / "mine_helper.py").write_text("LABEL = 1\n")
    forest = seed_forest(load_config("mine", [tmp_path]), "train", "a", limit=2)
    earlier = hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()
    Forest.objects.update(config_sha256=earlier)

    assert seed_forest(load_config("mine", [tmp_path]), "train", "a", limit=3).num_trees == 3
    load_frozen(Forest.objects.get(pk=forest.pk), tmp_path)


def load_frozen(forest: Forest, directory: Path) -> None:
    with override_settings(CONFIG_PATH=[directory]):
        load_frozen_config(forest)


def test_changed_settings_are_refused_by_name():
    seed()
    changed = Numbers()
    changed.rollout_worker_config = RolloutWorkerConfig(temperature=0.1)

    with pytest.raises(ConfigError, match=r"temperature was 0\.8 and is 0\.1"):
        seed(changed)


def test_a_forest_that_is_older_than_a_setting_can_be_continued():
    forest = seed(limit=3)
    del forest.worker_config["max_attempts"]
    forest.save()

    assert seed().num_trees == 10


def test_other_data_under_the_same_config_is_refused():
    class Shifted(Numbers):
        def get_root_prompt(self, item: int) -> str:
            return "Something else."

    seed(limit=3)

    with pytest.raises(ConfigError, match="item 0 differs from its tree"):
        seed(Shifted())


class Changed(Numbers):
    """The same items except one."""

    def __init__(self, index: int, *, in_label: bool = False, size: int = 10) -> None:
        super().__init__(size)
        self.index = index
        self.in_label = in_label

    def get_root_prompt(self, item: int) -> str:
        is_changed = item == self.index and not self.in_label
        return "Something else." if is_changed else super().get_root_prompt(item)

    def get_label(self, item: int) -> Any:
        return "99" if item == self.index and self.in_label else super().get_label(item)


def trees() -> list[Any]:
    return list(Tree.objects.order_by("index").values("index", "prompt", "label"))


@pytest.mark.parametrize("in_label", [False, True])
@pytest.mark.parametrize("index", [0, 3, 6])
def test_a_dataset_that_changed_under_a_forest_is_refused_and_nothing_is_written(
    index: int, in_label: bool
):
    seed(limit=7)
    before = trees(), Forest.objects.values().get()

    with pytest.raises(ConfigError, match=f"other data: item {index} differs from its tree") as it:
        seed(Changed(index, in_label=in_label))

    assert "restore the data" in str(it.value)
    assert "\n" not in str(it.value)
    assert (trees(), Forest.objects.values().get()) == before


def test_in_a_large_forest_the_last_item_and_some_between_are_compared(monkeypatch):
    monkeypatch.setattr(seeding, "ITEMS_COMPARED", 4)
    seed(Numbers(99), limit=50)
    compared = [
        index for index in range(50) if not can_be_continued(Changed(index, size=99), limit=60)
    ]

    assert compared == [0, 13, 26, 39, 49]


def can_be_continued(config: RolloutConfig, limit: int) -> bool:
    try:
        seed(config, limit=limit)
    except ConfigError:
        return False
    Tree.objects.filter(index__gte=50).delete()
    Forest.objects.update(num_trees=50)
    return True


def test_trees_that_were_written_and_not_counted_are_compared_too():
    seed(limit=6)
    Forest.objects.update(num_trees=4, is_seeded=False)

    with pytest.raises(ConfigError, match="item 5 differs from its tree"):
        seed(Changed(5))
    with pytest.raises(ConfigError, match="item 4 differs from its tree"):
        seed(Changed(4), limit=5)
    assert seed(Changed(7)).num_trees == 10


def test_a_dataset_that_became_shorter_is_refused():
    seed(limit=7)

    with pytest.raises(ConfigError, match="the split has 5 items, the forest 7 trees"):
        seed(Numbers(5))
    with pytest.raises(ConfigError, match="the split has 5 items, the forest 7 trees"):
        seed(Numbers(5), limit=6)
    assert seed(Numbers(5), limit=5).num_trees == 7


def test_two_splits_do_not_share_a_forest():
    """Split `test` with suffix `small-x`, and `test-small` with `x`, give the same name."""
    seed_forest(loaded(), "test", "small-x", limit=2)

    with pytest.raises(ConfigError, match="holds the dataset split 'test', not 'test-small'"):
        seed_forest(loaded(), "test-small", "x")
    assert indexes() == [0, 1]


@pytest.mark.parametrize(
    ("label", "complaint"),
    [
        (float("nan"), "get_label must return a str, not float"),
        (None, "get_label must return a str, not NoneType"),
        (True, "get_label must return a str, not bool"),
        (5, "get_label must return a str, not int"),
        (5.0, "get_label must return a str, not float"),
        (["5"], "get_label must return a str, not list"),
        (" \n", "get_label returned an empty label"),
        ("\ud83d", "what get_label returned holds a lone surrogate"),
    ],
)
def test_a_label_that_is_no_text_is_one_line_for_seeding_and_verification(
    label: Any, complaint: str
):
    class Labels(Numbers):
        def get_label(self, item: int) -> Any:
            return label

    with pytest.raises(ConfigError, match=f"item 0: {complaint}") as raised:
        seed(Labels())
    assert "\n" not in str(raised.value)
    assert Forest.objects.count() == 0
    with pytest.raises(ConfigError, match=complaint):
        seeding.check_item(Labels(), 0)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({"content": "\udc00"}, "what get_root_prompt returned holds a lone surrogate"),
        ({"content": "Q", "n\0": 1}, "what get_root_prompt returned has a key"),
        ({"content": "Q", "seed": 2**70}, "what get_root_prompt returned has a whole number"),
        (
            {"content": "Q", "day": object()},
            "get_root_prompt returned holds a value of type obj",
        ),
    ],
)
def test_a_prompt_that_cannot_be_stored_leaves_no_forest(message: Any, complaint: str):
    class Chat(Numbers):
        rollout_worker_config = RolloutWorkerConfig(api="chat")

        def get_root_prompt(self, item: int) -> Any:
            return [{"role": "user", **message}]

    with pytest.raises(ConfigError, match=complaint):
        seed(Chat())
    assert Forest.objects.count() == 0


@pytest.mark.parametrize("bad", [0, 7])
def test_a_bad_item_is_named_and_nothing_stays(bad: int):
    with pytest.raises(ConfigError, match=f"item {bad}: get_label must return a str, not NoneType"):
        seed(Numbers(bad=bad))

    assert (Forest.objects.count(), Tree.objects.count()) == (0, 0)


def test_a_bad_item_behind_a_seeded_forest_leaves_the_forest():
    seed(Numbers(), limit=4)

    with pytest.raises(ConfigError, match="item 7"):
        seed(Numbers(bad=7))

    assert Forest.objects.get().num_trees == 4


def test_an_empty_split_is_refused_before_anything_is_written():
    with pytest.raises(ConfigError, match="split 'test' has no items"):
        seed(Numbers(size=0))

    assert Forest.objects.count() == 0


@pytest.mark.parametrize("suffix", ["", "Ä", "a b", "../x", "A"])
def test_a_suffix_that_cannot_stand_in_an_address_is_refused(suffix: str):
    with pytest.raises(ConfigError, match="cannot be part of an address"):
        seed_forest(loaded(), "test", suffix)


def test_an_iterator_that_fails_is_told_in_one_line():
    class Broken(Numbers):
        def get_dataset_iterator(self, dataset_split: str) -> Iterator[int]:
            raise OSError("disk\ngone")

    with pytest.raises(
        ConfigError, match=r"get_dataset_iterator\('test'\) failed: OSError: disk gone"
    ):
        seed(Broken())


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        ("  ", "returned an empty prompt"),
        (7, "must return a str or a list of messages, not int"),
        ([], "must return a str or a list"),
        ([{"role": "user", "content": "Q"}], 'api is "completions"'),
    ],
)
def test_a_prompt_that_cannot_be_sent_is_refused(prompt: Any, complaint: str):
    class Prompts(Numbers):
        def get_root_prompt(self, item: int) -> Any:
            return prompt

    with pytest.raises(ConfigError, match=complaint):
        seed(Prompts())


def test_chat_messages_are_kept_as_they_are():
    class Chat(Numbers):
        rollout_worker_config = RolloutWorkerConfig(api="chat")

        def get_root_prompt(self, item: int) -> Any:
            return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q"}]

    seed(Chat(), limit=1)

    assert Tree.objects.get().prompt[1] == {"role": "user", "content": "Q"}


def test_a_smaller_limit_does_not_finish_an_interrupted_seeding():
    seed(limit=6)
    Forest.objects.update(is_seeded=False)

    assert not seed(limit=2).is_seeded
    assert seed(limit=6).is_seeded


def test_settings_that_cannot_grow_are_refused_before_anything_is_written():
    config = Numbers()
    config.rollout_worker_config = RolloutWorkerConfig(max_depth=0, extra_body=5)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match=r"extra_body cannot be used: .*max_depth is 0") as caught:
        seed(config)

    assert "\n" not in str(caught.value)
    assert Forest.objects.count() == 0


def test_trees_left_over_under_a_name_are_not_taken_for_new_ones():
    seed(limit=3)
    Forest.objects.all().delete()
    Tree.objects.update(label="stale")

    seed(limit=3)

    assert "stale" not in Tree.objects.values_list("label", flat=True)


HALF, HUGE = "\ud83d", "x" * 17_000_000


@pytest.mark.parametrize("text", [HALF, HUGE])
@pytest.mark.parametrize(
    "method", ["get_root_prompt", "get_label", "serialize_dataset_item", "get_question"]
)
def test_what_no_document_can_hold_is_refused_with_item_and_method(
    monkeypatch, method: str, text: str
):
    """Earlier items are already written when the bad one comes."""
    monkeypatch.setattr(Numbers, method, lambda self, item: text if item == 5 else f"{item}")

    with pytest.raises(ConfigError, match=f"^item 5: what {method} returned") as raised:
        seed(Numbers())

    assert len(str(raised.value)) < 200
    assert Forest.objects.count() == 0
    assert Tree.objects.count() == 0


def test_texts_that_a_document_cannot_hold_together_are_refused(monkeypatch):
    monkeypatch.setattr(Numbers, "get_root_prompt", lambda self, item: HUGE[:8_000_000])

    with pytest.raises(ConfigError, match=r"item 0: .* returned together has more than 15,000,000"):
        seed(Numbers())

    assert Forest.objects.count() == 0


def test_settings_that_no_document_can_hold_are_refused_by_name():
    class Settings(Numbers):
        rollout_worker_config = RolloutWorkerConfig(model=f"model{HALF}")

    with pytest.raises(ConfigError, match=r"^rollout_worker_config.model .* a lone surrogate"):
        seed(Settings())

    assert Forest.objects.count() == 0
