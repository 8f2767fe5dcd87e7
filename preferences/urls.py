"""Addresses of the preference pages."""

from django.urls import path

from preferences import views

urlpatterns = [
    path("<slug:forest_name>/preferences/", views.preferences, name="preferences"),
]
