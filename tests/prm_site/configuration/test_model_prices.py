"""Prices of models from the settings."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from forests.costs.budgets import Prices
from prm_site.configuration.model_prices import prices_of

WRITTEN = '{"gpt-4o-mini": {"in": 0.15, "out": 0.6}, "free/model": {"in": 0, "out": 0}}'
READ = {"gpt-4o-mini": Prices(0.15, 0.6), "free/model": Prices(0.0, 0.0)}


def test_prices_are_read_from_a_text_or_a_file(tmp_path: Path):
    (tmp_path / "prices.json").write_text(WRITTEN)
    (tmp_path / "prices.toml").write_text(
        '["gpt-4o-mini"]\nin = 0.15\nout = 0.6\n["free/model"]\nin = 0\nout = 0\n'
    )

    assert prices_of("") == {}
    assert prices_of(WRITTEN) == READ
    assert prices_of(str(tmp_path / "prices.json")) == READ
    assert prices_of(str(tmp_path / "prices.toml")) == READ


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"a": 1}', '{"a": {"in": 1}}', '{"a": {"in": 1, "out": -1}}',
     '{"a": {"in": true, "out": 1}}', '{"a": {"in": "1", "out": 1}}', "/nowhere/prices.json",
     '{"a": {"in": NaN, "out": 1}}', '{"a": {"in": 1, "out": 1, "cached": 0}}'],
)  # fmt: skip
def test_anything_else_is_refused_in_one_line(text: str):
    with pytest.raises(ImproperlyConfigured, match="PRM_PRICES") as refusal:
        prices_of(text)
    assert "\n" not in str(refusal.value)
