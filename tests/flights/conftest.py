"""A site of several processes with one store and one provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from tests.flights.sides import Loop, Threads
from tests.ledger.processes import Site
from tests.servers import proxy
from tests.servers.provider import Provider
from tests.servers.proxy import Proxy


def memory_database() -> dict[str, Any]:
    return {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}


@pytest.fixture(params=["redis", "disk"])
def site(request: pytest.FixtureRequest, tmp_path: Path, provider: Provider) -> Callable[..., Site]:
    """Makes a site of several processes with one store and one provider."""
    store: dict[str, Any]
    if request.param.startswith("redis"):
        in_cluster = request.param == "redis-cluster"
        server = request.getfixturevalue("redis_cluster" if in_cluster else "redis_server")
        store = {
            "BACKEND": "llmcache.backends.redis.RedisBackend",
            "LOCATION": server.url,
            "KEY_PREFIX": str(tmp_path),
            "OPTIONS": {"cluster": in_cluster},
        }
    else:
        store = {
            "BACKEND": "llmcache.backends.disk.DiskBackend",
            "LOCATION": str(tmp_path / "entries"),
        }

    def make(**config: Any) -> Site:
        options = {"base_url": provider.base_url, "api_key_env": None, "max_retries": 0}
        return Site(
            memory_database(),
            {
                "stores": {"default": store},
                "providers": {"default": {"OPTIONS": options}},
                # A busy machine must not look like a store that fails.
                "config": {"RECORDER": "off", "BACKEND_TIMEOUT": 10, **config},
            },
        )

    return make


@pytest.fixture
def network(redis_server: Any, provider: Provider, tmp_path: Path) -> Iterator[Proxy]:
    """What is between the store and all who ask."""
    with ExitStack() as stack:
        network = stack.enter_context(proxy.before(int(redis_server.url.rpartition(":")[2])))
        store = {
            "BACKEND": "llmcache.backends.redis.RedisBackend",
            "LOCATION": f"redis://127.0.0.1:{network.port}",
            "KEY_PREFIX": str(tmp_path),
        }
        options = {"base_url": provider.base_url, "api_key_env": None, "max_retries": 0}
        changed = override_settings(
            LLMCACHE={"default": store},
            LLMCACHE_PROVIDERS={"default": {"OPTIONS": options}},
            LLMCACHE_CONFIG={"BACKEND_TIMEOUT": 1.0, "BREAKER_THRESHOLD": 10_000},
        )
        stack.enter_context(changed)
        yield network


@pytest.fixture(params=["sync follows async", "async follows sync"])
def sides(request: pytest.FixtureRequest, network: Proxy) -> Iterator[tuple[Any, Any]]:
    """Who leads, and who follows."""
    both = Loop(), Threads()
    yield both if request.param == "sync follows async" else both[::-1]
    network.refuses = False
    for side in both:
        side.close()
