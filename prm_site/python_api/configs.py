"""Check a config from a program, without a database or a model server."""

import os
from collections.abc import Sequence
from pathlib import Path

from rollouts.config_checks import Verification, verify


def verify_config(
    config_name: str,
    dataset_split: str,
    directories: Sequence[str | os.PathLike[str]] | None = None,
) -> Verification:
    """Check a config as `manage.py verify_config` does without `--with_backend`.

    Args:
        config_name: name of the config's file, without `.py`.
        dataset_split: such as "train"; its first items are checked.
        directories: where to look for the file before the built-in configs. None means the
            directories in the environment variable `PRM_CONFIG_PATH`, separated by colons.

    Returns:
        All `checks`, each of which prints as one line; `failures`, how many of them failed; and
        `items`, the first items as trees would hold them. A config that cannot be used raises no
        error: it has failed checks.
    """
    if directories is None:
        directories = [one for one in os.environ.get("PRM_CONFIG_PATH", "").split(":") if one]
    paths = [Path(one).expanduser() for one in directories]
    verification, _ = verify(config_name, paths, dataset_split)
    return verification
