"""Print the numbers of an evaluation in the format that was asked for."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.commands import ProjectCommand
from metrics.tables.run_tables import Table, baseline_table, search_table


def show_rows(command: ProjectCommand, rows: Sequence[Mapping[str, Any]], output: str) -> None:
    """Write rows to the command's stdout; `output` is `table`, `csv` or `md`."""
    if output == "csv":
        show_csv(command, rows)
        return
    show_tables(command, (search_table(rows), baseline_table(rows)), output)


def show_csv(command: ProjectCommand, rows: Sequence[Mapping[str, Any]]) -> None:
    writer = csv.DictWriter(command.stdout, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def show_tables(command: ProjectCommand, tables: Iterable[Table], output: str) -> None:
    """Write the tables that have rows; `output` is `table` or `md`."""
    for table in tables:
        if not table.rows:
            continue
        if output == "md":
            command.stdout.write(_markdown(table))
        else:
            command.show_table(table.columns, table.rows)


def _markdown(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(cell: object) -> str:
    return "-" if cell is None else str(cell).replace("|", "\\|")
