"""GPTCache: its adapter over the bare map, which matches exactly."""

from __future__ import annotations

from typing import Any

import httpx
from gptcache import Cache
from gptcache.adapter.adapter import aadapt, adapt
from gptcache.manager import get_data_manager
from serving import Asked, Job, Peer, serve


def kept(text: str, keep: Any, *args: object, **kwargs: object) -> str:
    keep(text)
    return text


def same(text: str) -> str:
    return text


class GPTCache(Peer):
    packages = ("gptcache",)
    stores = ("memory",)
    reasons = {
        "replay": "it replays streams only through its adapter of an openai before 1.0",
        "first chunk": "it replays streams only through its adapter of an openai before 1.0",
        "semantic": "its vector stores (faiss, Milvus, ...) are not installed here",
        "redis": "its redis holds the text beside a vector store; the bare map is raced alone",
        "disk": "its SQL stores the text beside a vector store; the bare map is raced alone",
    }
    notes = {"": "the key is the last message alone, whatever the model and the parameters are"}

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.cache = Cache()
        self.cache.init(data_manager=get_data_manager(data_path=f"{self.directory}/map.txt"))
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
        def call(**kwargs: object) -> str:
            answer = self.client.post(**self.request(asked)).json()
            return answer["choices"][0]["message"]["content"]

        # With a temperature it leaves the cache aside by chance.
        return adapt(call, same, kept, cache_obj=self.cache, messages=asked["messages"])

    async def aask(self, asked: Asked) -> str:
        async def call(**kwargs: object) -> str:
            answer = (await self.aclient.post(**self.request(asked))).json()
            return answer["choices"][0]["message"]["content"]

        return await aadapt(call, same, kept, cache_obj=self.cache, messages=asked["messages"])


serve(GPTCache)
