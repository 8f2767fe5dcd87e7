"""JSON from users is read as meant, or refused with its place and the remedy."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.json_lines import (
    JsonFileError,
    WrittenFloat,
    is_number,
    read_json,
    read_json_lines,
    read_json_rows,
)
from tests.hostile_lines import BAD_FILES, BAD_LABELS, GOOD_LABELS, LABELLED

MARK = b"\xef\xbb\xbf"
REFUSED = {name: one for name, one in BAD_LABELS.items() if not one[1].startswith("label`")}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def lines(file: Path, content: bytes) -> list[tuple[int, Any]]:
    file.write_bytes(content)
    return list(read_json_lines(file))


def rows(file: Path, content: bytes) -> list[tuple[str, Any]]:
    file.write_bytes(content)
    return [(str(place), row) for place, row in read_json_rows(file)]


@given(st.lists(JSON, max_size=4))
def test_what_json_writes_is_read_to_the_last_bit(tmp_path_factory, values: list[Any]):
    file = tmp_path_factory.mktemp("json") / "rows.jsonl"
    content = "".join(f"{json.dumps(value)}\n" for value in values).encode()

    found = lines(file, content)

    assert [value for _, value in found] == values
    assert [number for number, _ in found] == list(range(1, len(values) + 1))
    assert json.dumps([value for _, value in found]) == json.dumps(values)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("read", [lines, rows])
def test_a_bad_value_names_its_line_and_the_remedy(file: Path, read, name: str):
    written, complaint = REFUSED[name]
    content = (LABELLED % b"4") + b"\n\n" + (LABELLED % written) + b"\n"

    with pytest.raises(JsonFileError, match=rf"rows\.jsonl line 3:? .*{complaint}"):
        read(file, content)


@pytest.mark.parametrize("name", GOOD_LABELS)
@pytest.mark.parametrize("read", [lines, rows])
def test_a_number_is_spelled_as_in_the_file(file: Path, read, name: str):
    written, text = GOOD_LABELS[name]

    [(_, row)] = read(file, LABELLED % written)

    assert str(row["label"]) == text


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("read", [lines, rows])
def test_a_file_of_another_kind_is_one_line(file: Path, read, name: str):
    content, complaint = BAD_FILES[name]

    with pytest.raises(JsonFileError, match=complaint) as raised:
        read(file, content)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("read", [lines, rows])
@pytest.mark.parametrize("before", [b"", MARK])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_marks_and_both_line_ends_are_read(file: Path, read, before: bytes, end: bytes):
    content = before + end.join([b'{"a": 1}', b"", b'{"a": "x\\r\\n"}', b""])

    assert [value for _, value in read(file, content)] == [{"a": 1}, {"a": "x\r\n"}]


@pytest.mark.parametrize("content", [b"", MARK, b"\n \r\n", MARK + b"\n"])
def test_an_empty_file_has_no_rows(file: Path, content: bytes):
    assert lines(file, content) == []
    assert rows(file, content) == []


def test_what_cannot_be_opened_is_one_line(file: Path):
    with pytest.raises(JsonFileError, match=r"rows\.jsonl cannot be read: No such file"):
        list(read_json_lines(file))
    file.mkdir()
    with pytest.raises(JsonFileError, match=r"rows\.jsonl cannot be read: Is a directory"):
        list(read_json_rows(file))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'[{"a": 1}, {"a": 2}]', [("entry 1", {"a": 1}), ("entry 2", {"a": 2})]),
        (b'[\n  {"a": 1},\n  {"a": 2}\n]\n', [("entry 1", {"a": 1}), ("entry 2", {"a": 2})]),
        (MARK + b'{\r\n "a": 1\r\n}', [("entry 1", {"a": 1})]),
        (b'\n{"a": 1}\n{"a": 2}', [("line 2", {"a": 1}), ("line 3", {"a": 2})]),
    ],
)
def test_one_whole_list_or_object_gives_rows_too(file: Path, content: bytes, expected: list[Any]):
    assert rows(file, content) == expected


def test_a_whole_list_that_is_broken_names_the_line_of_the_break(file: Path):
    with pytest.raises(JsonFileError, match=r"rows\.jsonl line 3: not JSON"):
        rows(file, b'[\n  {"a": 1},\n  {"a": }\n]\n')
    with pytest.raises(JsonFileError, match=r"rows\.jsonl: NaN is not JSON"):
        rows(file, b'[\n  {"a": NaN}\n]\n')


def test_a_whole_file_has_plain_numbers(file: Path):
    file.write_bytes(b'{"a": 1.50}')

    assert read_json(file) == {"a": 1.5}
    assert type(read_json(file)["a"]) is float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, True), (-0.5, True), (WrittenFloat("0.10"), True), (10**100, True), (10**101, False),
        (1e308, False), (10**400, False), (float("nan"), False), (float("inf"), False),
        (True, False), ("1", False), (None, False), ([1], False),
    ],
)  # fmt: skip
def test_a_number_is_what_can_be_added_up(value: object, expected: bool):
    assert is_number(value) is expected
