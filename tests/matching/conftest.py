"""Sites with a store that is searched by meaning: on disk, and in a real Redis."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.test import override_settings

from tests.matching.words import WordEmbedder

Site = Callable[..., None]
WORDS = "tests.matching.words.WordEmbedder"


@pytest.fixture(params=["local", "redis"])
def store_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """LLMCACHE["default"] of each kind of semantic store, empty."""
    if request.param == "local":
        location = str(request.getfixturevalue("tmp_path"))
        return {
            "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
            "LOCATION": location,
        }
    server = request.getfixturevalue("redis_server")
    return {
        "BACKEND": "llmcache.backends.semantic.redis.RedisSemanticBackend",
        "LOCATION": server.url,
        "KEY_PREFIX": uuid.uuid4().hex,
    }


@pytest.fixture
def site(store_settings: dict[str, Any]) -> Iterator[Site]:
    """A function that sets the site up: OPTIONS of the store, and LLMCACHE_CONFIG."""
    WordEmbedder.texts.clear()
    with ExitStack() as stack:

        def set_up(config: dict[str, Any] | None = None, **options: Any) -> None:
            store = {**store_settings, "OPTIONS": {"embedder": WORDS, **options}}
            patient = {"BACKEND_TIMEOUT": 10, **(config or {})}  # a busy machine's miss is no miss
            stack.enter_context(
                override_settings(LLMCACHE={"default": store}, LLMCACHE_CONFIG=patient)
            )

        set_up()
        yield set_up
