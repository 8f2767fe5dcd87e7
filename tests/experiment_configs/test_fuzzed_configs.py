"""Any config file is loaded, or refused in one line that names it."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from experiment_configs.interfaces import ConfigError
from experiment_configs.loading import config_names, load_config

IMPORT = "from experiment_configs.interfaces import RolloutConfig, RolloutWorkerConfig\n"
LINES = st.sampled_from(
    [
        IMPORT, "class Config:\n", "class Config(RolloutConfig):\n", "    pass\n",
        "    source = 1\n", "    rollout_worker_config = 3\n", "    rollout_worker_config = None\n",
        "    rollout_worker_config = RolloutWorkerConfig(branching=())\n",
        "    rollout_worker_config = RolloutWorkerConfig(unknown=1)\n",
        "    def __init__(self): raise ValueError('two\\nlines')\n",
        "    def __init__(self, needed): pass\n",
        "    def get_dataset_iterator(self, dataset_split): yield 1\n",
        "    def get_root_prompt(self, item): return ''\n",
        "    def get_label(self, item): return ''\n",
        "Config = 3\n", "Config = RolloutConfig\n", "Config = type\n", "raise SystemExit(3)\n",
        "raise ValueError\n", "import no_such_module\n", "1 / 0\n", "\x00\n", "\t\n", "(" * 300,
        "class Odd(Exception):\n    def __str__(self): raise self\n", "raise Odd\n",
        "# -*- coding: odd\n",
    ]
)  # fmt: skip
SOURCES = st.binary(max_size=200) | st.lists(LINES, max_size=9).map(
    lambda lines: "".join(lines).encode()
)


def refusal_of(name: str, directory: Path) -> str | None:
    """Return why a config cannot be loaded, or None if it can."""
    try:
        load_config(name, [directory])
    except ConfigError as error:
        return str(error)
    return None


@given(SOURCES)
def test_any_file_is_loaded_or_refused_in_one_line_that_names_it(source: bytes):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "fuzzed.py"
        path.write_bytes(source)
        refusal = refusal_of("fuzzed", Path(directory))
    assert refusal is None or str(path) in refusal
    assert refusal is None or len(refusal.splitlines()) == 1


KNOWN = config_names()


@given(st.text(max_size=12) | st.sampled_from(KNOWN))
def test_any_name_is_known_or_refused_in_one_line(name: str):
    with tempfile.TemporaryDirectory() as directory:
        refusal = refusal_of(name, Path(directory))
    assert (refusal is None) == (name in KNOWN)
    assert refusal is None or len(refusal.splitlines()) == 1
