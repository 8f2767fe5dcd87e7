"""Forests with kept tokens, from the model server to the traces that trainers of tree RL read."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from forests.core.tokens.branches import Chain, chain_of, ids_to
from forests.core.tree import ReasoningTree
from forests.models import Forest
from forests.storage.trees import delete_forest, iter_trees
from prm_site import open_forest
from rollouts.client.failures import BackendRefusedError
from rollouts.workers.jobs import grow_slice
from tests.openai_server import OpenAIServer, Style
from tests.rollouts.forests import assert_whole, seeded

pytestmark = pytest.mark.django_db


def text_of(ids: tuple[int, ...]) -> str:
    return "".join(chr(one) if one else "" for one in ids)


def grown(server: OpenAIServer, suffix: str = "a", **settings: Any) -> Forest:
    server.tells_ids = True
    forest = seeded(2, suffix, keep_tokens=True, **settings)
    grow_slice(forest.name, 0, 2)
    assert_whole(forest)
    return Forest.objects.get(pk=forest.pk)


def whole_branches(prompt: str, tree: ReasoningTree) -> int:
    """Check the ids of each solution against its text; return how many are known."""
    number = 0
    for leaf in tree.leaves():
        if chain_of(tree, leaf.path) is Chain.WHOLE:
            ids = ids_to(tree, leaf.path)
            assert ids is not None
            assert text_of(ids) == prompt + tree.steps_text(leaf.path)
            number += 1
    return number


@pytest.mark.parametrize("strategy", ["branching", "sampled", "math_shepherd", "omega_prm"])
def test_ids_spell_the_prompt_and_the_steps(model_server, strategy):
    forest = grown(model_server, strategy=strategy, num_rollouts=4, rollouts_per_state=2)
    for stored in iter_trees(forest):
        assert whole_branches(stored.prompt, stored.tree) == len(stored.tree.leaves())


@pytest.mark.parametrize("style", ["vllm", "plain"])
def test_a_server_that_tells_no_ids_is_refused_before_anything_grows(model_server, style: Style):
    model_server.style = style
    forest = seeded(1, keep_tokens=True)
    with pytest.raises(BackendRefusedError, match="tells no token ids: use vLLM"):
        grow_slice(forest.name, 0, 1)
    assert not model_server.requests


def test_ids_of_another_prompt_break_the_chain(model_server):
    real = model_server._add_ids
    model_server._add_ids = lambda choice, prompt: real(choice, prompt.replace("Try", "Tr y"))
    forest = grown(model_server)
    for stored in iter_trees(forest):
        deep = [leaf for leaf in stored.tree.leaves() if leaf.depth > 1]
        assert deep
        assert {chain_of(stored.tree, leaf.path) for leaf in deep} == {Chain.BROKEN}


def test_without_keep_tokens_nodes_and_requests_are_as_before(model_server):
    forest = seeded(1)
    grow_slice(forest.name, 0, 1)
    assert not any("return_token_ids" in body for body in model_server.requests)
    [stored] = iter_trees(forest)
    assert all(node.kept is None for node in stored.tree)


def exported(forest: Forest, output: Path, *arguments: str) -> list[dict[str, Any]]:
    call_command(
        "export_preferences", "--forest_name", forest.name, "--format", "verifiers",
        "--container", "jsonl,parquet", "--output", str(output), *arguments,
    )  # fmt: skip
    lines = (output / "jsonl" / "train.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_trace_has_the_ids_masks_logprobs_and_advantages_of_each_step(
    model_server, tmp_path, capsys
):
    forest = grown(model_server)
    rows = exported(forest, tmp_path / "out")
    assert len(rows) == 2
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert 0 < manifest["tree_token_ratio"] < 1
    assert f"tree_token_ratio: {manifest['tree_token_ratio']:.3f}" in capsys.readouterr().err
    for row, tree in zip(rows, open_forest(forest.name).trees(), strict=True):
        nodes = row["nodes"]
        values = {path: value.value for path, value in tree.values.items()}
        assert len(nodes) == len(tree.tree)
        assert text_of(tuple(nodes[0]["token_ids"])) == tree.prompt
        for said in row["info"]["steps"]:
            node = nodes[said["node"]]
            path = tuple(map(int, said["path"].split(".")[1:]))
            assert node["message"]["content"] == tree.tree.nodes[path].text
            assert len(node["mask"]) == len(node["token_ids"])
            assert len(node["logprobs"]) == sum(node["mask"]) == len(node["advantages"])
            value, before = values[path], values[path[:-1]]
            assert value is not None
            assert before is not None
            gain = value - before
            assert node["advantages"] == pytest.approx([gain] * sum(node["mask"]))


def test_tokens_survive_an_archive(model_server, tmp_path):
    forest = grown(model_server)
    before = [stored.tree for stored in iter_trees(forest)]
    call_command("export_forest", "--forest_name", forest.name, "--output", str(tmp_path / "out"))
    assert [tree.tree for tree in open_forest(tmp_path / "out").trees()] == before
    delete_forest(forest)
    call_command("import_forest", str(tmp_path / "out"))
    assert [stored.tree for stored in iter_trees(Forest.objects.get())] == before
    assert before[0].root.kept is not None


def test_a_forest_without_tokens_is_refused_in_one_line(model_server, tmp_path):
    forest = seeded(1)
    grow_slice(forest.name, 0, 1)
    with pytest.raises(CommandError, match="set keep_tokens=True in the config, and seed"):
        exported(forest, tmp_path / "out")
    assert not (tmp_path / "out").exists()
