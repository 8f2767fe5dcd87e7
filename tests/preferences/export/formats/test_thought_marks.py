"""Thoughts in datasets: whole texts for trainers of models, answers alone for labels of steps."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from forests.core.tree import Grade, ReasoningTree, TreeNode, parse_path
from forests.core.values import estimate_values
from preferences.core.pairing import PairingOptions, select_pairs
from preferences.export.formats.annotation import Annotation
from preferences.export.formats.base import Item, RowOptions
from preferences.export.formats.thought_marks import with_thoughts
from preferences.export.writing import FORMATS
from preferences.pages.thought_pieces import split_at_thoughts
from preferences.sets.creation import SetParameters, create_preferences
from tests.preferences.export.test_export_preferences import refused, run

R, W = Grade.CORRECT, Grade.INCORRECT
CHAT = [{"role": "user", "content": "2 + 3?"}]


def grown(steps: dict[str, tuple]) -> ReasoningTree:
    """Return the tree of {path: (text, grade or "thought" or "cut thought" or None)}."""
    nodes = [TreeNode(())]
    for path, (text, kind) in steps.items():
        is_end, is_thought = isinstance(kind, Grade), kind in ("thought", "cut thought")
        nodes.append(
            TreeNode(
                parse_path(path),
                text=text,
                is_thought=is_thought,
                truncated=kind == "cut thought",
                terminal=is_end,
                grade=kind if is_end else W if kind == "cut thought" else None,
                answer=text[-1:] if is_end else None,
                drawn={0: 1},
            )
        )
    return ReasoningTree.from_nodes(nodes)


def split_off(**changes) -> ReasoningTree:
    """Return a tree as grown from a server with a reasoning parser: its thoughts have no marks."""
    return grown(
        {
            "0.0": ("It is 5.", "thought"),
            "0.1": ("Is it 6?\n", "thought"),
            "0.2": ("No end", "cut thought"),
            "0.0.0": ("2 + 3 = 5.\n", None),
            "0.0.1": ("So 6", W),
            "0.1.0": ("\n\nSo 6", W),
            "0.0.0.0": ("So 5", R),  # noqa: S104
            "0.0.0.1": ("So 7", W),
        }
        | changes
    )


def item_of(tree: ReasoningTree, prompt=CHAT, **fields) -> Item:
    values = estimate_values(tree, "leaf_mean")
    return Item(prompt=prompt, label="5", dataset="sums", tree=tree, values=values, **fields)


def pairs_of(tree: ReasoningTree, prompt=CHAT, level: str = "step") -> Item:
    options = PairingOptions(pairing="all_pairs", level=level)
    found = select_pairs(tree, estimate_values(tree, "leaf_mean"), options).pairs
    return Item(prompt=prompt, label="5", dataset="sums", tree=tree, pairs=found)


def written(item: Item, thoughts="keep") -> list[tuple[str, str, str]]:
    return [pair.texts for pair in with_thoughts(item, thoughts, Counter()).pairs]


def texts_of(tree: ReasoningTree) -> dict[str, str]:
    return {"-".join(map(str, leaf.path)): tree.steps_text(leaf.path) for leaf in tree.leaves()}


def rows(name: str, item: Item, thoughts=None) -> tuple[list[dict], Counter]:
    left_out: Counter[str] = Counter()
    chosen = FORMATS[name]
    given = with_thoughts(item, thoughts or chosen.thoughts, left_out)
    options = RowOptions(label_threshold=chosen.default_threshold or 0.0)
    return list(chosen.rows(given, options, left_out)), left_out


# Kept


def test_a_thought_without_marks_gets_those_that_trainers_know():
    kept = with_thoughts(item_of(split_off()), "keep", Counter())

    assert texts_of(kept.tree) == {
        "0-0-0": "<think>\nIt is 5.\n</think>\n\n2 + 3 = 5.\nSo 5",
        "0-0-1": "<think>\nIt is 5.\n</think>\n\n2 + 3 = 5.\nSo 7",
        "0-1": "<think>\nIt is 5.\n</think>\n\nSo 6",
        "1-0": "<think>\nIs it 6?\n</think>\n\nSo 6",
        "2": "<think>\nNo end",  # cut: nobody knows where it would have ended
    }
    assert kept.num_thoughts == 3


def test_line_ends_that_are_there_are_not_doubled():
    tree = grown({"0.0": ("\nHm.\n", "thought"), "0.0.0": ("\n\nSo 5", R), "0.0.1": ("So 6", W)})

    assert set(texts_of(with_thoughts(item_of(tree), "keep", Counter()).tree).values()) == {
        "<think>\nHm.\n</think>\n\nSo 5",
        "<think>\nHm.\n</think>\n\nSo 6",
    }


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("<think>\n", "\n</think>\n\n"), ("[THINK]", "[/THINK]"), (" <Think> ", "</Think>")],
)
def test_marks_of_the_model_s_own_stay_as_they_are(opening, closing):
    tree = grown(
        {
            "0.0": (f"{opening}Hm.\n\n", "thought"),
            "0.0.0": (f"It is 5.{closing}", "thought"),
            "0.0.0.0": ("So 5", R),  # noqa: S104
            "0.0.1": ("No end", "cut thought"),
        }
    )

    assert texts_of(with_thoughts(item_of(tree), "keep", Counter()).tree) == texts_of(tree)


def test_a_thought_that_the_prompt_opens_is_not_opened_again():
    tree = grown({"0.0": ("Hm.\n</think>\n\n", "thought"), "0.0.0": ("So 5", R)})

    over_completions = with_thoughts(item_of(tree, "2?<me><think>\n"), "keep", Counter())
    assert over_completions.tree == tree
    assert over_completions.prompt == "2?<me><think>\n"
    # Over chat, the server's template opens the thought, and the stored prompt does not show it.
    over_chat = with_thoughts(item_of(tree), "keep", Counter())
    assert texts_of(over_chat.tree) == {"0-0": "<think>\nHm.\n</think>\n\nSo 5"}


def test_a_thought_that_some_samples_go_on_with_is_closed_by_the_answers_of_the_others():
    tree = grown(
        {
            "0.0": ("Hm.\n\n", "thought"),
            "0.0.0": ("So 5", R),
            "0.0.1": ("Wait.", "thought"),
            "0.0.1.0": ("So 6", W),
        }
    )
    item = replace(pairs_of(tree, level="trajectory"), values=estimate_values(tree, "leaf_mean"))

    assert texts_of(with_thoughts(replace(item, pairs=()), "keep", Counter()).tree) == {
        "0-0": "<think>\nHm.\n\n</think>\n\nSo 5",
        "0-1-0": "<think>\nHm.\n\nWait.\n</think>\n\nSo 6",
    }
    assert written(item) == [
        ("", "<think>\nHm.\n\n</think>\n\nSo 5", "<think>\nHm.\n\nWait.\n</think>\n\nSo 6")
    ]


def test_a_prefix_of_a_pair_holds_the_thought_with_its_marks():
    pairs = written(pairs_of(split_off()))

    assert ("<think>\nIt is 5.\n</think>\n\n2 + 3 = 5.\n", "So 5", "So 7") in pairs
    assert ("<think>\nIt is 5.\n</think>\n\n", "2 + 3 = 5.\n", "So 6") in pairs
    assert ("", "<think>\nIt is 5.\n</think>\n\n", "<think>\nIs it 6?\n</think>") in pairs


@pytest.mark.parametrize("level", ["step", "step_to_end", "trajectory"])
def test_marks_are_all_that_is_added(level):
    item = pairs_of(split_off(), level=level)
    kept = with_thoughts(item, "keep", Counter())

    def bare(text: str) -> str:
        return text.replace("<think>", "").replace("</think>", "").replace("\n", "")

    assert item.pairs
    for before, after in zip(item.pairs, kept.pairs, strict=True):
        assert [bare(text) for text in after.texts] == [bare(text) for text in before.texts]
        for side in (after.chosen, after.rejected):
            whole = after.prefix_text + side.text
            assert whole.count("<think>") == whole.startswith("<think>") == 1
            assert whole.count("</think>") <= 1


def test_a_tree_without_thoughts_is_what_it_was():
    tree = grown({"0.0": ("<think>2 + 3 = 5.\n", None), "0.0.0": ("So 5", R)})
    for thoughts in ("keep", "drop"):
        item = item_of(tree, "2 + 3?<think>")
        assert with_thoughts(item, thoughts, Counter()) is item


# Left out


def test_steps_after_a_thought_follow_the_step_before_it():
    left_out: Counter[str] = Counter()
    item = with_thoughts(item_of(split_off()), "drop", left_out)

    assert texts_of(item.tree) == {
        "0-0": "2 + 3 = 5.\nSo 5",
        "0-1": "2 + 3 = 5.\nSo 7",
        "1": "So 6",
        "2": "So 6",
    }
    assert item.values[(0,)].value == 0.5
    assert item.values.keys() == item.tree.nodes.keys()
    assert left_out == {"thoughts": 3, "solutions_cut_in_a_thought": 1}
    assert item.num_thoughts == 0


def test_an_answer_that_only_leads_to_a_cut_thought_is_no_solution():
    tree = grown(
        {
            "0.0": ("First.\n", None),
            "0.0.0": ("Hm", "cut thought"),
            "0.1": ("So 5", R),
        }
    )

    found, left_out = rows("trl_stepwise", item_of(tree))
    assert [row["completions"] for row in found] == [["So 5"]]
    assert left_out["solutions_cut_in_a_thought"] == 1


def test_a_prompt_that_opens_a_thought_does_not_where_thoughts_are_left_out():
    tree = grown({"0.0": ("Hm.\n</think>\n\n", "thought"), "0.0.0": ("So 5", R)})

    [row], _ = rows("trl_stepwise", item_of(tree, "2?<me><think>\n"))
    assert (row["prompt"], row["completions"]) == ("2?<me>", ["So 5"])
    # A prompt that only mentions the marks opens no thought.
    told = "Think in <think> and </think>. 2?"
    assert with_thoughts(item_of(tree, told), "drop", Counter()).prompt == told


def test_pairs_without_thoughts_are_those_that_differ_in_the_answer():
    left_out: Counter[str] = Counter()
    item = with_thoughts(pairs_of(split_off(), level="trajectory"), "drop", left_out)

    assert [pair.texts for pair in item.pairs] == [
        ("", "2 + 3 = 5.\nSo 5", "2 + 3 = 5.\nSo 7"),
        ("", "2 + 3 = 5.\nSo 5", "So 6"),
    ]
    assert left_out["pairs_within_a_thought"] == 1  # the pair with the cut thought
    assert left_out["pairs_repeated_without_thoughts"] == 1
    tree = split_off(**{"0.1.0": ("2 + 3 = 5.\nSo 5", W)})
    left_out.clear()
    with_thoughts(pairs_of(tree, level="trajectory"), "drop", left_out)
    assert left_out["pairs_that_differ_in_thoughts_alone"] == 1


def test_what_a_strategy_annotated_stays_so():
    tree = split_off()
    annotation = Annotation("solutions", {(0,), (0, 0)})
    item = item_of(tree, annotation=annotation)
    found, left_out = rows("trl_stepwise", item)
    assert [row["completions"] for row in found] == [
        ["So 6"], ["2 + 3 = 5.\n", "So 5"], ["2 + 3 = 5.\n", "So 7"],
    ]  # fmt: skip
    assert left_out["solutions_repeated"] == 1
    # A rollout drawn after the thought is evidence for the thought, and not a solution.
    tree.nodes[(0, 1)].drawn = {1: 1}
    tree.nodes[(1, 0)].drawn = {1: 1}
    found, left_out = rows("trl_stepwise", item)
    assert [row["completions"] for row in found] == [
        ["2 + 3 = 5.\n", "So 5"], ["2 + 3 = 5.\n", "So 7"],
    ]  # fmt: skip
    assert left_out["rollouts_that_only_annotate"] == 2
    item = replace(item, annotation=replace(annotation, is_drawn_stepwise=True))
    assert len(rows("trl_stepwise", item)[0]) == 3, "no solution is drawn from the root then"


# Formats


@pytest.mark.parametrize(
    "name",
    [
        "trl_stepwise", "math_shepherd", "processbench", "prm800k", "openrlhf_prm", "rlhflow",
        "critique_sft", "fapo",
    ],
)  # fmt: skip
def test_formats_of_steps_label_the_answer_unless_asked_for_more(name):
    item = item_of(split_off())

    assert "It is 5." not in json.dumps(rows(name, item)[0])
    assert "It is 5." in json.dumps(rows(name, item, "keep")[0])


@pytest.mark.parametrize(
    "name",
    ["trl_conversational", "trl_unpaired", "step_dpo", "ms_swift", "llama_factory", "nemo_rl"],
)
def test_formats_of_pairs_have_whole_texts_unless_asked_for_less(name):
    item = pairs_of(split_off())

    assert json.dumps("<think>\nIt is 5.\n</think>")[1:-1] in json.dumps(rows(name, item)[0])
    found, _ = rows(name, item, "drop")
    assert found
    assert "think" not in json.dumps(found)


def test_steps_of_a_thought_can_be_labelled_too():
    found, _ = rows("trl_stepwise", item_of(split_off()), "keep")
    labels = {tuple(row["completions"]): row["labels"] for row in found}
    thought = "<think>\nIt is 5.\n</think>\n\n"
    assert labels[thought, "2 + 3 = 5.\n", "So 5"] == [True, True, True]
    assert labels["<think>\nNo end",] == [False]


# Through the command


@pytest.fixture
def thinking(make_forest):
    forest = make_forest(trees=[split_off(), split_off()], api="chat", prompts=[CHAT, CHAT])
    create_preferences(forest, "all", SetParameters(PairingOptions()), report=lambda _: None)
    return forest


@pytest.mark.django_db
def test_the_manifest_and_the_card_count_the_thoughts(thinking, tmp_path):
    run("--forest_name", thinking.name, "--format", "trl_conversational",
        "--container", "jsonl", "--output", tmp_path / "kept")  # fmt: skip
    manifest = json.loads((tmp_path / "kept" / "manifest.json").read_text())
    assert (manifest["thoughts"], manifest["parameters"]["thoughts"]) == (4, "keep")
    text = (tmp_path / "kept" / "jsonl" / "train.jsonl").read_text()
    assert json.dumps("<think>\nIt is 5.\n</think>\n\n")[1:-1] in text
    assert "| Thoughts | 4, between" in (tmp_path / "kept" / "README.md").read_text()


@pytest.mark.django_db
def test_pairs_that_a_chat_template_may_take_apart_are_pointed_out(thinking, tmp_path):
    parameters = SetParameters(PairingOptions(pairing="all_pairs"))
    create_preferences(thinking, "more", parameters, report=lambda _: None)
    common = ("--set", f"{thinking.name}/more", "--output", tmp_path / "out", "--overwrite")

    _, said = run(*common, "--format", "trl_conversational")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["pairs_inside_thoughts"] == 2  # in each tree, the pair with the cut thought
    assert "2 pairs end in the middle of a thought, and many chat templates" in said
    _, said = run(*common, "--format", "step_dpo")
    assert "in the middle of a thought" not in said
    _, said = run(*common, "--format", "trl_conversational", "--thoughts", "drop")
    assert "in the middle of a thought" not in said


@pytest.mark.django_db
def test_thoughts_are_left_out_on_request_and_counted(thinking, tmp_path):
    run("--forest_name", thinking.name, "--format", "trl_conversational", "--thoughts", "drop",
        "--container", "jsonl", "--output", tmp_path / "dropped")  # fmt: skip
    manifest = json.loads((tmp_path / "dropped" / "manifest.json").read_text())
    assert (manifest["thoughts"], manifest["parameters"]["thoughts"]) == (0, "drop")
    assert manifest["left_out"]["thoughts"] == 4
    assert "It is 5." not in (tmp_path / "dropped" / "jsonl" / "train.jsonl").read_text()
    assert "| Thoughts | 4, left out |" in (tmp_path / "dropped" / "README.md").read_text()


@pytest.mark.django_db
def test_steps_are_exported_without_thoughts_unless_they_are_asked_for(thinking, tmp_path):
    common = ("--forest_name", thinking.name, "--format", "trl_stepwise", "--container", "jsonl")
    run(*common, "--output", tmp_path / "steps")
    assert "It is 5." not in (tmp_path / "steps" / "jsonl" / "train.jsonl").read_text()
    run(*common, "--thoughts", "keep", "--output", tmp_path / "kept")
    assert "It is 5." in (tmp_path / "kept" / "jsonl" / "train.jsonl").read_text()
    assert "invalid choice" in str(refused(*common, "--thoughts", "x", "--output", tmp_path / "x"))


# On the page of pairs


@pytest.mark.parametrize(
    ("prefix", "text", "thoughts", "pieces"),
    [
        ("", "a b", [], ([], [("a b", False)])),
        ("", "Hm. No. So 5", ["Hm. ", "No. "], ([], [("Hm. No. ", True), ("So 5", False)])),
        ("Hm. ", "So 5", ["Hm. "], ([("Hm. ", True)], [("So 5", False)])),
        ("Hm. ", "No. So 5", ["Hm. ", "No. "],
         ([("Hm. ", True)], [("No. ", True), ("So 5", False)])),
        ("a ", "Hm. b", ["", "Hm. "], ([("a ", False)], [("Hm. ", True), ("b", False)])),
        ("", "Hm.", ["Hm."], ([], [("Hm.", True)])),
        ("", "So 5", ["not in it"], ([], [("So 5", False)])),
    ],
)  # fmt: skip
def test_a_pair_is_taken_apart_at_its_thoughts(prefix, text, thoughts, pieces):
    assert split_at_thoughts(prefix, text, thoughts) == pieces


@pytest.mark.django_db
def test_the_page_of_pairs_folds_thoughts(thinking, reader):
    parameters = SetParameters(PairingOptions(pairing="all_pairs"))
    create_preferences(thinking, "more", parameters, report=lambda _: None)

    html = reader.get(f"/{thinking.name}/preferences/?set=more").content.decode()

    folded = html.split('<details class="thought">')[1:]
    assert folded
    insides = [one.partition("</details>")[0] for one in folded]
    assert any("thought, 8 characters" in one and "It is 5." in one for one in insides)
    shown = html
    for one in insides:
        shown = shown.replace(one, "")
    sides = shown.split('<details class="difference"')
    assert "Difference, thoughts included" in html
    assert all("It is 5." not in one.partition('<div class="sides">')[2] for one in sides[:1])
    assert "So 5" in shown


@pytest.mark.django_db
def test_pairs_without_thoughts_are_shown_as_ever(make_forest, reader):
    forest = make_forest()
    create_preferences(forest, "all", SetParameters(PairingOptions()), report=lambda _: None)

    html = reader.get(f"/{forest.name}/preferences/").content.decode()

    assert 'class="thought"' not in html
    assert '<details class="difference" open>' in html
