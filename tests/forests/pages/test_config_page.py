"""The page of a forest's config."""

import pytest

from experiment_configs.interfaces import RolloutWorkerConfig
from forests.pages.config_views import _UNUSED, groups_of
from tests.forests.addresses import FOREST, text_of
from tests.forests.factories import make_forest

pytestmark = pytest.mark.django_db

CONFIG = f"{FOREST}config/"
SERVER = "http://10.0.0.7:8000/v1"


def test_a_forest_shows_its_config_as_it_was(reader, forest):
    html = text_of(reader, CONFIG)
    assert "source = &#x27;ducks&#x27;" in html
    assert "0123456789abcdef" * 4 in html
    assert "ffffffffffff</code> on <bdi>main" in html
    assert '<th scope="row">model</th><td><code>&quot;small-model&quot;</code>' in html
    assert "<dt>Dataset</dt><dd><bdi>example/ducks</bdi></dd>" in html


def test_addresses_of_servers_are_shown_to_readers_with_a_login_only(reader, client, settings):
    settings.PUBLIC = True
    make_forest(
        config_source=f"class Config:\n    worker = Worker(base_urls=['{SERVER}'])\n",
        worker_config={"base_urls": [SERVER], "extra_body": {"router": SERVER}, "seed": 7},
        replaced_settings={"base_urls": [f"{SERVER}/old"]},
    )
    html = text_of(reader, CONFIG)
    assert html.count("10.0.0.7") == 4
    assert SERVER in reader.get(f"{CONFIG}?format=json").json()["config_source"]
    reader.logout()
    html = text_of(client, CONFIG)
    assert "class Config" in html
    assert "base_urls" in html
    assert "seeded with" in html
    data = client.get(f"{CONFIG}?format=json").json()
    assert data["settings"]["seed"] == 7
    assert "10.0.0.7" not in html + str(data)


@pytest.mark.parametrize("strategy", [*_UNUSED, "imported", "of-a-package"])
def test_every_setting_is_shown_or_named_as_unused(strategy):
    settings = RolloutWorkerConfig(strategy=strategy).as_dict() | {"of_a_later_version": 1}
    forest = make_forest(worker_config=settings)
    shown = [one.name for _, rows in groups_of(forest) for one in rows]
    assert sorted([*shown, *_UNUSED.get(strategy, ())]) == sorted(settings)
    assert len(shown) == len(set(shown))


def test_a_forest_of_an_older_version_lacks_settings(reader):
    make_forest(worker_config={"strategy": "branching", "branching": [2], "seed": 1})
    html = text_of(reader, CONFIG)
    assert "[2]" in html
    assert "temperature" not in html
