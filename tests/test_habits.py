"""The commit hooks run the checks of `make lint`."""

import re
from pathlib import Path

import yaml


def test_a_commit_runs_what_the_lint_target_runs():
    config = yaml.safe_load(Path(".pre-commit-config.yaml").read_text())
    hooks = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", Path("Makefile").read_text(), re.MULTILINE)

    assert recipe is not None
    assert hooks == re.findall(r"\$\(BIN\)/(.*)", recipe[1])
