"""Pages as JSON: `?format=json` gives what the page shows, to the same readers; docs/json.md."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from forests.core.tree import NodePath, format_path
from forests.markup.rendering import without_addresses

JSON = "json"
_PARAMETER = "format"


def asks_for_json(request: HttpRequest) -> bool:
    """Return whether a request names JSON as the form of its answer."""
    return request.GET.get(_PARAMETER) == JSON


def respond(
    request: HttpRequest,
    template: str,
    context: Mapping[str, Any],
    data: Callable[[], Mapping[str, Any]],
) -> HttpResponse:
    """Return a page, or its data if the request asks for JSON.

    Raises:
        Http404: the request asks for another form.
    """
    wanted = request.GET.get(_PARAMETER)
    if wanted == JSON:
        return JsonResponse(data())
    if wanted is not None:
        raise Http404(f"there is no format {wanted[:40]!r}: leave it out, or ask for {JSON!r}")
    return render(request, template, {**context, "has_json": True})


def json_address(path: str, **parameters: object) -> str:
    """Return an address that gives JSON; parameters that are None or empty are left out."""
    given = {name: value for name, value in parameters.items() if value not in (None, "")}
    return f"{path}?{urlencode({**given, _PARAMETER: JSON})}"


def shown_to(request: HttpRequest, text: str) -> str | None:
    """Return a text that may name a server; None for readers without a login."""
    return text if request.user.is_authenticated else None


def settings_shown_to(request: HttpRequest, value: Any) -> Any:
    """Return settings or the source of a config; readers without a login get no addresses."""
    return value if request.user.is_authenticated else _without_addresses(value)


def path_or_none(path: NodePath | None) -> str | None:
    """Return a path as in the id of a node; None for the root or without a path."""
    return format_path(path) if path else None


def _without_addresses(value: Any) -> Any:
    if isinstance(value, str):
        return without_addresses(value)
    if isinstance(value, Mapping):
        return {_without_addresses(key): _without_addresses(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_addresses(one) for one in value]
    return value
