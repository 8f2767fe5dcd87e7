"""Logging: one line for each event, with the ids of its forest, job and tree."""

import logging
import sys
from typing import Any

import structlog

from common.storage_problems import is_of_storage, storage_problem
from common.text import printable

FORMATS = ("line", "json")

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
]
"""Processors that give our events and those of libraries the same form."""


def logging_settings(*, level: str, log_format: str) -> dict[str, Any]:
    """Return Django's LOGGING, and set up structlog to use it.

    Tracebacks omit the values of variables, which may be secrets.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "event": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    _without_control_characters,
                    _renderer(log_format),
                ],
            }
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": "event"}
        },
        "filters": {"outages": {"()": lambda: _say_what_is_away}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django.request": {"level": "ERROR", "filters": ["outages"]},
            "httpx2": {"level": "WARNING"},  # a line for each request
        },
    }


def _say_what_is_away(record: logging.LogRecord) -> bool:
    """Replace the traceback by one line if the database is down: the traceback does not help."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if isinstance(error, Exception) and is_of_storage(error):
        record.exc_info = None
        record.msg, record.args = f"{record.getMessage()}: {storage_problem(error)}", ()
    return True


def _without_control_characters(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Replace control characters by visible ones: a model's text could control the terminal."""
    return {
        name: printable(value) if isinstance(value, str) else value for name, value in event.items()
    }


def _renderer(log_format: str) -> structlog.typing.Processor:
    if log_format == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    return structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
