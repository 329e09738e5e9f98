"""URLs of a site that has the endpoint and no other app."""

from django.urls import include, path

urlpatterns = [path("llm/", include("llmcache.urls"))]
