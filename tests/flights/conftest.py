"""A site of several processes with one store and one provider."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.processes import Site
from tests.servers.provider import Provider


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
