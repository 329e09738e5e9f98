"""No pages: the suite tests a library."""

from __future__ import annotations

urlpatterns: list[object] = []
