"""Pages for a user's password, load balancers and Prometheus."""

import sys
from http import HTTPStatus
from secrets import compare_digest

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.views import defaults
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import requires_csrf_token
from django.views.decorators.http import require_safe
from prometheus_client.exposition import choose_encoder

from common.storage_problems import is_of_storage
from prm_site.observability.prometheus import registry
from prm_site.observability.readiness import READINESS


@requires_csrf_token
def server_error(request: HttpRequest) -> HttpResponse:
    """Return 503 if the database or the queue is down, and 500 for all other errors."""
    if is_of_storage(sys.exc_info()[1]):
        return render(request, "away.html", status=HTTPStatus.SERVICE_UNAVAILABLE)
    return defaults.server_error(request)


@login_not_required
@require_safe
def favicon(request: HttpRequest) -> HttpResponse:  # noqa: ARG001  a view gets it
    """Redirect to the icon: browsers ask here for the icon of pages that name none (the admin)."""
    return redirect(static("prm_site/icon.svg"))


class PasswordView(PasswordChangeView):
    """Lets logged-in users change their password."""

    template_name = "registration/password.html"
    success_url = reverse_lazy("forests")

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        messages.success(self.request, "Your password was changed.")
        return super().form_valid(form)


@login_not_required
@never_cache
@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """Liveness: return 200 while the process answers. Restart a process that does not."""
    return HttpResponse("ok\n", "text/plain")


@login_not_required
@never_cache
@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """Return 200 if database, queue and model server answer, else 503, with a line for each."""
    parts = READINESS.look()
    lines = [f"{part}: {'ok' if is_ready else 'does not answer'}\n" for part, is_ready in parts]
    is_ready = all(is_ready for _, is_ready in parts)
    status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return HttpResponse("".join(lines), "text/plain", status=status)


@login_not_required
@never_cache
@require_safe
def prometheus_metrics(request: HttpRequest) -> HttpResponse:
    """Return the metrics to clients that send the token or may read the pages; else 401."""
    if not _may_read_metrics(request):
        headers = {"WWW-Authenticate": "Bearer"}
        said = "log in, or send PRM_METRICS_TOKEN: Authorization: Bearer …\n"
        return HttpResponse(said, "text/plain", status=HTTPStatus.UNAUTHORIZED, headers=headers)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry()), content_type)


def _may_read_metrics(request: HttpRequest) -> bool:
    if settings.PUBLIC or request.user.is_authenticated:
        return True
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    is_named = compare_digest(token.strip().encode(), settings.METRICS_TOKEN.encode())
    return bool(settings.METRICS_TOKEN) and scheme == "Bearer" and is_named
