"""The table of `docs/interop.md` after runs of all and of some of the tests."""

from pathlib import Path

from tests.interop.table import HEAD, Row, renewed

DOCUMENT = Path(__file__).parents[2] / "docs" / "interop.md"
TRL = Row("TRL", "1.16.0", "`trl` (jsonl)", "dpo: text", "trained")
SWIFT = Row("ms-swift", "4.6.0", "`ms_swift` (jsonl)", "dpo: text", "trained")
OLD = f"{HEAD}{TRL.line}\n{SWIFT.line}\n".replace("not run", "trained")


def ran(row: Row, result: str, **changes: str) -> Row:
    cells = {"program": row.program, "version": row.version, "format": row.format}
    return Row(**cells | {"checked": row.checked, "success": "", "result": result} | changes)


def test_a_run_of_one_file_keeps_the_rows_of_the_others():
    added = ran(SWIFT, "read", checked="rm: text")

    assert renewed(OLD, [ran(TRL, "failed"), added], is_whole=False) == (
        f"{HEAD}{ran(TRL, 'failed').line}\n{ran(SWIFT, 'trained').line}\n{added.line}\n"
    )


def test_a_new_version_replaces_the_row_of_the_old_one():
    newer = ran(TRL, "trained", version="1.17.0")

    assert renewed(OLD, [newer], is_whole=False) == OLD.replace("1.16.0", "1.17.0")


def test_a_row_that_did_not_run_keeps_the_result_of_its_version_alone():
    skipped = [ran(TRL, "not run: no checkout"), ran(SWIFT, "not run", version="5.0.0")]

    assert renewed(OLD, skipped, is_whole=False) == (
        f"{HEAD}{ran(TRL, 'trained').line}\n{skipped[1].line}\n"
    )


def test_a_run_of_all_tests_drops_rows_without_a_test():
    assert renewed(OLD, [TRL], is_whole=True) == f"{HEAD}{ran(TRL, 'trained').line}\n"


def test_a_run_of_nothing_leaves_the_document_as_it_is():
    table = DOCUMENT.read_text().partition("begin -->\n")[2].partition("<!--")[0]

    assert renewed(table, [], is_whole=False) == table
