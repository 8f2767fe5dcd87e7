"""Answers to queries of the admin that the database refuses; Django would answer 500."""

from collections.abc import Callable
from http import HTTPStatus

from bson.errors import BSONError
from django.db import NotSupportedError
from django.http import HttpRequest, HttpResponse

from common.storage_problems import is_refused_query


class StaffPagesMiddleware:
    """Answers 400 to a search or filter of the admin that the database refuses."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        is_refused = isinstance(exception, (NotSupportedError, BSONError))
        if request.path_info.startswith("/admin/") and (is_refused or is_refused_query(exception)):
            said = "This search or filter is not supported: go back and choose another.\n"
            return HttpResponse(said, "text/plain", status=HTTPStatus.BAD_REQUEST)
        return None
