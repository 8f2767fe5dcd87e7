"""Addresses of the metric pages."""

from django.urls import path

from metrics import views

urlpatterns = [
    path("<slug:forest_name>/metrics/", views.metrics, name="metrics"),
]
