"""Shared behaviour of the project's commands: errors, exit codes, output."""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

import structlog
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from common.errors import UserError
from common.storage_problems import NO_DATABASE, STORAGE_ERRORS, storage_problem
from common.text import printable

log = structlog.stdlib.get_logger(__name__)

EXIT_BAD_USAGE = 2
EXIT_PARTLY_FAILED = 3
EXIT_INTERRUPTED = 130
MAX_INTEGER = 10**9
DEFAULT_PORT = 8000

_COMMAND = re.compile(r"^(?:python )?manage\.py", re.MULTILINE)

# Characters that are legal in JSON, but that terminals obey or some encodings refuse.
_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(127, 160), *range(0xD800, 0xE000))}
_EXIT_CODES = """\
exit codes:
  0    done
  1    could not run; one line on stderr says why
  2    bad usage
  3    partly failed; stderr says what
  130  interrupted; what was finished is kept
"""


class ProjectCommand(BaseCommand):
    """A command that reports each failure as one line with a remedy on stderr, never a traceback.

    Results go to stdout; messages and progress go to stderr. Tables and texts replace control
    characters by visible symbols, because a terminal would obey them; JSON escapes them.
    """

    examples: str = ""
    """Command lines that `--help` shows at its end."""
    needs_database = True
    requires_system_checks = ()
    suppressed_base_arguments = {
        "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color",
        "--force-color",
    }  # fmt: skip
    """Django's own options, which work and are not shown."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        command = "python manage.py" if Path(prog_name).name == "manage.py" else "prm"
        shown = _COMMAND.sub(command, self.examples.strip())
        examples = "".join(f"  {line}\n" for line in shown.splitlines())
        epilog = (f"examples:\n{examples}\n" if examples else "") + _EXIT_CODES
        parser = super().create_parser(prog_name, subcommand, epilog=epilog, **kwargs)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.called_from_command_line = False  # bad usage is one line, without the usage text
        return parser

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            super().run_from_argv(argv)
        except CommandError as error:  # raised by the parser; `execute` reports its own errors
            self.stderr.write(f"{error} (see --help)")
            sys.exit(EXIT_BAD_USAGE)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command, and log its start and end."""
        name = type(self).__module__.rpartition(".")[2]
        began = time.monotonic()
        with structlog.contextvars.bound_contextvars(
            command=name, forest=options.get("forest_name")
        ):
            log.info("command started")
            try:
                found = self._execute(*args, **options)
            except CommandError as error:
                error.args = (printable(error),)
                seconds = round(time.monotonic() - began, 3)
                log.info(
                    "command failed", status=error.returncode, error=str(error), seconds=seconds
                )
                raise
            log.info("command finished", seconds=round(time.monotonic() - began, 3))
            return found

    def _execute(self, *args: Any, **options: Any) -> str | None:
        try:
            needs_database = self.needs_database and not options.get("archive")
            if needs_database and not settings.MONGODB_URI:
                raise CommandError(NO_DATABASE)
            return super().execute(*args, **options)
        except UserError as error:
            raise CommandError(str(error), returncode=error.exit_code) from error
        except ObjectDoesNotExist as error:
            raise CommandError("the forest was deleted meanwhile") from error
        except STORAGE_ERRORS as error:
            raise CommandError(storage_problem(error)) from error
        except KeyboardInterrupt as error:
            raise CommandError(
                "interrupted; run the same command again to continue", returncode=EXIT_INTERRUPTED
            ) from error
        except BrokenPipeError as error:
            sys.stderr.close()
            raise SystemExit(1) from error

    def say(self, words: str) -> None:
        """Write a message for a person to stderr."""
        self.stderr.write(printable(words), style_func=str)

    def show(self, text: str) -> None:
        """Write text that may come from a model or a dataset to stdout."""
        self.stdout.write(printable(text))

    def show_json(self, data: Any) -> None:
        text = json.dumps(data, ensure_ascii=False, indent=2, default=str)
        self.stdout.write(text.translate(_ESCAPED))

    def show_table(
        self, columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = ""
    ) -> None:
        """Write a table to stdout, not cut to a width unless stdout is a terminal."""
        table = Table(*columns, title=title or None, title_justify="left")
        for row in rows:
            table.add_row(*("-" if cell is None else printable(cell) for cell in row))
        is_terminal = self.stdout.isatty()
        console = Console(
            file=cast("TextIO", self.stdout._out),  # noqa: SLF001
            width=None if is_terminal else 200,
            markup=False,
            highlight=False,
        )
        console.print(table)


def add_json_argument(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_port_argument(parser: CommandParser) -> None:
    parser.add_argument(
        "--port",
        type=int,
        choices=range(1, 65536),
        metavar="PORT",
        default=DEFAULT_PORT,
        help="port of the site, or any free one if it is taken (default: %(default)s)",
    )


def pick(document: object, names: Iterable[str]) -> Mapping[str, Any]:
    return {name: getattr(document, name) for name in names}


def positive_integer(text: str) -> int:
    """Return a whole number from 1 to `MAX_INTEGER`, for `type=` of an argument."""
    number = text.lstrip("0")
    if not (text.isascii() and text.isdecimal() and number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    if len(number) > len(str(MAX_INTEGER)) or int(number) > MAX_INTEGER:
        raise argparse.ArgumentTypeError(
            f"{text[:30]!r} is too large: it can be at most {MAX_INTEGER}"
        )
    return int(number)


def names_among(allowed: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """Return a parser for comma-separated names out of `allowed`, for `type=` of an argument."""
    known = tuple(allowed)

    def read(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"{', '.join(map(repr, unknown))} is not among {', '.join(known)}"
            )
        return names

    return read
