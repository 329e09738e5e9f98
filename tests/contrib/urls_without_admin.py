"""The small site without Django's admin."""

from __future__ import annotations

from tests.contrib.urls import urlpatterns as with_admin

urlpatterns = [pattern for pattern in with_admin if str(pattern.pattern) != "admin/"]
