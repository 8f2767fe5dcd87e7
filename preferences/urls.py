"""URLs of the preference pages."""

from django.urls import path

from preferences.pages import views

urlpatterns = [
    path("<slug:forest_name>/preferences/", views.preferences, name="preferences"),
    path(
        "<slug:forest_name>/preferences/<slug:set_name>/<int:tree_index>/<int:number>/review/",
        views.review,
        name="review",
    ),
]
