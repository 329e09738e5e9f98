"""LangChain: a chat model's `invoke` over its caches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from langchain_core.caches import InMemoryCache
from langchain_core.embeddings import Embeddings
from langchain_core.outputs import Generation
from langchain_openai import ChatOpenAI
from langchain_redis import RedisCache, RedisSemanticCache
from serving import Asked, Job, Peer, serve

warnings.simplefilter("ignore")


class Given(Embeddings):
    """Gives the vector that it was given."""

    vector: list[float]

    def embed_query(self, text: str) -> list[float]:
        return self.vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.vector for _ in texts]


class LangChain(Peer):
    packages = ("langchain-core", "langchain-community", "langchain-openai", "langchain-redis")
    stores = ("memory", "redis", "disk", "semantic")
    notes = {"semantic": "RedisSemanticCache.lookup, which is RedisVL's cache underneath"}

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        store = job["store"]
        if store["type"] == "semantic":
            self.given = Given()
            self.given.vector = [0.0] * store["dimensions"]
            self.cache = RedisSemanticCache(
                self.given, store["url"], distance_threshold=0.3, name="langchain"
            )
        elif store["type"] == "redis":
            self.cache = RedisCache(store["url"])
        elif store["type"] == "disk":
            from langchain_community.cache import SQLiteCache

            self.cache = SQLiteCache(f"{self.directory}/langchain.db")
        else:
            self.cache = InMemoryCache()
        self.models: dict[str, ChatOpenAI] = {}

    def model(self, asked: Asked) -> ChatOpenAI:
        arguments = {name: value for name, value in asked.items() if name != "messages"}
        if (key := repr(arguments)) not in self.models:
            self.models[key] = ChatOpenAI(
                **arguments,
                cache=self.cache,
                base_url=self.job["base_url"],
                api_key=self.job["name"],
                max_retries=0,
            )
        return self.models[key]

    def ask(self, asked: Asked) -> str:
        return self.model(asked).invoke(asked["messages"]).content

    async def aask(self, asked: Asked) -> str:
        return (await self.model(asked).ainvoke(asked["messages"])).content

    def stream(self, asked: Asked) -> Iterator[str]:
        for chunk in self.model(asked).stream(asked["messages"]):
            if chunk.content:
                yield chunk.content

    def add(self, vectors: list[list[float]], answer: str) -> None:
        for number, self.given.vector in enumerate(vectors):
            self.cache.update(str(number), "model", [Generation(text=answer)])

    def nearest(self, vector: list[float]) -> str:
        self.given.vector = vector
        return self.cache.lookup("any", "model")[0].text


serve(LangChain)
