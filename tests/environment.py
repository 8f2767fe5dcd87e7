"""Pytest plugin: keeps the developer's own settings away from tests.

Loaded with `-p tests.environment`, before any module of ours, some of which read settings when they
are imported. Variables that start with `TEST_` are settings of the tests, and stay.
"""

import os
from collections.abc import Mapping

OURS = (
    "PRM_", "OPENAI_", "SCORER_", "MONGODB_", "REDIS_", "VALKEY_", "VLLM_IMAGE", "VLLM_MODEL",
    "DATABASE_ENGINE", "GSM8K_", "MATH_500_", "LIAR_NEW_",
)  # fmt: skip
OF_LIBRARIES = (
    "DJANGO_", "GRANIAN_", "HF_", "HUGGINGFACE_", "HUGGING_FACE_", "MPL", "PROMETHEUS_", "RQ_",
    # What decides how a terminal is written to.
    "CLICOLOR", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "PYTHON_COLORS", "TTY_",
    # A hook of git names its own repository for all that it starts.
    "GIT_COMMON_DIR", "GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE",
)  # fmt: skip
LOOPBACK = ("127.0.0.1", "localhost")


def for_tests(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the settings of the product and of the libraries it uses.

    A proxy stays, because tests install packages, but it is not asked for servers of this machine.
    """
    left = {
        name: value
        for name, value in environment.items()
        if not name.startswith((*OURS, *OF_LIBRARIES))
    }
    if any(name.lower().endswith("_proxy") for name in left):
        direct = left.get("no_proxy") or left.get("NO_PROXY") or ""
        left["no_proxy"] = left["NO_PROXY"] = ",".join(filter(None, (direct, *LOOPBACK)))
    return left


_left = for_tests(os.environ)
os.environ.clear()
os.environ.update(_left)
