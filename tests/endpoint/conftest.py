"""Callers of the endpoint: a test client over WSGI and ASGI, and real servers of both kinds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
import uvicorn
from django.core.asgi import get_asgi_application
from django.core.cache import caches
from django.db import connections
from django.test import AsyncClient, Client

from llmcache.endpoint import holders
from llmcache.models import VirtualKey
from tests.servers.ports import free_port

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(autouse=True)
def endpoint(settings: Any) -> None:
    """A site that has the endpoint, and whose process knows no keys yet."""
    settings.ROOT_URLCONF = "tests.endpoint.urls"
    settings.ALLOWED_HOSTS = ["*"]
    holders.forget()
    caches["default"].clear()


@pytest.fixture
def key(transactional_db: None) -> Callable[..., str]:
    """Makes a key, and gives its token."""

    def make(name: str = "tester", **fields: Any) -> str:
        made = VirtualKey(name=name, **fields)
        token = made.renew()
        made.full_clean()
        made.save()
        return token

    return make


class Caller:
    """Calls the endpoint in this process, over WSGI or ASGI."""

    def __init__(self, is_async: bool) -> None:
        self.is_async = is_async
        self._runner = asyncio.Runner()
        self.client: Any = (AsyncClient if is_async else Client)(raise_request_exception=False)

    def send(self, method: str, path: str, data: Any = None, token: str = "", **more: Any) -> Any:
        """The answer; headers as in `headers={"X-A": "b"}`."""
        headers = {**({"Authorization": f"Bearer {token}"} if token else {})}
        headers |= more.pop("headers", {})
        arguments = {"content_type": "application/json", "headers": headers, **more}
        sent = self.client.generic(
            method,
            f"/llm/{path}",
            *(() if data is None else (_encoded(data),)),
            **arguments,
        )
        return self._runner.run(sent) if self.is_async else sent

    def post(self, path: str, data: Any, token: str = "", **more: Any) -> Any:
        return self.send("POST", path, data, token, **more)

    def get(self, path: str, token: str = "", **more: Any) -> Any:
        return self.send("GET", path, None, token, **more)

    def content(self, response: Any) -> bytes:
        """The whole of a streamed answer."""

        async def read() -> bytes:
            return b"".join([chunk async for chunk in response.streaming_content])

        if response.is_async:
            return self._runner.run(read())
        return b"".join(response.streaming_content)

    def close(self) -> None:
        self._runner.close()


def _encoded(data: Any) -> bytes:
    return data if isinstance(data, bytes) else orjson.dumps(data)


@pytest.fixture(params=["wsgi", "asgi"])
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    """The endpoint over WSGI and then over ASGI: a case that uses it runs over both."""
    made = Caller(request.param == "asgi")
    yield made
    made.close()


@contextmanager
def uvicorn_server() -> Iterator[str]:
    """This site under uvicorn, in a thread of this process."""
    port = free_port()
    config = uvicorn.Config(
        get_asgi_application(), port=port, lifespan="off", log_level="error", ws="none"
    )
    server = uvicorn.Server(config)

    def run() -> None:
        server.run()
        connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(params=["wsgi", "asgi"])
def server(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[str]:
    """The URL of a real server of this site: Django's own over WSGI, and uvicorn."""
    if request.param == "wsgi":
        yield request.getfixturevalue("live_server").url
        return
    with uvicorn_server() as url:
        yield url
