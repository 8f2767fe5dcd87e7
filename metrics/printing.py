"""Print the numbers of an evaluation in the format that was asked for."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from forests.commands import ProjectCommand
from metrics.tables import Table, baseline_table, search_table


def show_rows(command: ProjectCommand, rows: Sequence[Mapping[str, Any]], output: str) -> None:
    """Write rows to the command's stdout; `output` is `table`, `csv` or `md`."""
    if output == "csv":
        writer = csv.DictWriter(command.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    for table in filter(lambda table: table.rows, (search_table(rows), baseline_table(rows))):
        if output == "md":
            command.stdout.write(_markdown(table))
        else:
            command.show_table(table.columns, table.rows)


def _markdown(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(cell: object) -> str:
    return "-" if cell is None else str(cell).replace("|", "\\|")
