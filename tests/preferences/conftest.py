"""A small forest in the database, as seeding and rollouts would have left it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from experiment_configs.interfaces import Api, RolloutWorkerConfig
from forests.core.naming import tree_id
from forests.core.tree import ReasoningTree
from forests.models import Forest, Node, Tree, TreeStatus
from forests.storage.trees import insert_new, node_document
from preferences.models import PreferenceSet
from tests.preferences.reviewing import made
from tests.preferences.trees import addition_tree

MakeForest = Callable[..., Forest]


def _make_forest(
    name: str = "sums-test-first",
    trees: Sequence[ReasoningTree] | None = None,
    prompts: Sequence[Any] | None = None,
    incomplete: Sequence[int] = (),
    api: Api = "completions",
) -> Forest:
    trees = [addition_tree() for _ in range(6)] if trees is None else trees
    now = datetime.now(UTC)
    Forest.objects.create(
        name=name,
        config_name="sums",
        config_source="class Config: ...",
        config_sha256="ab" * 32,
        dataset_split="test",
        dataset_source="example/sums",
        dataset_licence="mit",
        worker_config=RolloutWorkerConfig(model="asked-model", api=api).as_dict(),
        is_seeded=True,
        num_trees=len(trees),
        num_complete=len(trees) - len(incomplete),
        created_at=now,
    )
    Tree.objects.bulk_create(
        Tree(
            id=tree_id(name, index),
            forest_id=name,
            index=index,
            item=f"item {index}",
            label="5",
            prompt=prompts[index] if prompts else f"Question {index}: 2 + 3?\n",
            status=TreeStatus.GROWING if index in incomplete else TreeStatus.COMPLETE,
            created_at=now,
        )
        for index in range(len(trees))
    )
    insert_new(
        Node,
        [
            node_document(name, tree_id(name, index), node, now)
            for index, tree in enumerate(trees)
            for node in tree
            if node.path
        ],
    )
    return Forest.objects.get(pk=name)


@pytest.fixture
def make_forest(db) -> MakeForest:
    return _make_forest


@pytest.fixture
def forest(make_forest: MakeForest) -> Forest:
    return make_forest()


@pytest.fixture
def preference_set(forest: Forest) -> PreferenceSet:
    return made(forest)


@pytest.fixture
def reviewer(client: Client) -> Client:
    user = User.objects.create_user("rita", password="secret-rita")
    user.user_permissions.add(Permission.objects.get(codename="review_preference"))
    client.force_login(user)
    return client


@pytest.fixture
def reader() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("ron", password="secret-ron"))
    return client
