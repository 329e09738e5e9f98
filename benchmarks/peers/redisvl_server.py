"""RedisVL: `SemanticCache.check`, given a vector."""

from __future__ import annotations

from redisvl.extensions.cache.llm import SemanticCache
from redisvl.utils.vectorize import CustomVectorizer
from serving import Job, Peer, serve


class RedisVL(Peer):
    packages = ("redisvl",)
    stores = ("semantic",)
    reasons = dict.fromkeys(("memory", "redis", "disk", "s3"), "it matches by vectors alone")

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        zeros = [0.0] * job["store"]["dimensions"]
        self.cache = SemanticCache(
            name="redisvl",
            redis_url=job["store"]["url"],
            vectorizer=CustomVectorizer(embed=lambda text: zeros),
            distance_threshold=0.3,
        )

    def add(self, vectors: list[list[float]], answer: str) -> None:
        for number, vector in enumerate(vectors):
            self.cache.store(prompt=f"question {number}", response=answer, vector=vector)

    def nearest(self, vector: list[float]) -> str:
        return self.cache.check(vector=vector)[0]["response"]


serve(RedisVL)
