"""URLs of the site. `forests.core.naming.RESERVED_NAMES` must hold the first part of each."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from prm_site.queue_pages.views import queue
from prm_site.views import PasswordView, favicon, healthz, prometheus_metrics, readyz

urlpatterns = [
    path("favicon.ico", favicon, name="favicon"),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", prometheus_metrics, name="prometheus"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("login/password/", PasswordView.as_view(), name="password"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/queue/", queue, name="queue"),
    path("admin/", admin.site.urls),
    path("", include("metrics.urls")),
    path("", include("preferences.urls")),
    path("", include("forests.urls")),
]

handler500 = "prm_site.views.server_error"
