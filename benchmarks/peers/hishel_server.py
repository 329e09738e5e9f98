"""hishel: httpx with its cache transport. It serves GET and HEAD alone, so the client asks by
GET, and the transport below the cache makes a POST of it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import anysqlite
import httpx
from hishel import AsyncRedisStorage, AsyncSqliteStorage, RedisStorage, SqliteStorage
from hishel.httpx import AsyncCacheTransport, CacheTransport
from serving import Asked, Job, Peer, serve

LIMITS = httpx.Limits(max_connections=None)


def as_post(request: httpx.Request) -> httpx.Request:
    parts = {"headers": request.headers, "stream": request.stream}
    return httpx.Request("POST", request.url, extensions=request.extensions, **parts)


class Post(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return super().handle_request(as_post(request))


class AsyncPost(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await super().handle_async_request(as_post(request))


class Hishel(Peer):
    packages = ("hishel", "httpx")
    stores = ("memory", "redis", "disk")
    reasons = {"s3": "it had a store in S3 up to 0.1 only"}
    notes = {
        "": "it serves GET and HEAD alone: with supported_methods=['POST'] it stores what a POST "
        "brought and never serves it. Here a transport below it turns GET into POST, and the "
        "caller gives the key, a digest of the body",
        "memory": "SQLite in memory",
        "disk": "SQLite",
    }

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        cached = CacheTransport(Post(limits=LIMITS), storage=self.storage())
        self.client = httpx.Client(transport=cached, timeout=60)
        self.aclient = None

    def storage(self) -> Any:
        store = self.job["store"]
        if store["type"] == "redis":
            import redis

            return RedisStorage(client=redis.Redis.from_url(store["url"]))
        if store["type"] == "disk":
            return SqliteStorage(database_path=f"{self.directory}/hishel.db")
        return SqliteStorage(connection=sqlite3.connect(":memory:", check_same_thread=False))

    async def astorage(self) -> Any:
        store = self.job["store"]
        if store["type"] == "redis":
            import redis.asyncio

            return AsyncRedisStorage(client=redis.asyncio.Redis.from_url(store["url"]))
        if store["type"] == "disk":
            return AsyncSqliteStorage(database_path=f"{self.directory}/hishel-async.db")
        return AsyncSqliteStorage(connection=await anysqlite.connect(":memory:"))

    def request(self, asked: Asked) -> dict[str, Any]:
        body = json.dumps(asked).encode()
        return {
            "method": "GET",
            "url": f"{self.job['base_url']}/chat/completions",
            "content": body,
            "headers": {
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.job['name']}",
            },
            "extensions": {"caching": {"key": sha256(body).hexdigest()}},
        }

    def ask(self, asked: Asked) -> str:
        answer = self.client.request(**self.request(asked)).json()
        return answer["choices"][0]["message"]["content"]

    async def aask(self, asked: Asked) -> str:
        if self.aclient is None:
            plain = AsyncPost(limits=LIMITS)
            cached = AsyncCacheTransport(plain, storage=await self.astorage())
            self.aclient = httpx.AsyncClient(transport=cached, timeout=60)
        answer = (await self.aclient.request(**self.request(asked))).json()
        return answer["choices"][0]["message"]["content"]

    def stream(self, asked: Asked) -> Iterator[str]:
        with self.client.stream(**self.request({**asked, "stream": True})) as response:
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    yield from text(json.loads(line[6:]))


def text(chunk: dict[str, Any]) -> Iterator[str]:
    for choice in chunk["choices"]:
        if choice["delta"].get("content"):
            yield choice["delta"]["content"]


serve(Hishel)
