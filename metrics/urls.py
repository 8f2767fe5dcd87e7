"""URLs of the metrics pages and their pictures."""

from django.urls import path

from metrics.pages import views

urlpatterns = [
    path("<slug:forest_name>/metrics/", views.metrics, name="metrics"),
    path(
        "<slug:forest_name>/metrics/answers/<int:index>.svg",
        views.answers_picture,
        name="answers-picture",
    ),
    path(
        "<slug:forest_name>/metrics/scorers/<slug:scorer>/<slug:picture>.svg",
        views.scorer_picture,
        name="scorer-picture",
    ),
    path(
        "<slug:forest_name>/metrics/<slug:key>/<slug:picture>.svg",
        views.run_picture,
        name="run-picture",
    ),
]
