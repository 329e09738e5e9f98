"""A browser that visits sync and async views alike."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import AsyncClient, Client

from tests.views import site


class Visitor:
    """Visits `/sync/...`, or over ASGI `/async/...`."""

    def __init__(self, twin: str) -> None:
        self.twin = twin
        self.is_async = twin == "async"
        self._runner = asyncio.Runner()
        self.client: Any = AsyncClient() if self.is_async else Client()

    def another(self) -> Visitor:
        """Somebody else."""
        return Visitor(self.twin)

    def _run(self, given: Any) -> Any:
        return self._runner.run(given) if self.is_async else given

    def get(self, page: str, data: Any = None, **headers: str) -> Any:
        """The answer to GET; headers as `Cache_Control="no-cache"`."""
        return self._send("get", page, data or {}, headers)

    def post(self, page: str, data: Any = None, content_type: str = "", **headers: str) -> Any:
        """The answer to POST."""
        more = {"content_type": content_type} if content_type else {}
        return self._send("post", page, data, headers, **more)

    def _send(self, method: str, page: str, data: Any, headers: Any, **more: Any) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        send = getattr(self.client, method)
        return self._run(send(f"/{self.twin}/{page}/", data, headers=named, **more))

    def head(self, page: str) -> Any:
        """The answer to HEAD."""
        return self._run(self.client.head(f"/{self.twin}/{page}/"))

    def log_in(self, user: Any) -> None:
        """Be this user from now on."""
        if self.is_async:
            self._run(self.client.aforce_login(user))
        else:
            self.client.force_login(user)

    def content(self, response: Any) -> bytes:
        """The whole of a streamed answer."""

        async def read() -> bytes:
            return b"".join([chunk async for chunk in response.streaming_content])

        if response.is_async:
            return self._runner.run(read())
        return b"".join(response.streaming_content)

    def close(self) -> None:
        self._runner.close()


@pytest.fixture(params=["sync", "async"])
def visitor(request: pytest.FixtureRequest, settings: Any) -> Iterator[Visitor]:
    """The sync and then the async views: a case that uses it runs over both."""
    settings.ROOT_URLCONF = "tests.views.site"
    for noted in (site.visits, site.closed, site.behaviour):
        noted.clear()
    made = Visitor(request.param)
    yield made
    made.close()
