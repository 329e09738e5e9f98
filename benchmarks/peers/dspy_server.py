"""DSPy: a language model called over DSPy's cache, in memory or on disk alone."""

from __future__ import annotations

import dspy
from serving import Asked, Job, Peer, serve


class DSPy(Peer):
    packages = ("dspy",)
    stores = ("memory", "disk")
    reasons = {
        "replay": "it streams whole programs (streamify), and nothing of a cached call",
        "first chunk": "it streams whole programs (streamify), and nothing of a cached call",
    }

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        on_disk = job["store"]["type"] == "disk"
        dspy.configure_cache(
            enable_disk_cache=on_disk,
            enable_memory_cache=not on_disk,
            **({"disk_cache_dir": self.directory} if on_disk else {}),
        )
        self.cache = dspy.cache
        self.models: dict[str, dspy.LM] = {}

    def model(self, asked: Asked) -> dspy.LM:
        dspy.cache = self.cache
        arguments = {name: value for name, value in asked.items() if name != "messages"}
        if (key := repr(arguments)) not in self.models:
            name = f"openai/{arguments.pop('model')}"
            where = {"api_base": self.job["base_url"], "api_key": self.job["name"]}
            self.models[key] = dspy.LM(name, **arguments, **where, num_retries=0)
        return self.models[key]

    def ask(self, asked: Asked) -> str:
        return self.model(asked)(messages=asked["messages"])[0]

    async def aask(self, asked: Asked) -> str:
        return (await self.model(asked).acall(messages=asked["messages"]))[0]


serve(DSPy)
