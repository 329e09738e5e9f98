"""A small site: views that call a model, the admin and the toolbar."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from tests.contrib import views

urlpatterns = [
    path("ask/<str:text>", views.ask),
    path("aask/<str:text>", views.aask),
    path("tasks/<str:text>", views.tasks),
    path("threads/<str:text>", views.threads),
    path("fail/<str:text>", views.fail),
    path("read/<str:text>", views.read_stream),
    path("pass/<str:text>", views.pass_stream),
    path("odd/<str:text>", views.odd),
    path("embed/<str:text>", views.embed),
    path("admin/", admin.site.urls),
    path("__debug__/", include("debug_toolbar.urls")),
]
