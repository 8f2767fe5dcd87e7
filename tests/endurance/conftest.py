"""Options of `make stalls`, `make soak` and `make readers`, which are not part of the suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stalls", type=int, default=200, help="stalls and stops of workers")
    parser.addoption("--minutes", type=float, default=30.0, help="how long the soak goes on")
    parser.addoption("--seed", type=int, default=1, help="of what happens at random")
