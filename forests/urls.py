"""Addresses of the forests; each begins with a forest's name, so they come last."""

from django.urls import path

from forests import views

urlpatterns = [
    path("", views.forest_list, name="forests"),
    path("<slug:forest_name>/", views.forest, name="forest"),
    path("<slug:forest_name>/trees/<int:index>/", views.tree, name="tree"),
]
