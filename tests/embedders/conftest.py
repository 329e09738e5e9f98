"""A provider's embeddings endpoint and a store on disk, for the embedder that uses both."""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings

from llmcache import backends, embedders
from llmcache.backends.base import BaseBackend
from llmcache.embedders.base import BaseEmbedder, Embedded
from tests.servers.provider import Behaviour, Handler, Provider, answer

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


def gated(behaviour: Behaviour) -> tuple[Behaviour, threading.Event]:
    """A behaviour that waits until it is let go."""
    gate = threading.Event()

    def behave(handler: Handler) -> None:
        gate.wait(20)
        behaviour(handler)

    return behave, gate
