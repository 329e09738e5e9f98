"""Django's own caches as a site would use them by hand: a key of the request, `get`, else ask and
`set`, with pickle as it comes. Run by this project's Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import django
import httpx
from django.conf import settings
from serving import Asked, Job, Peer, serve

settings.configure(USE_TZ=True)
django.setup()

BACKENDS = {
    "memory": "django.core.cache.backends.locmem.LocMemCache",
    "redis": "django.core.cache.backends.redis.RedisCache",
    "disk": "django.core.cache.backends.filebased.FileBasedCache",
}


class Django(Peer):
    packages = ("Django",)
    stores = tuple(BACKENDS)
    notes = {"memory": "LocMemCache", "redis": "RedisCache", "disk": "FileBasedCache"}

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        store = job["store"]
        from django.core.cache import caches

        place = {"redis": store.get("url"), "memory": "bench", "disk": self.directory}
        backend = BACKENDS[store["type"]]
        caches.settings[job["name"]] = {"BACKEND": backend, "LOCATION": place[store["type"]]}
        self.cache = caches.create_connection(job["name"])
        self.client = httpx.Client(timeout=60, limits=httpx.Limits(max_connections=None))
        self.aclient = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None))

    def request(self, asked: Asked) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.job['name']}"}
        return {
            "url": f"{self.job['base_url']}/chat/completions",
            "headers": headers,
            "json": asked,
        }

    def ask(self, asked: Asked) -> str:
        found = self.cache.get(key := key_of(asked))
        if found is None:
            found = self.client.post(**self.request(asked)).json()
            self.cache.set(key, found)
        return found["choices"][0]["message"]["content"]

    async def aask(self, asked: Asked) -> str:
        found = await self.cache.aget(key := key_of(asked))
        if found is None:
            found = (await self.aclient.post(**self.request(asked))).json()
            await self.cache.aset(key, found)
        return found["choices"][0]["message"]["content"]

    def stream(self, asked: Asked) -> Iterator[str]:
        asked = {**asked, "stream": True}
        chunks = self.cache.get(key := key_of(asked))
        if chunks is None:
            chunks = []
            with self.client.stream("POST", **self.request(asked)) as response:
                for line in response.iter_lines():
                    if line.startswith("data: {"):
                        chunks.append(json.loads(line[6:]))
            self.cache.set(key, chunks)
        for chunk in chunks:
            for choice in chunk["choices"]:
                if choice["delta"].get("content"):
                    yield choice["delta"]["content"]


def key_of(asked: Asked) -> str:
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


serve(Django)
