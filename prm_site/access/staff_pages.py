"""Error pages for django-rq and the admin, which would answer 500."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from bson.errors import BSONError
from django.db import NotSupportedError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django_rq.queues import get_queue_by_index
from django_rq.settings import get_queues_list
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.worker import Worker

from common.storage_problems import is_refused_query


class StaffPagesMiddleware:
    """Answers 404 for unknown queues, jobs and workers, and 400 for impossible queries."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self,
        request: HttpRequest,
        view_func: Callable[..., Any],
        _view_args: tuple[Any, ...],
        view_kwargs: dict[str, Any],
    ) -> None:
        if view_func.__module__.startswith("django_rq.") and getattr(
            request.user, "is_staff", False
        ):
            _require_of_queue(**view_kwargs)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, NoSuchJobError):  # it has just ended, or a form names an old one
            return render(request, "404.html", status=HTTPStatus.NOT_FOUND)
        is_refused = isinstance(exception, (NotSupportedError, BSONError))
        if request.path_info.startswith("/admin/") and (is_refused or is_refused_query(exception)):
            said = "This search or filter is not supported: go back and choose another.\n"
            return HttpResponse(said, "text/plain", status=HTTPStatus.BAD_REQUEST)
        return None


def _require_of_queue(
    queue_index: int | None = None,
    scheduler_index: int | None = None,
    job_id: str | None = None,
    key: str | None = None,
    **_others: object,
) -> None:
    """Raise `Http404` if a URL of django-rq names an unknown queue, job or worker."""
    if scheduler_index is not None:
        raise Http404("this site does not use a scheduler")
    if queue_index is None:
        return
    if queue_index >= len(get_queues_list()):
        raise Http404("no such queue")
    connection = get_queue_by_index(queue_index).connection
    if job_id is not None and not Job.exists(job_id, connection=connection):
        raise Http404("no such job")
    if key is not None and not (
        key.startswith(Worker.redis_worker_namespace_prefix) and connection.exists(key)
    ):
        raise Http404("no such worker")
