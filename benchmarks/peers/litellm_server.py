"""LiteLLM: `completion` over its Cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import litellm
from litellm.caching.caching import Cache
from serving import Asked, Job, Peer, serve

litellm.suppress_debug_info = True


class LiteLLM(Peer):
    packages = ("litellm",)
    stores = ("memory", "redis", "disk", "s3")
    notes = {"": "it replays a stream in words, not in the pieces that were recorded"}
    reasons = {"semantic": "its redis-semantic cache embeds by itself and takes no vector"}

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        store = job["store"]
        self.cache = {
            "memory": lambda: Cache(type="local"),
            "redis": lambda: Cache(type="redis", host="127.0.0.1", port=str(store["port"])),
            "disk": lambda: Cache(type="disk", disk_cache_dir=self.directory),
            "s3": lambda: Cache(type="s3", **store["options"]),
        }[store["type"]]()

    def arguments(self, asked: Asked) -> dict[str, Any]:
        litellm.cache = self.cache
        key = self.job["name"]
        return {**asked, "caching": True, "api_base": self.job["base_url"], "api_key": key}

    def ask(self, asked: Asked) -> str:
        return litellm.completion(**self.arguments(asked)).choices[0].message.content

    async def aask(self, asked: Asked) -> str:
        answer = await litellm.acompletion(**self.arguments(asked))
        return answer.choices[0].message.content

    def stream(self, asked: Asked) -> Iterator[str]:
        for chunk in litellm.completion(**self.arguments(asked), stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


serve(LiteLLM)
