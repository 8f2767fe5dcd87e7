"""Output of numbers as a table, JSON, CSV or Markdown."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from common.commands import ProjectCommand
from common.text import printable
from metrics.tables.run_tables import Table

PRINTED_AS = ("table", "json", "csv", "md")


def show_numbers(
    command: ProjectCommand,
    print_as: str,
    *,
    data: object,
    rows: Sequence[Mapping[str, Any]],
    tables: Sequence[Table],
) -> None:
    """Write numbers to stdout: `data` as JSON, `rows` as CSV, or the non-empty `tables`."""
    filled = [table for table in tables if table.rows]
    if print_as == "json":
        command.show_json(data)
    elif print_as == "csv":
        names = list(rows[0]) if rows else []
        writer = csv.DictWriter(command.stdout, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            cells = {
                name: printable(one) if isinstance(one, str) else one for name, one in row.items()
            }
            writer.writerow(cells)
    elif print_as == "md":
        command.stdout.write("\n".join(map(_markdown, filled)))
    else:
        for table in filled:
            command.show_table(table.columns, table.rows)


def _markdown(table: Table) -> str:
    lines = [table.columns, ["---"] * len(table.columns), *table.rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(cell: object) -> str:
    return "-" if cell is None else " ".join(printable(cell).split()).replace("|", "\\|")
