from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from example_project import views

urlpatterns = [
    path("", views.chat, name="chat"),
    path("forget/", views.forget, name="forget"),
    path("ask/sync/", views.ask_sync, name="ask-sync"),
    path("ask/async/", views.ask_async, name="ask-async"),
    path("ask/streaming/", views.ask_streaming, name="ask-streaming"),
    path("doors/view/", include("example_project.doors.views")),
    path("doors/sdk/", include("example_project.doors.sdk")),
    path("doors/endpoint/", include("example_project.doors.endpoint")),
    path("llm/", include("llmcache.urls")),
    path("admin/", admin.site.urls),
    # Browsers ask for it on the admin's pages, which name none.
    path("favicon.ico", RedirectView.as_view(url=static("example/icon.svg"))),
]
