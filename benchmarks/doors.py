"""Hits within one process: the doors for programs, under threads and under tasks, over each store;
and one hit of the doors for views, functions and SDKs, against what it cannot be faster than.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import redis
import redis.asyncio
from diskcache import Cache as DiskCache
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory
from django.views.decorators.cache import cache_page
from openai import OpenAI

import llmcache
import llmcache.httpx2
from benchmarks.questions import ANSWER, afloor, digest, floor, question
from benchmarks.rates import Contender, Row, compete, in_tasks, in_threads
from llmcache import Cache, acompletion, completion
from llmcache.decorators import cached, cached_completion
from llmcache.recorder import recorder
from tests.servers.redis import RedisServer

THREADS = 8
TASKS = 100
ROUNDS = 5
ASKED = question(1024)


@dataclass(frozen=True)
class Floor:
    """A store without this package: what its own clients take for a read."""

    set: Callable[[str, bytes], object]
    get: Callable[[str], Any]
    aget: Callable[[str], Awaitable[Any]]


def stores(server: RedisServer, directory: Path) -> Iterator[tuple[str, Cache, Floor]]:
    """Each store by name, ours and the floor."""
    kept: dict[str, bytes] = {}

    async def at_once(key: str) -> bytes:
        return kept[key]

    yield "memory", Cache(), Floor(kept.__setitem__, kept.__getitem__, at_once)
    client = redis.Redis.from_url(server.url)
    aclient = redis.asyncio.Redis.from_url(server.url)
    ours = Cache(type="redis", host="127.0.0.1", port=server.port)
    yield "Redis", ours, Floor(client.set, client.get, aclient.get)
    disk = DiskCache(str(directory / "floor"))
    ours = Cache(type="disk", disk_cache_dir=directory / "ours")
    yield "disk", ours, Floor(disk.set, disk.get, partial(asyncio.to_thread, disk.get))


def of_programs(server: RedisServer, directory: Path) -> Iterator[Row]:
    """Hits of `completion` and `acompletion`."""
    for name, cache, raw in stores(server, directory):
        llmcache.cache = cache
        raw.set(digest(ASKED), completion(**ASKED).raw)
        hit, bare = partial(_read, completion), floor(ASKED, raw.get)
        for number, who in ((1, "one thread"), (THREADS, f"{THREADS} threads")):
            contenders = {"ours": in_threads(hit, number), "floor": in_threads(bare, number)}
            yield _row(f"completion, {name}, {who}", contenders)
        with asyncio.Runner() as runner:
            for number, who in ((1, "one task"), (TASKS, f"{TASKS} tasks")):
                contenders = {
                    "ours": in_tasks(runner, _aread, number),
                    "floor": in_tasks(runner, afloor(ASKED, raw.aget), number),
                }
                yield _row(f"acompletion, {name}, {who}", contenders)
        cache.close()


def _row(name: str, contenders: dict[str, Contender]) -> Row:
    for contender in contenders.values():
        contender()
    row = compete(name, contenders, rounds=ROUNDS)
    recorder._calls.clear()  # a site's thread would have written them by now
    return row


def _read(ask: Callable[..., Any]) -> str:
    text: str = ask(**ASKED).choices[0].message.content
    return text


async def _aread() -> str:
    text: str = (await acompletion(**ASKED)).choices[0].message.content
    return text


def of_views(alias: str) -> Row:
    """A hit of a view in this process, against `cache_page` over the same cache."""
    requests = RequestFactory()

    def view(request: HttpRequest) -> HttpResponse:
        return JsonResponse({"answer": ANSWER})

    def hits(cached_view: Callable[[HttpRequest], HttpResponse]) -> Contender:
        return in_threads(lambda: cached_view(requests.get("/answer?to=this")).content, 1)

    ours = cached_completion(using=alias, scope=None)(view)
    contenders = {"ours": hits(ours), "cache_page": hits(cache_page(3600, cache=alias)(view))}
    contenders["the view"] = hits(view)
    return _row(f"a view in this process, {alias}", contenders)


def of_functions(alias: str) -> Row:
    """A hit of a function's result, against the same result taken from the cache by its name."""

    @cached(using=alias)
    def answer(question: str, words: int = 100) -> dict[str, Any]:
        return {"answer": ANSWER}

    cache = caches[alias]
    cache.set("answer:What?:50", answer("What?", words=50))
    contenders = {
        "ours": in_threads(lambda: answer("What?", words=50)["answer"], 1),
        "cache.get": in_threads(lambda: cache.get("answer:What?:50")["answer"], 1),
    }
    return _row(f"a function, {alias}", contenders)


class _AtOnce(httpx2.BaseTransport):
    """A provider that takes no time: what is left is the SDK itself."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = {"Content-Type": "application/json"}
        return httpx2.Response(200, headers=headers, content=self._body)


def of_sdks(alias: str) -> Row:
    """A hit of OpenAI's SDK by its transport, against the SDK over a provider that takes no
    time."""
    provider = _AtOnce(completion(**ASKED, using=alias).raw)

    def hits(client: httpx2.Client) -> Contender:
        ask = OpenAI(api_key="sk-none", http_client=client).chat.completions.create
        return in_threads(partial(_read, ask), 1)

    contenders = {
        "ours": hits(llmcache.httpx2.client(transport=provider, using=alias)),
        "the SDK": hits(httpx2.Client(transport=provider)),
    }
    return _row(f"OpenAI's SDK, {alias}", contenders)
