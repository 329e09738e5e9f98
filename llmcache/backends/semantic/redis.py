"""A store in Redis that is searched by meaning: the server's own index over vectors beside the
entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

from django.core.exceptions import ImproperlyConfigured

from llmcache.backends.base import run_in_thread
from llmcache.backends.redis import DEFAULTS as ENTRIES
from llmcache.backends.redis import RedisBackend
from llmcache.backends.semantic.base import MATCHING, Neighbour, SemanticBackend, Vector
from llmcache.backends.semantic.places import split_options
from llmcache.backends.semantic.redis_steps import SemanticSteps, Steps
from llmcache.backends.semantic.redis_vectors import Command, Layout
from llmcache.conf import BackendSettings
from llmcache.packages import require_package

T = TypeVar("T")

DEFAULTS: Final = {"algorithm": "flat"}
_ALGORITHMS: Final = ("flat", "hnsw")


class RedisSemanticBackend(SemanticBackend, RedisBackend):
    """LOCATION, and further OPTIONS: as RedisBackend's, with database 0, the only one that Redis
    indexes.

    OPTIONS:
        algorithm (str): "flat" is exact, and its time grows with the vectors of a partition;
            "hnsw" is approximate, its additions cost the server more, its searches less from some
            10,000 vectors in one partition on. A change rebuilds the index.

    Replicas are not searched: they may still have what is removed.

    Raises:
        ImproperlyConfigured: a package is missing, or the settings make no sense.
    """

    defaults: ClassVar[Mapping[str, Any]] = {**ENTRIES, **MATCHING, **DEFAULTS}

    def __init__(self, settings: BackendSettings) -> None:
        # Before what it builds on looks for its own part: one extra brings all.
        require_package(settings.setting, "redisvl", "semantic")
        options, rest = split_options(settings, DEFAULTS, ENTRIES)
        super().__init__(rest)
        self._algorithm = options.one_of("algorithm", _ALGORITHMS)
        if self.in_cluster:
            raise ImproperlyConfigured(
                f"LLMCACHE[{self.alias!r}] names a Redis Cluster, whose nodes search only what "
                "each has. Name a single Redis with search here; a LayeredBackend of this store "
                "over one with RedisBackend in the cluster keeps the answers in both."
            )
        primary: Any = self.connections.primary
        database = primary.connection_pool.connection_kwargs.get("db") or 0
        if database != 0:
            raise ImproperlyConfigured(
                f"LLMCACHE[{self.alias!r}] names database {database}, but Redis searches vectors "
                "in database 0 only; name that one, and keep aliases apart by KEY_PREFIX."
            )
        from redis.exceptions import ResponseError

        self._error_reply = ResponseError
        self._layout = Layout(self.prefix)
        self._steps = SemanticSteps(self._layout, self.alias, by_graph=self._algorithm == "hnsw")

    def _make_index(self, dimension: int) -> None:
        from llmcache.backends.semantic.redis_index import make

        primary: Any = self.connections.primary
        make(primary, self._layout, dimension, self._algorithm, self.alias)

    # --- sync ---

    def _run(self, steps: Steps[T]) -> T:
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, int):
                    self._make_index(step)
                else:
                    answer = self._send(step)
        except StopIteration as done:
            result: T = done.value
            return result

    def _send(self, commands: list[Command]) -> list[Any]:
        primary: Any = self.connections.primary
        if len(commands) == 1:
            try:
                return [primary.execute_command(*commands[0])]
            except self._error_reply as error:
                return [error]
        with primary.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            replies: list[Any] = pipeline.execute(raise_on_error=False)
            return replies

    def add(self, vectors: Iterable[Vector]) -> None:
        self._run(self._steps.add(vectors))

    def nearest(
        self, partition: str, space: str, data: bytes, limit: int = 5
    ) -> Sequence[Neighbour]:
        return self._run(self._steps.nearest(partition, space, data, limit))

    def vector_count(self) -> int:
        """How many vectors the index has; one that expires counts until the server removes it,
        which takes it a moment.
        """
        return self._run(self._steps.count())

    def delete(self, digest: str) -> bool:
        return self._run(self._steps.delete([digest])) > 0

    def delete_many(self, digests: Iterable[str]) -> int:
        return self._run(self._steps.delete(list(digests)))

    def touch(self, digest: str, ttl: float | None) -> bool:
        return self._run(self._steps.touch(digest, ttl))

    def clear(self) -> int:
        removed = super().clear()
        for keys in self._own_keys(self._layout.keys):
            self._unlink(keys)
        return removed

    # --- async ---

    async def _arun(self, steps: Steps[T]) -> T:
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                if isinstance(step, int):
                    await run_in_thread(self._make_index, step)
                else:
                    answer = await self._asend(step)
        except StopIteration as done:
            result: T = done.value
            return result

    async def _asend(self, commands: list[Command]) -> list[Any]:
        async with self._exchanges.one():
            primary: Any = await self.connections.aprimary()
            if len(commands) == 1:
                try:
                    return [await primary.execute_command(*commands[0])]
                except self._error_reply as error:
                    return [error]
            async with primary.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                replies: list[Any] = await pipeline.execute(raise_on_error=False)
                return replies

    async def aadd(self, vectors: Iterable[Vector]) -> None:
        await self._arun(self._steps.add(vectors))

    async def anearest(
        self, partition: str, space: str, data: bytes, limit: int = 5
    ) -> Sequence[Neighbour]:
        return await self._arun(self._steps.nearest(partition, space, data, limit))

    async def adelete(self, digest: str) -> bool:
        return await self._arun(self._steps.delete([digest])) > 0

    async def adelete_many(self, digests: Iterable[str]) -> int:
        return await self._arun(self._steps.delete(list(digests)))

    async def atouch(self, digest: str, ttl: float | None) -> bool:
        return await self._arun(self._steps.touch(digest, ttl))

    async def aclear(self) -> int:
        removed = await super().aclear()
        async for keys in self._aown_keys(self._layout.keys):
            await self._aunlink(keys)
        return removed
