"""Datasets and bundles arrive on a hub as they are on the disk."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.forests.factories import add_trees, duck_tree, make_forest
from tests.hub_server import Hub, hub

pytestmark = pytest.mark.django_db

NAME = "ducks-test-first"


@pytest.fixture
def near_hub(monkeypatch):
    add_trees(make_forest(NAME), [duck_tree()])
    with hub() as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_near")
        yield server


def uploaded(server: Hub, kind: str, folder: Path) -> None:
    """Check that a repository has the files of a folder."""
    files = {
        f"{kind}/me/ducks/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert server.files == files
    assert server.tokens == {"Bearer hf_near"}


def test_a_dataset_goes_to_a_private_repository_and_its_card_names_it(near_hub, tmp_path):
    out = StringIO()
    call_command(
        "export_preferences", forest_name=NAME, format="trl_stepwise", output=tmp_path / "steps",
        push_to_hub="me/ducks", stdout=out, stderr=StringIO(),
    )  # fmt: skip
    uploaded(near_hub, "datasets", tmp_path / "steps")
    assert f"url: {near_hub.url}/datasets/me/ducks" in out.getvalue()
    assert near_hub.repositories[0]["visibility"] == "private"
    assert b'load_dataset("me/ducks")' in near_hub.files["datasets/me/ducks/README.md"]


def test_a_bundle_becomes_a_static_space(near_hub, tmp_path):
    out = StringIO()
    call_command(
        "bundle_forest", forest_name=NAME, output=tmp_path / "bundle", push_to_hub="me/ducks",
        stdout=out, stderr=StringIO(),
    )  # fmt: skip
    uploaded(near_hub, "spaces", tmp_path / "bundle")
    assert f"url: {near_hub.url}/spaces/me/ducks" in out.getvalue()
    created = near_hub.repositories[0]
    assert (created["type"], created["sdk"], created["visibility"]) == (
        "space",
        "static",
        "private",
    )
