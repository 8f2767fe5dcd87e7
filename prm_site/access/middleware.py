"""Middleware that decides which pages need a login, and what a page may load and store."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from redis.exceptions import RedisError

from forests.pages.json_twin import asks_for_json

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)

JSON_TYPE = "application/json"
_SAID = {
    404: "there is no page at this address",
    500: "the site could not answer; the reason is in its log",
    503: "the database or the queue does not answer",
}


class LoginUnlessPublicMiddleware(LoginRequiredMiddleware):
    """Ask for a login, except to read the pages of a site opened with PRM_PUBLIC=1.

    Writing, the admin and the queue pages always need a login.
    """

    def process_view(
        self,
        request: HttpRequest,
        view_func: Callable[..., Any],
        view_args: tuple[Any, ...],
        view_kwargs: dict[str, Any],
    ) -> HttpResponseBase | None:
        is_read = request.method in ("GET", "HEAD", "OPTIONS")
        if settings.PUBLIC and is_read:
            return None
        refusal = super().process_view(request, view_func, view_args, view_kwargs)
        if refusal is not None and request.headers.get("HX-Request") == "true":
            # A fragment cannot show the login form. Reload the whole page, which redirects to it.
            return HttpResponse(status=401, headers={"HX-Refresh": "true"})
        if refusal is not None and asks_for_json(request):
            # A program would take the login form for the requested data.
            return json_error("log in first: docs/json.md says how", HTTPStatus.UNAUTHORIZED)
        return refusal


class JsonErrorsMiddleware:
    """Answer failed requests for JSON in JSON, with the status that the page would have."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        is_json = response.headers.get("Content-Type") == JSON_TYPE
        if (
            asks_for_json(request)
            and response.status_code >= HTTPStatus.BAD_REQUEST
            and not is_json
        ):
            said = _SAID.get(response.status_code, HTTPStatus(response.status_code).phrase)
            response.content = json_error(said, response.status_code).content
            response.headers["Content-Type"] = JSON_TYPE
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not asks_for_json(request):
            return None
        if isinstance(exception, Http404):
            return json_error(str(exception), HTTPStatus.NOT_FOUND)
        if isinstance(exception, PermissionDenied):
            return json_error(str(exception), HTTPStatus.FORBIDDEN)
        return None


def json_error(said: str, status: int) -> HttpResponse:
    """Return an error as JSON: `{"error": …, "status": …}`."""
    return JsonResponse({"error": said, "status": int(status)}, status=status)


class UnavailableMiddleware:
    """Answer 503 if Redis is down: logins count attempts there, and must not go uncounted."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, RedisError):
            return None
        return render(request, "503.html", status=503)


class NotStoredMiddleware:
    """Forbid browsers and proxies to store pages that need a login or depend on one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not settings.PUBLIC or settings.SESSION_COOKIE_NAME in request.COOKIES:
            response.headers.setdefault("Cache-Control", "private, no-store")
        return response


class ContentSecurityPolicyMiddleware:
    """Allow pages to run and load only this site's own files."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response
