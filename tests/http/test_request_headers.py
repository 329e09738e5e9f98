"""One header of a request: what `request.headers` has under that name, without making it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncRequestFactory, RequestFactory

from llmcache.request_headers import header

HEADERS = {"Authorization": "Bearer a", "X-Api-Key": "", "Cookie": "a=b", "Odd-Name_Here": "x"}
NAMES = [
    *HEADERS, "authorization", "Content-Type", "Content-Length", "Transfer-Encoding", "X_Api_Key",
]  # fmt: skip


@pytest.mark.parametrize("factory", [RequestFactory(), AsyncRequestFactory()], ids=["wsgi", "asgi"])
@pytest.mark.parametrize("name", NAMES)
def test_a_header_is_what_django_says(factory: Any, name: str) -> None:
    request = factory.post("/", b"{}", content_type="application/json", headers=HEADERS)
    found = header(request, name)
    assert "headers" not in request.__dict__
    assert found == request.headers.get(name)
