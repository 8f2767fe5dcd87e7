"""The child process of `chat_templates`: renders templates, one JSON question per line.

A template is untrusted code. Jinja's sandbox isolates it. If it escapes, it still cannot open
files, and its time and memory are limited.
"""

import contextlib
import json
import resource
import signal
import sys
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn, TextIO

import jinja2.debug  # noqa: F401  Jinja loads it at its first error, too late to open files
from jinja2 import Environment, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_BYTES = 1 << 30
MAX_CHARACTERS = 10_000_000
"""Most characters of a rendered prompt."""


class RefusalError(TemplateError):
    """A template refused its messages with `raise_exception`."""


class Generation(Extension):
    """Renders `{% generation %}`, which marks the assistant's text for training, as its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def main() -> None:
    """Answer questions until the input ends. The kernel kills the process if it takes too long."""
    processor_seconds = float(sys.argv[1])
    render("{{ strftime_now('%Y') }}{{ one.two }}", {})  # imports lazy modules before the limits
    with contextlib.suppress(ValueError, OSError):  # not every system has these limits
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    for line in sys.stdin:
        if not line.strip():
            _write(sys.stdout, "ready")
            continue
        # SIGPROF's default action ends this process, even inside one long multiplication.
        signal.setitimer(signal.ITIMER_PROF, processor_seconds)
        reply = json.dumps(render(*json.loads(line)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(sys.stdout, reply)


def render(source: str, variables: Mapping[str, Any]) -> dict[str, str]:
    """Return a template's output as `text`, or the reason for a failure as `problem`."""
    try:
        text = _template(source).render(variables)
    except RefusalError as error:
        return {"problem": f"refuses these messages: {error}"}
    except TemplateSyntaxError as error:
        return {"problem": f"cannot be read: {error} (line {error.lineno})"}
    except MemoryError:
        return {"problem": "needs more memory than it may use"}
    except Exception as error:  # noqa: BLE001  it is code that is not ours
        return {"problem": f"cannot be rendered: {type(error).__name__}: {error}"}
    if len(text) > MAX_CHARACTERS:
        return {"problem": f"writes more than {MAX_CHARACTERS:,} characters"}
    return {"text": text}


@lru_cache(maxsize=8)
def _template(source: str) -> Template:
    return _environment().from_string(source)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Return Jinja, set up as `transformers` does for chat templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON. Jinja's own filter would escape `<`, `>`, `&` and `'` for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: object) -> NoReturn:
    raise RefusalError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _write(replies: TextIO, reply: str) -> None:
    replies.write(reply + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
