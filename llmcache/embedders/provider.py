"""A provider's embeddings endpoint, over the same upstreams as all calls.

A vector that was paid for is kept twice: in the process, and among the store's own entries, as the
entry that `embedding(model, input=text)` has there.
"""

from __future__ import annotations

import asyncio
import copy
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter, time
from typing import Any, ClassVar, Final
from weakref import WeakSet

import orjson

from llmcache import calls, conf, events, keys
from llmcache.backends.base import BaseBackend
from llmcache.broadcast import Abandoned
from llmcache.embedders.base import BaseEmbedder, Embedded
from llmcache.embedders.vectors import unit
from llmcache.envelope import EnvelopeError, seal, unseal
from llmcache.options import Options
from llmcache.pricing import cost_of
from llmcache.singleflight import AsyncFlights, Flights
from llmcache.upstreams import Route, upstreams
from llmcache.upstreams.base import UpstreamRequest
from llmcache.usage import Usage

DEFAULTS: Final[Mapping[str, Any]] = {
    "cache_size": 1000,
    "dimensions": None,
    "max_chars": 24_000,
    "model": None,
    "timeout": 2.0,
}


class ProviderEmbedder(BaseEmbedder):
    """OPTIONS:
        model (str): as calls name it: "text-embedding-3-small", or "groq/..." for another provider.
            It must be given.
        dimensions (int): sent along where given.
        timeout (float): seconds; a provider that takes longer makes a miss. Nothing is tried twice.
        cache_size (int): vectors that each process keeps.
        max_chars (int): longer texts get no vector.

    Raises:
        ImproperlyConfigured: `model` is missing, or an option is wrong.
    """

    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    def __init__(self, setting: str, options: Mapping[str, Any], store: BaseBackend) -> None:
        super().__init__(setting, options, store)
        given = Options(self, DEFAULTS)
        self.model = given.text("model")
        self._timeout = given.seconds("timeout")
        # Whoever waits for another's call: connecting and reading may each take the timeout.
        self._patience = 2 * self._timeout
        self._size = given.whole("cache_size")
        self._longest = given.whole("max_chars")
        self._dimensions = None if given["dimensions"] is None else given.whole("dimensions")
        self._start_afresh()
        _living.add(self)

    def _start_afresh(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Embedded] = OrderedDict()
        self._flights: Flights[Embedded] = Flights()
        self._async_flights: AsyncFlights[Embedded] = AsyncFlights()

    # --- sync and async ---

    def embed(self, text: str) -> Embedded | None:
        if len(text) > self._longest:
            return None
        route = upstreams.route(self.model)
        digest, request = self._request(route, text)
        while True:
            kept = self._in_process(digest)
            if kept is not None:
                return kept
            flight, leads = self._flights.join(digest)
            if leads:
                break
            try:
                return flight.result(timeout=self._patience)
            except Abandoned:
                continue
            except Exception as error:  # the leader's is the followers' too
                raise copy.copy(error) from error
        try:
            # Another leader may have landed since the look above.
            found = self._in_process(digest) or self._fetch(route, digest, request)
            flight.set_result(replace(found, cost=0.0))
            return found
        except Exception as error:
            flight.set_exception(error)
            raise
        finally:
            self._flights.land(digest)

    def _fetch(self, route: Route, digest: str, request: UpstreamRequest) -> Embedded:
        try:
            data = self.store.get(digest)
        except Exception as error:
            data = None
            _store_failed(error)
        found = self._opened(route, digest, data)
        if found is None:
            started = perf_counter()
            body = route.upstream.call(request)
            found, entry = self._accepted(route, digest, body, perf_counter() - started)
            if entry is not None:
                try:
                    self.store.set(digest, *entry)
                except Exception as error:
                    _store_failed(error)
        return self._keep(digest, found)

    async def aembed(self, text: str) -> Embedded | None:
        if len(text) > self._longest:
            return None
        route = upstreams.route(self.model)
        digest, request = self._request(route, text)
        while True:
            kept = self._in_process(digest)
            if kept is not None:
                return kept
            flight, leads = self._async_flights.join(digest)
            if leads:
                break
            try:
                # Shielded: one follower's cancellation must not reach the others.
                return await asyncio.wait_for(asyncio.shield(flight), self._patience)
            except Abandoned:
                continue
            except Exception as error:
                raise copy.copy(error) from error
        try:
            found = self._in_process(digest) or await self._afetch(route, digest, request)
            flight.set_result(replace(found, cost=0.0))
            return found
        except Exception as error:
            flight.set_exception(error)
            raise
        finally:
            self._async_flights.land(digest)

    async def _afetch(self, route: Route, digest: str, request: UpstreamRequest) -> Embedded:
        try:
            data = await self.store.aget(digest)
        except Exception as error:
            data = None
            _store_failed(error)
        found = self._opened(route, digest, data)
        if found is None:
            started = perf_counter()
            body = await route.upstream.acall(request)
            found, entry = self._accepted(route, digest, body, perf_counter() - started)
            if entry is not None:
                try:
                    await self.store.aset(digest, *entry)
                except Exception as error:
                    _store_failed(error)
        return self._keep(digest, found)

    # --- steps ---

    def _request(self, route: Route, text: str) -> tuple[str, UpstreamRequest]:
        given: dict[str, Any] = {"input": text}
        if self._dimensions is not None:
            given["dimensions"] = self._dimensions
        call = calls.build("embedding", self.model, given)
        material = keys.material(
            call,
            model=route.model,
            provider=route.identity,
            namespace=None,
            scope=None,
            version=self.store.settings.version,
        )
        request = UpstreamRequest(
            kind="embedding",
            model=route.model,
            params=call.params,
            timeout=self._timeout,
            max_retries=0,
        )
        return keys.digest_of(keys.item_material(material, text)), request

    def _space(self, route: Route, data: bytes) -> str:
        return f"{route.identity} {route.model}:{len(data) // 4}"

    def _in_process(self, digest: str) -> Embedded | None:
        with self._lock:
            found = self._kept.get(digest)
            if found is not None:
                self._kept.move_to_end(digest)
            return found

    def _keep(self, digest: str, found: Embedded) -> Embedded:
        with self._lock:
            # What it has cost was paid once.
            self._kept[digest] = replace(found, cost=0.0)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return found

    def _opened(self, route: Route, digest: str, data: bytes | None) -> Embedded | None:
        if data is None:
            return None
        try:
            envelope = unseal(digest, data, signed=not self.store.process_local)
            if time() >= envelope.expires:
                return None
            vector = unit(orjson.loads(envelope.payload)["embedding"])
        except (EnvelopeError, ValueError, LookupError, TypeError):
            return None
        return Embedded(vector, self._space(route, vector))

    def _accepted(
        self, route: Route, digest: str, body: bytes, seconds: float
    ) -> tuple[Embedded, tuple[bytes, float | None] | None]:
        """A new vector, and the bytes and ttl of its entry, if it is to be stored.

        Raises:
            ValueError: the provider's answer has no vector in it.
        """
        try:
            answer = orjson.loads(body)
            (part,) = answer["data"]
            vector = unit(part["embedding"])
        except (LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{route.upstream.name} gave no embedding: {error}") from error
        usage = Usage(input=_tokens(answer.get("usage")))
        cost = cost_of(self.model, usage) or 0.0
        found = Embedded(vector, self._space(route, vector), cost)
        ttl = self.store.settings.timeout
        if ttl == 0:
            return found, None
        part.pop("index", None)
        now = time()
        sealed = seal(
            digest,
            orjson.dumps(part),
            created=now,
            expires=math.inf if ttl is None else now + ttl,
            stale_until=math.inf if ttl is None else now + ttl,
            header={
                "kind": "embedding",
                "model": self.model,
                "seconds": round(seconds, 6),
                "usage": usage.as_dict(),
                "answered_by": answer.get("model", route.model),
            },
            sign=not self.store.process_local,
            compress_min_bytes=0 if self.store.process_local else conf.config().compress_min_bytes,
        )
        return found, (sealed, ttl)


def _tokens(usage: Any) -> int:
    """What a provider says that it charged; 0 where it says nothing that can be read."""
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int else 0


def _store_failed(error: Exception) -> None:
    events.warn_once("vector_cache_error", "A vector could not be read or stored: %r", error)


_living: WeakSet[ProviderEmbedder] = WeakSet()


def _after_fork() -> None:
    for embedder in list(_living):
        embedder._start_afresh()


os.register_at_fork(after_in_child=_after_fork)
