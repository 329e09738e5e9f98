"""What a Redis refuses to a user of a store of vectors: an error, and no empty answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from tests.backends.semantic.conftest import digest, fill, prompts, unit, vector
from tests.backends.semantic.test_redis import semantic
from tests.servers.redis import own_server

X = unit(1, 0, 0, 0)


@pytest.fixture
def user(settings: Any) -> Iterator[Callable[..., Any]]:
    """Makes the store of a user who may do all but some commands, in a Redis of the test's own."""
    settings.LLMCACHE_CONFIG = {"BACKEND_TIMEOUT": 10.0}
    with own_server() as server, ExitStack() as stack:
        admin = stack.enter_context(redis.Redis.from_url(server.url))

        def make(*refused: str, **options: Any) -> Any:
            rules = ("on", ">secret", "~*", "+@all", *(f"-{command}" for command in refused))
            admin.execute_command("ACL SETUSER", "plain", "reset", *rules)
            url = server.url.replace("//", "//plain:secret@")
            store = semantic(url, "place", **options)
            stack.callback(store.close)
            return store

        yield make


@pytest.mark.parametrize("algorithm", ["flat", "hnsw"])
def test_a_search_that_is_refused_is_an_error(user: Any, algorithm: str) -> None:
    fill(user(algorithm=algorithm), "x", X[None])
    refused = user("ft.search", algorithm=algorithm)
    with pytest.raises(redis.ResponseError, match="permission"):
        refused.nearest("p", "s", X.tobytes())
    with pytest.raises(redis.ResponseError, match="permission"):
        asyncio.run(refused.anearest("p", "s", X.tobytes()))
    assert refused.get(digest("x")) == b"x"
    assert prompts(user(algorithm=algorithm), X) == ["x"]


def test_an_index_that_is_not_to_be_made_is_an_error(user: Any) -> None:
    refused = user("ft.create")
    with pytest.raises(Exception, match="permission"):
        refused.add([vector("x", X)])
    with pytest.raises(Exception, match="permission"):
        asyncio.run(refused.aadd([vector("x", X)]))
    allowed = user()
    fill(allowed, "x", X[None])
    assert prompts(allowed, X) == ["x"]


def test_a_store_without_an_index_has_no_vectors(user: Any) -> None:
    store = user()
    assert store.vector_count() == 0
    store.add([vector("x", X)])
    assert store.vector_count() == 1
    with pytest.raises(redis.ResponseError, match="permission"):
        user("ft._list").vector_count()
