"""Vectors from a provider's endpoint: paid for once, kept, and never waited for too long."""

from __future__ import annotations

import asyncio
import math
from array import array
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

import llmcache
from llmcache import backends, embedders
from llmcache.backends.base import BaseBackend
from llmcache.embedders.base import BaseEmbedder, Embedded
from llmcache.exceptions import UpstreamError
from tests.servers.provider import Provider, answer, hang, refusal

Embed = Callable[[BaseEmbedder, str], Embedded | None]


def vectors(*numbers: Any, tokens: int = 5) -> Any:
    return answer(
        {
            "object": "list",
            "model": "text-embedding-3-small",
            "data": [{"object": "embedding", "index": 0, "embedding": n} for n in numbers],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


@pytest.fixture(params=["sync", "async"])
def embed(request: pytest.FixtureRequest) -> Iterator[Embed]:
    if request.param == "sync":
        yield lambda embedder, text: embedder.embed(text)
        return
    with asyncio.Runner() as runner:
        yield lambda embedder, text: runner.run(embedder.aembed(text))


@pytest.fixture
def site(provider: Provider, tmp_path: Any) -> Iterator[BaseBackend]:
    """A store on disk, and a provider that gives the vector (3, 4)."""
    provider.script(vectors([3.0, 4.0]))
    with override_settings(
        LLMCACHE={
            "default": {
                "BACKEND": "llmcache.backends.disk.DiskBackend",
                "LOCATION": str(tmp_path),
            }
        },
        LLMCACHE_PROVIDERS={
            "default": {
                "BACKEND": "llmcache.upstreams.openai.OpenAICompatible",
                "OPTIONS": {"base_url": provider.base_url, "api_key": "k"},
            }
        },
        LLMCACHE_CONFIG={"PRICING": {"text-embedding-3-small": {"input": 2.0}}},
    ):
        yield backends.stores["default"]


def make(store: BaseBackend, **options: Any) -> BaseEmbedder:
    spec = {"BACKEND": "provider", "OPTIONS": {"model": "text-embedding-3-small", **options}}
    return embedders.build("EMBEDDER", spec, store)


def numbers(found: Embedded | None) -> list[float]:
    assert found is not None
    return list(array("f", found.data))


def test_a_vector_has_length_1_and_says_its_space_and_cost(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    found = embed(make(site), "hello")
    assert numbers(found) == pytest.approx([0.6, 0.8])
    assert found is not None
    assert found.space.endswith("text-embedding-3-small:2")
    assert found.cost == pytest.approx(5 * 2.0 / 1e6)
    assert provider.requests[0].json == {"model": "text-embedding-3-small", "input": "hello"}


def test_the_same_text_is_paid_for_once_by_all_processes(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    embedder = make(site)
    first = embed(embedder, "hello")
    again = embed(embedder, "hello")
    elsewhere = embed(make(site), "hello")  # another process has nothing in its memory
    assert first is not None and again is not None and elsewhere is not None
    assert first.data == again.data == elsewhere.data
    assert (again.cost, elsewhere.cost) == (0.0, 0.0)
    assert len(provider.requests) == 1


def test_its_entry_is_that_of_the_embedding_call(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    embed(make(site), "hello")
    response = llmcache.embedding("text-embedding-3-small", input="hello")
    assert response.cache.outcome == "hit"
    assert response.data[0].embedding == [3.0, 4.0]
    llmcache.embedding("text-embedding-3-small", input="another")
    embed(make(site), "another")
    assert len(provider.requests) == 2


def test_vectors_in_base64_are_read_too(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    provider.script(vectors(b64encode(array("f", [3.0, 4.0]).tobytes()).decode()))
    assert numbers(embed(make(site), "hello")) == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(
    "behaviour",
    [
        vectors([]),
        vectors([0.0, 0.0]),
        vectors(["a", "b"]),
        vectors("no base64!"),
        vectors(),
        vectors([1.0], [2.0]),
        answer({"error": "none"}),
        answer([1]),
    ],
)
def test_an_answer_without_a_vector_is_an_error_and_not_kept(
    embed: Embed, site: BaseBackend, provider: Provider, behaviour: Any
) -> None:
    provider.script(behaviour, vectors([3.0, 4.0]))
    embedder = make(site)
    with pytest.raises((ValueError, UpstreamError)):
        embed(embedder, "hello")
    assert numbers(embed(embedder, "hello")) == pytest.approx([0.6, 0.8])


def test_a_provider_that_hangs_or_fails_is_tried_once(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    provider.script(hang)
    with pytest.raises(UpstreamError):
        embed(make(site, timeout=0.1), "hello")
    provider.script(refusal(500))
    with pytest.raises(UpstreamError):
        embed(make(site), "hello")
    assert len(provider.requests) == 2


def test_a_store_that_fails_is_no_obstacle(
    embed: Embed, site: BaseBackend, counted: Callable[[str], int]
) -> None:
    class Broken(BaseBackend):
        def get(self, digest: str) -> bytes | None:
            raise OSError("no disk")

        def set(self, digest: str, data: bytes, ttl: float | None) -> None:
            raise OSError("no disk")

    embedder = make(Broken(site.settings))
    assert numbers(embed(embedder, "hello")) == pytest.approx([0.6, 0.8])
    assert counted("vector_cache_error") == 2


def test_a_text_that_is_too_long_is_not_sent(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    assert embed(make(site, max_chars=10), "x" * 11) is None
    assert provider.requests == []


def test_the_process_keeps_so_many_vectors_and_no_more(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    embedder = make(site, cache_size=1)
    embed(embedder, "one")
    embed(embedder, "two")
    site.clear()
    embed(embedder, "two")
    embed(embedder, "one")
    assert len(provider.requests) == 3


def test_dimensions_are_sent_and_are_another_space(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    embed(make(site, dimensions=2), "hello")
    assert provider.requests[0].json["dimensions"] == 2
    embed(make(site), "hello")
    assert len(provider.requests) == 2


def test_a_large_vector_comes_out_with_length_1(
    embed: Embed, site: BaseBackend, provider: Provider
) -> None:
    provider.script(vectors([math.sin(number) for number in range(1536)]))
    found = numbers(embed(make(site), "hello"))
    assert len(found) == 1536
    assert math.hypot(*found) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"timeout": 0}, "timeout"),
        ({"cache_size": 0}, "cache_size"),
        ({"dimensions": "many"}, "dimensions"),
        ({"dimension": 3}, "dimensions"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_it(
    site: BaseBackend, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        make(site, **options)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("minlim", "minilm"),
        (3, "dict"),
        ({"OPTIONS": {}}, "BACKEND"),
        ({"BACKEND": "minilm", "OPTION": {}}, "OPTIONS"),
        ("llmcache.conf.Config", "BaseEmbedder"),
    ],
)
def test_a_wrong_embedder_is_an_error_that_names_the_right_ones(
    site: BaseBackend, spec: Any, words: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        embedders.build("EMBEDDER", spec, site)
