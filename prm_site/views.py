"""What a load balancer asks."""

from typing import cast

from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django_mongodb_backend.base import DatabaseWrapper
from pymongo.errors import PyMongoError


@login_not_required
@never_cache
@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """Return 200 where the site and its database answer, else 503."""
    try:
        cast(DatabaseWrapper, connection).database.command("ping")
    except PyMongoError:
        return HttpResponse("the database does not answer\n", "text/plain", status=503)
    return HttpResponse("ok\n", "text/plain")
