"""Serve the site under a path prefix, behind a proxy that does not remove the prefix."""

from collections.abc import Callable, Iterable
from typing import Any

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def under_prefix(application: Application, prefix: str) -> Application:
    """Return an application that removes the prefix from request paths.

    Paths without the prefix work too: health checks ask the process directly, and a server may have
    moved the prefix into SCRIPT_NAME already.
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
