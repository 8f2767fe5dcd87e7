"""Serve the site under a path, where the proxy in front passes addresses on as they are."""

from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def under_prefix(application: Application, prefix: str) -> Application:
    """Return the application with the prefix taken off the paths that it is asked for.

    A path without it is answered too: health checks ask the process itself, and a server may have
    taken the prefix off and said so in SCRIPT_NAME.
    """

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        is_below = path == prefix or path.startswith(f"{prefix}/")
        if is_below and environ.get("SCRIPT_NAME", "").rstrip("/") != prefix:
            environ = environ | {
                "SCRIPT_NAME": prefix,
                "PATH_INFO": path.removeprefix(prefix) or "/",
            }
        return application(environ, start_response)

    return serve if prefix else application
