"""The pages and JSON endpoints of the example site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from example_project import views

urlpatterns = [
    path("", views.chat, name="chat"),
    path("chat/stream", views.chat_stream, name="chat-stream"),
    path("api/answer", views.answer, name="answer"),
    path("api/answer-async", views.answer_async, name="answer-async"),
    path("api/answer-stream", views.answer_stream, name="answer-stream"),
    path("admin/", admin.site.urls),
]
