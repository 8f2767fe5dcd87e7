"""Each reason why an export leaves something out has words."""

import re
from pathlib import Path

from preferences.export.formats.left_out import LEFT_OUT, words_of

SOURCES = Path(__file__).parents[4] / "preferences"
OF_PREFERENCE_SETS = ("core/pairing.py", "sets/creation.py")


def test_each_reason_that_an_export_counts_has_words_and_none_is_unused():
    counted: set[str] = set()
    for path in SOURCES.rglob("*.py"):
        if not path.as_posix().endswith(OF_PREFERENCE_SETS):
            source = path.read_text(encoding="utf-8")
            counted |= set(re.findall(r'(?:left_out|dropped)\["(\w+)"\] \+=', source))

    assert counted == set(LEFT_OUT)
    assert not any("_" in words_of(reason) for reason in counted - {"pairs_over_max_length"})
