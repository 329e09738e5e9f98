"""Fixtures of the upstreams' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.upstreams.drivers import AsyncDriver, SyncDriver


@pytest.fixture(params=["sync", "async"])
def driver(request: pytest.FixtureRequest) -> Iterator[SyncDriver | AsyncDriver]:
    """The sync and then the async side: a case that uses it runs over both."""
    made = SyncDriver() if request.param == "sync" else AsyncDriver()
    yield made
    made.close()
