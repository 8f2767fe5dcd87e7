"""Lines of JSON that a careless or hostile program writes, and the message for each."""

LABELLED = b'{"label": %s, "answers": ["4"], "prompt": "2 + 2?", "children": [{"text": "4"}]}'
"""A line that evaluate_samples and import_trees both read."""

BAD_LABELS: dict[str, tuple[bytes, str]] = {
    "NaN": (b"NaN", "NaN is not JSON: write null, or leave the key out"),
    "Infinity": (b"Infinity", "Infinity is not JSON"),
    "-Infinity": (b"-Infinity", "-Infinity is not JSON"),
    "overflow": (b"1e400", "the number 1e400 is too large: write it as a text"),
    "negative overflow": (b"-1e400", "the number -1e400 is too large"),
    "long overflow": (b"1" * 400 + b".5", "is too large: write it as a text"),
    "5,000 digits": (b"7" * 5000, "a number has more than 4300 digits: write it as a text"),
    "-5,000 digits": (b"-" + b"7" * 5000, "a number has more than 4300 digits"),
    "5,000 brackets": (b"[" * 5000 + b"]" * 5000, "its brackets are nested too deeply"),
    "5,000 braces": (b'{"a":' * 5000 + b"1" + b"}" * 5000, "its brackets are nested too deeply"),
    "500 brackets": (b"[" * 500 + b"]" * 500, "label`.* a text that is not blank, or a number"),
    "half": (rb'"\ud83d"', "a text holds a lone surrogate: write the whole character"),
    "other half": (rb'"4 \uDE00"', "a text holds a lone surrogate"),
    "halves in the wrong order": (rb'"\ude00\ud83d"', "a text holds a lone surrogate"),
    "bytes of a half": (b'"\xed\xa0\xbd"', "is not UTF-8: save the file as UTF-8"),
    "Latin-1": (b'"\xe9"', "is not UTF-8: save the file as UTF-8"),
    "null": (b"null", "label`.* a text that is not blank, or a number"),
    "true": (b"true", "label`.* a text that is not blank, or a number"),
    "None": (b"None", "not JSON"),
    "object": (b"{}", "label`.* a text that is not blank, or a number"),
    "blank": (b'" "', "label` is blank"),
    "torn": (b'"4', "not JSON"),
}
"""By name: a label as the file spells it, and the message for its line."""

GOOD_LABELS: dict[str, tuple[bytes, str]] = {
    "text": (b'"4"', "4"),
    "integer": (b"4", "4"),
    "float": (b"5.0", "5.0"),
    "many digits": (b"12345678901234567.0", "12345678901234567.0"),
    "more digits than a float has": (b"0.1234567890123456789", "0.1234567890123456789"),
    "exponent": (b"1e+16", "1e+16"),
    "400 digits": (b"7" * 400, "7" * 400),
    "a whole character": (rb'"\ud83d\ude00"', "\U0001f600"),
}
"""By name: a label as the file spells it, and as the trees and samples have it."""

BAD_FILES: dict[str, tuple[bytes, str]] = {
    "gzip": (b"\x1f\x8b\x08\x00", "is compressed: unpack it first"),
    "UTF-16": (LABELLED.decode().encode("utf-16"), "line 1 is not UTF-8: save the file as UTF-8"),
    "Parquet": (b"PAR1\x15\x04\xff\xfe", "line 1 is not UTF-8"),
    "torn": (b"{", "line 1: not JSON"),
    "5,000 brackets": (b"[" * 5000, "line 1: its brackets are nested too deeply"),
    "not JSON": (b"label,answers\n4,4\n", "line 1: not JSON"),
    "two values in a line": ((LABELLED % b"4") * 2, "line 1: not JSON"),
}
"""By name: a file, and the message for it."""
