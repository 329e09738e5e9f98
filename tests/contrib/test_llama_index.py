"""LlamaIndex's own ingestion and embeddings over our key-value store."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import TransformComponent
from pydantic import PrivateAttr

import llmcache
from llmcache.backends.base import BaseBackend
from llmcache.contrib.llama_index import LLMCacheKVStore
from llmcache.exceptions import InvalidRequest, UnsupportedOperation
from llmcache.models import Call, Entry
from llmcache.recorder import flush

pytestmark = pytest.mark.django_db(transaction=True)
Run = Callable[..., Any]
Counted = Callable[[str], int]


class Embedding(BaseEmbedding):
    """An embedding model that remembers what it was asked."""

    asked: list[str] = []

    def _embed(self, text: str) -> list[float]:
        self.asked.append(text)
        return [len(text) / 3, float(len(self.asked)), 1e-17]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._embed(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embed(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._embed(query)


class Shout(TransformComponent):
    """A transformation that remembers its nodes, but not in a field: those are part of the key."""

    _seen: list[str] = PrivateAttr(default_factory=list)

    def __call__(self, nodes: Any, **kwargs: Any) -> Any:
        for node in nodes:
            self._seen.append(node.text)
            node.set_content(node.text.upper())
        return nodes


@pytest.fixture
def values(store: BaseBackend) -> LLMCacheKVStore:
    return LLMCacheKVStore("bridge")


def outcomes() -> list[str]:
    flush()
    return list(Call.objects.order_by("pk").values_list("outcome", flat=True))


def embedding(store: LLMCacheKVStore) -> Embedding:
    return Embedding(model_name="fake", embeddings_cache=store, asked=[])


# --- the real users ---


def test_documents_are_transformed_once(run: Run, values: LLMCacheKVStore) -> None:
    shout = Shout()
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=0), shout],
        cache=IngestionCache(cache=values, collection="docs"),
    )
    document = Document(text="one two three", metadata={"b": 1, "a": "x"}, id_="d1")
    first = run(pipeline, "run", documents=[document])
    again = run(pipeline, "run", documents=[document])
    assert [node.text for node in again] == ["ONE TWO THREE"]
    assert shout._seen == ["one two three"]
    assert again[0].metadata == first[0].metadata
    assert list(again[0].metadata) == ["b", "a"]  # their order is part of what is embedded
    run(pipeline, "run", documents=[Document(text="four")])
    assert shout._seen == ["one two three", "four"]
    assert outcomes() == ["miss", "miss", "hit", "hit", "miss", "miss"]


def test_clearing_the_ingestion_cache_empties_its_collection_alone(
    values: LLMCacheKVStore,
) -> None:
    shout = Shout()
    cache = IngestionCache(cache=values, collection="docs")
    pipeline = IngestionPipeline(transformations=[shout], cache=cache)
    values.put("key", {"v": 1}, "other")
    pipeline.run(documents=[Document(text="one", id_="d1")])
    cache.clear()
    pipeline.run(documents=[Document(text="one", id_="d1")])
    assert shout._seen == ["one", "one"]
    assert values.get("key", "other") == {"v": 1}


def test_each_text_is_embedded_once(run: Run, values: LLMCacheKVStore) -> None:
    model = embedding(values)
    one = run(model, "get_text_embedding", "hello")
    assert run(model, "get_text_embedding", "hello") == one
    batch = run(model, "get_text_embedding_batch", ["hello", "a", "b"])
    assert batch[0] == one  # to the last bit
    assert model.asked == ["hello", "a", "b"]
    assert run(model, "get_query_embedding", "a") == batch[1]
    assert model.asked == ["hello", "a", "b"]
    assert outcomes().count("miss") == 3


def test_sync_and_async_share_values(values: LLMCacheKVStore) -> None:
    import asyncio

    model = embedding(values)
    one = model.get_text_embedding("hello")
    assert asyncio.run(model.aget_text_embedding("hello")) == one
    assert model.asked == ["hello"]


def test_stores_of_two_models_do_not_share_vectors(run: Run, store: BaseBackend) -> None:
    small = embedding(LLMCacheKVStore("bridge", model="small"))
    large = embedding(LLMCacheKVStore("bridge", model="large"))
    run(small, "get_text_embedding", "hello")
    run(large, "get_text_embedding", "hello")
    assert (small.asked, large.asked) == (["hello"], ["hello"])
    flush()
    assert set(Entry.objects.values_list("model", flat=True)) == {"small", "large"}


# --- the store itself ---


def test_a_value_is_a_copy_and_has_its_collection(run: Run, values: LLMCacheKVStore) -> None:
    run(values, "put", "key", {"a": [1, {"b": None}]})
    run(values, "put", "key", {"other": True}, collection="second")
    found = run(values, "get", "key")
    assert found == {"a": [1, {"b": None}]}
    found["a"] = "changed"
    assert run(values, "get", "key") == {"a": [1, {"b": None}]}
    assert run(values, "get", "key", collection="second") == {"other": True}
    assert run(values, "get", "none") is None
    run(values, "put", "key", {"a": 2})
    assert run(values, "get", "key") == {"a": 2}


def test_many_values_are_put_and_listed(
    run: Run, values: LLMCacheKVStore, store: BaseBackend
) -> None:
    pairs = [(f"key {number}", {"n": number}) for number in range(5)]
    run(values, "put_all", pairs, batch_size=3)
    run(values, "put", "elsewhere", {"n": 9}, collection="second")
    run(LLMCacheKVStore("bridge", namespace="mine"), "put", "theirs", {"n": 9})
    run(LLMCacheKVStore("bridge", model="m"), "put", "another model's", {"n": 9})
    assert run(values, "get_all") == dict(pairs)
    flush()
    digest = Entry.objects.get(preview="key 3").digest
    store.set(digest, b"forged", 60)
    del pairs[3]
    assert run(values, "get_all") == dict(pairs)


TENANT: dict[str, str] = {}


def tenant() -> str | None:
    return TENANT.get("name")


def test_values_are_of_the_scope_in_force(
    run: Run, values: LLMCacheKVStore, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.LLMCACHE_CONFIG = {"SCOPE": f"{__name__}.tenant"}
    for name in ("a", "b"):
        monkeypatch.setitem(TENANT, "name", name)
        assert run(values, "get", "key") is None
        run(values, "put", "key", {"of": name})
    for name in ("a", "b"):
        monkeypatch.setitem(TENANT, "name", name)
        assert run(values, "get", "key") == {"of": name}
        assert run(values, "get_all") == {"key": {"of": name}}


def test_a_key_is_deleted_once(run: Run, values: LLMCacheKVStore) -> None:
    run(values, "put", "key", {"n": 1})
    assert run(values, "delete", "key") is True
    assert run(values, "get", "key") is None
    assert run(values, "delete", "key") is False
    assert run(values, "get_all") == {}


def test_clear_empties_the_namespace_alone(run: Run, values: LLMCacheKVStore) -> None:
    other = LLMCacheKVStore("bridge", namespace="mine")
    for each in (values, other):
        run(each, "put", "key", {"n": 1})
    run(values, "put", "key", {"n": 1}, collection="second")
    assert run(values, "clear") == 2
    assert run(values, "get", "key") is None
    assert run(other, "get", "key") == {"n": 1}


def test_without_an_index_keys_can_be_deleted_but_not_listed(
    run: Run, values: LLMCacheKVStore, settings: Any
) -> None:
    settings.LLMCACHE_CONFIG = {"RECORDER": "off"}
    run(values, "put", "key", {"n": 1})
    for method in ("get_all", "clear"):
        with pytest.raises(UnsupportedOperation, match="RECORDER"):
            run(values, method)
    assert run(values, "delete", "key") is True
    assert run(values, "get", "key") is None


def test_entries_are_in_the_index_and_can_be_evicted(run: Run, store: BaseBackend) -> None:
    values = LLMCacheKVStore("bridge", ttl=60, tags=["docs"])
    run(values, "put", "some words", {"n": 1}, collection="embeddings")
    flush()
    entry = Entry.objects.get()
    assert (entry.alias, entry.namespace, entry.preview) == ("bridge", "llama_index", "some words")
    assert set(entry.tags.values_list("name", flat=True)) == {"docs", "llama_index:embeddings"}
    assert entry.expires is not None
    assert (entry.expires - entry.created).total_seconds() == pytest.approx(60)
    assert not Call.objects.exists()  # nobody had asked for it
    llmcache.evict(tag="llama_index:embeddings")
    assert run(values, "get", "some words", "embeddings") is None


def test_what_json_cannot_tell_is_not_stored(
    run: Run, values: LLMCacheKVStore, counted: Counted
) -> None:
    for value in ({"v": object()}, {"v": [1.0, float("nan")]}, {1: 2}, {"v": 1 << 70}):
        run(values, "put", "key", value)
        assert run(values, "get", "key") is None
    assert counted("uncacheable") == 4


def test_vectors_of_numpy_are_stored(run: Run, values: LLMCacheKVStore) -> None:
    numpy = pytest.importorskip("numpy")
    run(values, "put", "key", {"v": [numpy.float64(0.1), numpy.float64(2)]})
    assert run(values, "get", "key") == {"v": [0.1, 2.0]}


def test_forged_bytes_are_a_miss(
    run: Run, values: LLMCacheKVStore, store: BaseBackend, counted: Counted
) -> None:
    run(values, "put", "key", {"n": 1})
    flush()
    store.set(Entry.objects.get().digest, b'{"key":"key","value":{"n":2}}', 60)
    assert run(values, "get", "key") is None
    assert counted("unreadable") == 1


def test_a_store_that_is_away_breaks_nothing(
    run: Run, own_redis: Any, settings: Any, counted: Counted
) -> None:
    settings.LLMCACHE = {
        "bridge": {"BACKEND": "llmcache.backends.redis.RedisBackend", "LOCATION": own_redis.url}
    }
    settings.LLMCACHE_CONFIG = {"BREAKER_THRESHOLD": 2, "BREAKER_COOLDOWN": 60.0}
    own_redis.process.kill()
    own_redis.process.wait()
    model = embedding(LLMCacheKVStore("bridge"))
    for _ in range(3):
        run(model, "get_text_embedding", "hello")
    assert model.asked == ["hello"] * 3
    assert (counted("read_error"), counted("write_error")) == (2, 1)  # then it is left alone
    assert outcomes() == ["error"] * 3


def test_it_travels_to_the_processes_of_a_pipeline(values: LLMCacheKVStore) -> None:
    values.put("key", {"n": 1})
    assert pickle.loads(pickle.dumps(values)).get("key") == {"n": 1}


def test_an_alias_that_does_not_exist_is_an_error_at_once() -> None:
    with pytest.raises(InvalidRequest, match="default"):
        LLMCacheKVStore("nowhere")
