"""LlamaIndex's key-value store in one of our stores, for its cache of ingestion and of embeddings.

IngestionCache(cache=LLMCacheKVStore())
OpenAIEmbedding(model="m", embeddings_cache=LLMCacheKVStore(model="m"))
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from asgiref.sync import sync_to_async

from llmcache.contrib.entries import Entries
from llmcache.packages import require_package

require_package("llmcache.contrib.llama_index", "llama_index", "llama-index")

from llama_index.core.storage.kvstore.types import (  # noqa: E402
    DEFAULT_BATCH_SIZE,
    DEFAULT_COLLECTION,
    BaseKVStore,
)

Value = dict[str, Any]


class LLMCacheKVStore(BaseKVStore):
    """A key-value store whose values end with their ttl, and may be evicted before.

    Args:
        using: the alias of LLMCACHE.
        model: whose answers these are. LlamaIndex asks for an embedding by its text alone: two
            models that share a store need different names here, or one is given the other's.
        ttl: seconds to keep values; None for the alias's own.
        namespace: of the entries, and what `clear()` clears.
        tags: labels and model objects to evict by.

    Raises:
        InvalidRequest: an alias that does not exist, or a wrong value.
    """

    def __init__(
        self,
        using: str = "default",
        *,
        model: str = "llama_index",
        ttl: float | None = None,
        namespace: str = "llama_index",
        tags: Iterable[Any] = (),
    ) -> None:
        self._model = model
        self._entries = Entries("llama_index", using=using, ttl=ttl, namespace=namespace, tags=tags)

    def put(self, key: str, val: Value, collection: str = DEFAULT_COLLECTION) -> None:
        """Store a value. What JSON cannot tell is not stored, and counted."""
        value = {"key": key, "value": val}
        self._entries.write(self._model, _params(key, collection), value, _tag(collection))

    async def aput(self, key: str, val: Value, collection: str = DEFAULT_COLLECTION) -> None:
        """As `put`."""
        value = {"key": key, "value": val}
        await self._entries.awrite(self._model, _params(key, collection), value, _tag(collection))

    def put_all(
        self,
        kv_pairs: list[tuple[str, Value]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """Store values, one after the other whatever the batch size."""
        for key, value in kv_pairs:
            self.put(key, value, collection)

    async def aput_all(
        self,
        kv_pairs: list[tuple[str, Value]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ) -> None:
        """As `put_all`."""
        for key, value in kv_pairs:
            await self.aput(key, value, collection)

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> Value | None:
        """The value of a key; None if there is none, it has ended, or the store fails."""
        return self._entries.read(self._model, _params(key, collection), _opened)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> Value | None:
        """As `get`."""
        return await self._entries.aread(self._model, _params(key, collection), _opened)

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, Value]:
        """All values of a collection that the index of entries knows, by key. Those that other
        processes have stored are known after FLUSH_INTERVAL.

        Raises:
            UnsupportedOperation: there is no index of entries (RECORDER is "off").
        """
        found = self._entries.tagged(self._model, _tag(collection))
        return {value["key"]: _opened(value) for value in found}

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, Value]:
        """As `get_all`."""
        return await sync_to_async(self.get_all)(collection)

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Remove a key, in all processes; False if it was not there.

        Raises:
            LLMCacheError: the store failed, and the value stayed.
        """
        return self._entries.delete(self._model, _params(key, collection))

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """As `delete`."""
        return await sync_to_async(self.delete)(key, collection)

    def clear(self) -> int:
        """Remove all values of this namespace, of all collections and models; how many.

        Raises:
            UnsupportedOperation: there is no index of entries (RECORDER is "off").
            LLMCacheError: the store failed, and values stayed.
        """
        return self._entries.clear()

    async def aclear(self) -> int:
        """As `clear`."""
        return await self._entries.aclear()


def _params(key: str, collection: str) -> dict[str, Any]:
    return {"input": key, "collection": collection}


def _tag(collection: str) -> str:
    return f"llama_index:{collection}"


def _opened(value: Any) -> Value:
    return cast(Value, value["value"])
