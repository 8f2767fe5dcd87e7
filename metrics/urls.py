"""URLs of the metrics pages and their pictures."""

from django.urls import path

from metrics.pages import compare_views, pictures, views

urlpatterns = [
    path("compare/", compare_views.compare, name="compare"),
    path("<slug:forest_name>/metrics/", views.metrics, name="metrics"),
    path(
        "<slug:forest_name>/metrics/<slug:picture>.svg", pictures.runs_picture, name="runs-picture"
    ),
    path(
        "<slug:forest_name>/metrics/scorers/<slug:scorer>/<slug:picture>.svg",
        pictures.scorer_picture,
        name="scorer-picture",
    ),
]
