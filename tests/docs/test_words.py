"""The rules for words: banned phrases are found, and no checked file has one."""

import re
from pathlib import Path

import pytest

from tests.docs.words import (
    FOLDERS,
    Phrase,
    all_faults,
    banned_phrases,
    checked_files,
    find_faults,
)

_PAIR = re.compile(r"^\| (?!before|---)(.+?) \| (.+?) \|$", re.MULTILINE)


def test_no_document_and_no_checked_folder_has_a_banned_phrase():
    assert [str(fault) for fault in all_faults()] == []


def test_every_document_is_checked():
    files = checked_files()

    assert {"README.md", "CHANGELOG.md", "docs/tutorial.md"} <= set(files)
    assert [folder for folder in FOLDERS if not any(one.startswith(folder) for one in files)] == []


@pytest.mark.parametrize("phrase", banned_phrases(), ids=lambda one: one.pattern.pattern)
def test_a_banned_phrase_is_found_in_its_example(phrase: Phrase):
    assert phrase.pattern.search(phrase.example)


def test_no_sentence_that_the_guide_recommends_is_banned():
    recommended = [after for _, after in _PAIR.findall(Path("docs/style.md").read_text())]

    assert len(recommended) >= 30
    assert [str(one) for text in recommended for one in find_faults("after.md", text)] == []


def found_in(path: str, text: str) -> list[tuple[int, str]]:
    return [(fault.line, fault.found) for fault in find_faults(path, text)]


def test_a_phrase_is_found_across_the_lines_of_a_document():
    assert found_in("a.md", "Growth goes\non here.\n") == [(2, "goes on")]


def test_code_in_a_document_is_not_prose():
    assert found_in("a.md", "`go on`\n\n```sh\ngo on\n```\n\nNow go on.\n") == [(7, "go on")]


def test_comments_and_texts_of_a_program_are_prose_and_its_names_are_not():
    source = '"""Go on."""\ngo_on = anew = "made anew"  # by lot\n'

    assert found_in("a.py", source) == [(2, "anew"), (1, "Go on"), (2, "by lot")]


def test_a_question_may_begin_with_who():
    assert found_in("a.md", "Answers: Who may read the pages? Users who may log in.") == []
