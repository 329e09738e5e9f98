"""URLs of a site with the endpoint."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("llm/", include("llmcache.urls")), path("admin/", admin.site.urls)]
